"""Where output goes: answers to stdout, as tables or as JSON; progress and messages to stderr.

A database may be called almost anything, so no text from a server is ever read as markup, and control characters are
shown as escapes (``shown.plain``).
"""

from __future__ import annotations

import enum
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from vya_backupd.client import shown
from vya_backupd.errors import VyaError
from vya_backupd.model import terminal


class Output(enum.StrEnum):
    """The form of an answer on stdout."""

    TABLE = "table"
    JSON = "json"


_WIDE = 10_000
"""Columns of a table that goes to a file or pipe: nothing is cut or wrapped there."""


class Screen:
    """Both output streams, and the form that the answer has."""

    def __init__(self, output: Output = Output.TABLE) -> None:
        self.output = output

    @property
    def is_json(self) -> bool:
        """Whether stdout belongs to one JSON document."""
        return self.output is Output.JSON

    @property
    def live(self) -> bool:
        """Whether stderr is a terminal on which a line can be redrawn."""
        return sys.stderr.isatty()

    def json(self, record: Any) -> None:
        """The one JSON document of this run."""
        print(_document(record), flush=True)

    def json_list(self, name: str, pages: Iterable[Sequence[Any]]) -> None:
        """The same for an object with one list in it, which may be too long to have at once: printed as it comes."""
        opened, empty = f'{{\n  "{name}": [', True
        for page in pages:
            for item in page:
                text = _document(item).replace("\n", "\n    ")
                print(f"{opened if empty else ','}\n    {text}", end="")
                empty = False
        print(f"{opened}]\n}}" if empty else "\n  ]\n}", flush=True)

    def answer(self, text: str) -> None:
        """A line of the answer (table output only)."""
        print(shown.harmless(text), flush=True)

    def say(self, text: str) -> None:
        """A message to the person, on stderr."""
        print(shown.harmless(text), file=sys.stderr, flush=True)

    def table(
        self,
        titles: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        right: Sequence[str] = (),
        titled: bool = True,
    ) -> None:
        """A table on stdout; columns named in ``right`` are aligned to the right. Untitled, it goes on with another."""
        _print_table(sys.stdout, titles, rows, right, titled=titled)

    def table_aside(self, titles: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
        """A table that is a message, not the answer: on stderr."""
        _print_table(sys.stderr, titles, rows, right)

    def facts(self, pairs: Sequence[tuple[str, Any]]) -> None:
        """Names and values, one pair a line, on stdout."""
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            first, *rest = shown.paragraphs(value if value is not None else "-").splitlines() or [""]
            self.answer(f"{name:<{width}}  {first}")
            for line in rest:
                self.answer(f"{'':<{width}}  {line}")

    def error(self, error: VyaError) -> None:
        """A failure: message, place and hint on stderr; in JSON output the record on stdout, and stderr kept short."""
        if self.is_json:
            self.json({"error": error.to_json()})
            self.say(f"error: {shown.paragraphs(error.message)}")
            return
        self.say(f"error: {shown.paragraphs(error.message)}")
        if where := shown.place(error.instance, error.database):
            self.say(f"where: {where}")
        if error.hint:
            self.say(f"hint:  {shown.paragraphs(error.hint)}")


def _document(record: Any) -> str:
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    return terminal.escaped(json.dumps(record, indent=2, ensure_ascii=encoding != "utf8"))


def _print_table(
    stream: TextIO, titles: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str], *, titled: bool = True
) -> None:
    if not rows:
        return
    from rich.console import Console

    if stream.isatty():
        Console(file=stream, highlight=False).print(_table(titles, rows, right, boxed=True, titled=titled))
        return
    page = io.StringIO()
    Console(file=page, width=_WIDE, highlight=False).print(_table(titles, rows, right, boxed=False, titled=titled))
    print("\n".join(line.rstrip() for line in page.getvalue().splitlines()), file=stream, flush=True)


def _table(
    titles: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str], *, boxed: bool, titled: bool
) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    frame = box.SIMPLE_HEAD if boxed else None
    table = Table(box=frame, pad_edge=False, header_style="bold" if boxed else "", show_header=titled)
    for title in titles:
        table.add_column(Text(title), justify="right" if title in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown.plain(cell)) for cell in row))
    return table
