r"""How psql writes parts of tables as pg_dump writes tables: the text that it is fed.

A stream of pieces looks like a small dump of its own. It begins with the encoding, so that the ordinary scanner reads
names right; each piece has a heading, a COPY line and its ``\.``; and it ends with pg_dump's end marker, which psql
prints only when every statement before it went well (``ON_ERROR_STOP``). Session settings are those of pg_dump's
``setup_connection`` (src/bin/pg_dump/pg_dump.c), and what keeps a plan simple: no JIT, no parallel workers.
"""

# Names are quoted by the server, numbers are numbers: COPY takes no parameters.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vya_backupd.engines.postgresql_sql import literal, quote

LONGEST_SCRIPT = 16 << 10
"""Bytes. The text of two pieces must fit into psql's input pipe while it writes: a table with a longer one stays whole."""
_SETTINGS = (
    "SET search_path = ''",
    "SET datestyle = ISO",
    "SET intervalstyle = postgres",
    "SET extra_float_digits = 3",
    "SET synchronize_seqscans = off",
    "SET row_security = off",
    "SET standard_conforming_strings = on",
    "SET quote_all_identifiers = off",
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",
    "SET enable_seqscan = off",
)
"""``enable_seqscan``: a range of pages is read as a range of pages, whatever the statistics say."""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table whose rows psql may read. ``quoted`` and ``columns`` are as the server quotes them.

    Generated columns are left out. ``pages`` of its main fork; ``size`` in bytes, with TOAST.
    """

    oid: int
    schema: str
    name: str
    owner: str
    quoted: str
    columns: tuple[str, ...]
    pages: int
    size: int

    @property
    def key(self) -> str:
        """As scanners and ``DatabaseFacts`` name it."""
        return f"{self.schema}.{self.name}"

    @property
    def pattern(self) -> str:
        """As pg_dump's options name it, and nothing else."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    def speaks(self, encoding: str) -> bool:
        """Whether its names mean the same to us and to a server with this encoding, and its text is short enough."""
        text = f"{self.key} {self.columns}"
        return (encoding == "UTF8" or text.isascii()) and len(script(self, None, None)) <= LONGEST_SCRIPT


def opening(snapshot: str, encoding: str, tables: Sequence[TableFacts]) -> bytes:
    """Settings, the snapshot, locks, and the beginning of the stream, which is written at once when all this is there.

    The locks are asked for without waiting: who waits here for a lock, behind a statement that waits for the session
    that exported the snapshot, would wait for ever.
    """
    lines = [
        f"SET client_encoding = {literal(encoding)}",
        *_SETTINGS,
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        f"SET TRANSACTION SNAPSHOT {literal(snapshot)}",
        lock(tables, "NOWAIT"),
        # The end of a COPY, unlike \echo, empties psql's buffer.
        f"{_echo(f'{chr(10)}SET client_encoding = {literal(encoding)};')}COPY (SELECT '--') TO STDOUT",
    ]
    return (";\n".join(lines) + ";\n").encode()


def lock(tables: Sequence[TableFacts], wait: str = "") -> str:
    """Keep the tables' definitions as they are. Takes no snapshot."""
    return f"LOCK TABLE {', '.join(f'ONLY {table.quoted}' for table in tables)} IN ACCESS SHARE MODE {wait}".rstrip()


def script(table: TableFacts, first: int | None, end: int | None) -> bytes:
    """Write the rows of the pages from ``first`` up to, without, ``end``; None: from the first page, to the last."""
    name, columns = table.quoted, ", ".join(table.columns)
    bounds = [f"ctid {sign} '({page},0)'::pg_catalog.tid" for sign, page in ((">=", first), ("<", end)) if page]
    source = f"(SELECT {columns} FROM ONLY {name} WHERE {' AND '.join(bounds)})" if bounds else f"{name} ({columns})"
    title = (
        f"Name: {_plain(table.name)}; Type: TABLE DATA; Schema: {_plain(table.schema)}; Owner: {_plain(table.owner)}"
    )
    head = f"--\n-- Data for {title}\n--\n\nCOPY {name} ({columns}) FROM stdin;"
    return f"{_echo(head)}COPY {source} TO STDOUT;\n{_echo(f'{chr(92)}.{chr(10)}{chr(10)}')}".encode()


def closing() -> bytes:
    """The end of the stream."""
    return b"COMMIT;\n" + _echo("--\n-- PostgreSQL database dump complete\n--\n").encode()


def excluded(tables: Sequence[TableFacts]) -> tuple[str, ...]:
    """Options of pg_dump that leave the rows of these tables out."""
    return tuple(f"--exclude-table-data={table.pattern}" for table in tables)


def _plain(name: str) -> str:
    """A name in a heading, which is a comment of one line."""
    return name.replace("\n", " ").replace("\r", " ")


def _echo(text: str) -> str:
    r"""A command of psql that prints this and a line break. Its quotes know ``\n``, ``\\`` and ``''``."""
    quoted = text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"\\echo '{quoted}'\n"
