"""The status page printed once, or again and again: redrawn on a terminal, a line each time everywhere else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vya_backupd.client import overview, overview_words, shown
from vya_backupd.client.screen import Screen
from vya_backupd.errors import UnreachableError

if TYPE_CHECKING:
    from rich.text import Text

REFRESH_SECONDS = 2.0
_ENDLESS = 10_000
"""Columns of a page that goes to a file or pipe: nothing is wrapped there."""
_STYLES = {"good": "bold green", "bad": "bold red", "neutral": "bold yellow"}

Ask = Callable[[], dict[str, Any]]


def show(screen: Screen, record: dict[str, Any], *, everything: bool = False) -> None:
    """Print the page once."""
    if not sys.stdout.isatty():
        for line in overview.page(record, width=_ENDLESS, everything=everything).lines:
            screen.answer(line)
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_painted(overview.page(record, width=console.width, everything=everything)))


def watch(screen: Screen, ask: Ask, *, everything: bool = False) -> int:
    """Show the page until Ctrl-C, which is the ordinary end. A daemon that goes away is waited for.

    Raises:
        VyaError: the first answer was a refusal, or there was none.
    """
    first = ask()
    try:
        if screen.is_json or not sys.stdout.isatty():
            for at, record in _records(first, ask):
                screen.answer(_as_line(screen, at, record))
        else:
            _redraw(first, ask, everything=everything)
    except KeyboardInterrupt:
        pass
    return 0


def _records(first: dict[str, Any], ask: Ask) -> Iterator[tuple[datetime, dict[str, Any] | None]]:
    """The record of now, again and again; None while no daemon answers."""
    yield datetime.now(UTC), first
    while True:
        time.sleep(REFRESH_SECONDS)
        try:
            record = ask()
        except UnreachableError:
            yield datetime.now(UTC), None
        else:
            yield datetime.now(UTC), record


def _as_line(screen: Screen, at: datetime, record: dict[str, Any] | None) -> str:
    if screen.is_json:
        return json.dumps(record)
    if record is None:
        return f"{shown.moment(at.isoformat())}  no daemon answers"
    _, headline = overview_words.headline(record, at)
    steps = "".join(f";{overview.progress_line(each)[1:]}" for each in record.get("progress", ()))
    return f"{shown.moment(at.replace(microsecond=0).isoformat())}  {headline}{steps}"


def _redraw(first: dict[str, Any], ask: Ask, *, everything: bool) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for at, record in _records(first, ask):
            clock = f"\n{shown.moment(at.replace(microsecond=0).isoformat())}, every {REFRESH_SECONDS:g} s; Ctrl-C ends"
            if record is None:
                text = Text("no daemon answers", style=_STYLES["bad"])
            else:
                text = _painted(overview.page(record, at, width=console.width, everything=everything))
            live.update(text.append(clock, style="dim"), refresh=True)


def _painted(page: overview.Page) -> Text:
    """The page with its first word in the colour of its mood."""
    from rich.text import Text

    first, *rest = page.lines
    word, blank, others = first.partition(" ")
    text = Text(word, style=_STYLES[page.mood], no_wrap=True).append(blank + others, style="default")
    for line in rest:
        text.append("\n").append(line, style="red" if line.lstrip().startswith("! ") else "default")
    return text
