"""Dump text: the scanners, what takes schemas to pieces for parallel restores, and what fits foreign dumps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

from tests.engines.scan_samples import Cut, MakeScanner, scan
from tests.engines.test_scan_mysql import SMALL
from tests.engines.test_scan_postgresql import FOOTER, HEADER
from tests.fuzz.target import Target, seeds_of
from vya_backupd.engines.cut_mysql import table_text
from vya_backupd.engines.cut_postgresql import Dialect, cut_entries, statements
from vya_backupd.engines.mysql_definer_text import DefinerText, definers_in, replaced_by, stripped
from vya_backupd.engines.mysql_events import EventSilencer
from vya_backupd.engines.mysql_foreign import ForeignText
from vya_backupd.engines.postgresql_guard import RestrictLines
from vya_backupd.engines.postgresql_statement_text import StatementText, Unwanted
from vya_backupd.engines.scan_mysql import MysqlScanner
from vya_backupd.engines.scan_postgresql import PostgresqlGlobalsScanner, PostgresqlScanner
from vya_backupd.errors import DumpError

_SIZES = (30, 100, 400, 4096)
_POSTGRESQL_WORDS = (
    b"--\n-- Name: x; Type: TABLE; Schema: public; Owner: o\n--\n\n",
    b"--\n-- Data for Name: x; Type: TABLE DATA; Schema: public; Owner: o\n--\n\nCOPY public.x (a) FROM stdin;\n",
    b"--\n-- PostgreSQL database dump complete\n--\n",
    b"\n\\.\n", b"\\restrict T0k3n\n", b"\\unrestrict T0k3n\n", b"\\connect x\n", b"\\!", b"$$", b"$fn$", b"'", b'"', b"E'", b"U&'", b"/*", b"*/",
    b"--", b";", b"\\", b"(", b")", b"BEGIN ATOMIC", b"END", b"CASE", b"SET client_encoding = 'SJIS';\n", b"CREATE FUNCTION ",
    b"SET standard_conforming_strings = off;\n", b"\xff", b"\0", b"SELECT pg_catalog.setval(",
)  # fmt: skip
_MYSQL_WORDS = (
    b"--\n-- Table structure for table `x`\n--\n\n", b"--\n-- Dumping data for table `x`\n--\n\n", b"INSERT INTO `x` VALUES\n(1),\n(2);\n",
    b"-- Dump completed\n", b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n", b"/*!50003 SET @saved_cs_client      = @@character_set_client */ ;\n",
    b"DELIMITER ;;\n", b"DELIMITER ;\n", b"DELIMITER \n", b"'", b'"', b"`", b"#", b"/*", b"*/", b"/*!", b"/*M!", b"--", b"\\", b"$$", b");\n",
    b"SET @@GLOBAL.GTID_PURGED", b"/*!999999\\- enable the sandbox mode */\n", b"/*!50003 SET sql_mode = 'NO_BACKSLASH_ESCAPES' */ ;\n",
    b"KEY `k` (`a`),\n", b"CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `p` (`i`)", b"PRIMARY KEY (", b"UNIQUE KEY `u` (", b"AUTO_INCREMENT",
    b"\0", b"\xff", b"CREATE DEFINER=`r`@`%` EVENT `e` ON SCHEDULE EVERY 1 DAY DO SELECT 1 ;;\n",
)  # fmt: skip


class Stream(Protocol):
    """What changes a dump's text on its way."""

    def feed(self, text: bytes, /) -> bytes: ...

    def finish(self) -> bytes: ...


def _outcome(make: MakeScanner, segment_size: int, text: bytes, sizes: tuple[int, ...]) -> list[Cut] | None:
    """The segments, or None for text that is refused."""
    try:
        return scan(make(segment_size), text, sizes)
    except DumpError:
        return None


def _scanned(make: MakeScanner, *, every_byte: bool) -> Callable[[bytes], None]:
    """Cut in any pieces, the text gives the same segments, or is refused; the first bytes say which pieces."""

    def run(data: bytes) -> None:
        shape, text = data[:3].ljust(3, b"\x01"), data[3:]
        segment_size = _SIZES[shape[0] % len(_SIZES)]
        whole = _outcome(make, segment_size, text, (1 << 20,))
        assert _outcome(make, segment_size, text, (shape[1] + 1, shape[2] % 7 + 1)) == whole
        if whole is not None and every_byte:
            assert b"".join(cut.text for cut in whole) == text
            assert all(len(cut.text) <= 2 * segment_size for cut in whole)

    return run


def _with_shape(*names: str, small: tuple[bytes, ...] = ()) -> Callable[[], list[bytes]]:
    """Real dumps, and small ones that are quick to cut, each with a shape of its own."""
    return lambda: [
        bytes((number, 60 * number % 256, number)) + seed for number, seed in enumerate((*small, *seeds_of(*names)))
    ]


_COPY = b"--\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: o\n--\n\nCOPY public.t (a) FROM stdin;\n1\n\\\\.\n\\.\n\n\n"
_SMALL_POSTGRESQL = (HEADER + _COPY + FOOTER, HEADER + b"CREATE FUNCTION f() AS $x$ ' $x$;\n" + _COPY + FOOTER)


def _guarded(data: bytes) -> None:
    """However a foreign dump comes, the same lines are taken out of it: its own first one, and what closes that."""

    def through(size: int) -> bytes:
        lines = RestrictLines()
        pieces = [lines.feed(data[at : at + size]) for at in range(0, len(data), size)]
        return b"".join(pieces) + lines.finish()

    whole = through(1 << 20)
    assert through(7) == whole
    assert through(1000) == whole
    # Nothing but whole lines, and only these, are missing.
    kept, missing = whole.splitlines(keepends=True), []
    for line in data.splitlines(keepends=True):
        if kept and kept[0] == line:
            kept.pop(0)
        else:
            missing.append(line)
    assert not kept
    assert all(line.startswith((b"\\restrict ", b"\\unrestrict ")) for line in missing)


def _through(stream: Stream, data: bytes, size: int) -> bytes:
    pieces = [stream.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join(pieces) + stream.finish()


def _definers(data: bytes) -> None:
    """However it comes: as it is where they are kept, and without any where they are taken out."""
    shape, text = data[:1] or b"\0", data[1:]
    for change in (stripped, replaced_by(("some `one`", "%"))):
        whole = _through(DefinerText(change), text, 1 << 20)
        assert _through(DefinerText(change), text, shape[0] + 1) == whole
    definers_in(text)


def _left_out(data: bytes) -> None:
    """However it comes, the same statements are left out, and nothing is where none is unwanted."""
    shape, text = data[:1] or b"\0", data[1:]
    assert _through(StatementText(lambda _: False), text, shape[0] + 1) == text
    unwanted = Unwanted(owner=True, privileges=True, tablespaces=True, extensions=frozenset({"hstore"}))
    whole = _through(StatementText(unwanted), text, 1 << 20)
    assert _through(StatementText(unwanted), text, shape[0] + 1) == whole


def _entries(data: bytes) -> None:
    """Statements stand in order, none in another; entries hold nothing that is not in the text."""
    dialect = Dialect.of(data)
    places = list(statements(data, dialect))
    assert all(0 <= begun < end <= len(data) for begun, end in places)
    assert all(one[1] <= other[0] for one, other in pairwise(places))
    known = {data[begun:end] for begun, end in places}
    at = 0
    for entry in cut_entries(data, dialect):
        assert known.issuperset(entry.statements)
        found = data.find(entry.text[:-1], at)
        assert found >= at
        at = found + len(entry.text) - 1
        assert entry.alone.endswith(entry.text)


def _table(data: bytes) -> None:
    """A table that is understood is whole again when its parts are put together, and nothing is lost when it is thinned."""
    table = table_text(data)
    if table is None:
        return
    assert table.before + b",".join(table.items) + table.after == data
    for keys in (True, False):
        thinned = table.thinned(keys=keys)
        assert thinned.text.startswith(table.before)
        assert thinned.text.endswith(table.after)
        later = b"".join(thinned.keys) + (thinned.foreign or b"")
        gone = (table.late if keys else frozenset()) | table.foreign
        assert all(table.items[number].strip() in later for number in gone)
        kept = [item for number, item in enumerate(table.items) if number not in gone]
        assert all(item in thinned.text for item in kept)


def _tables() -> list[bytes]:
    """Each table of the dumps, as its own segment has it."""
    start, found = b"--\n-- Table structure for table", []
    for dump in seeds_of("mysql*.sql", "mariadb*.sql"):
        found += [start + part.partition(b"--\n-- Dumping data")[0] for part in dump.split(start)[1:]]
    assert all(table_text(seed) for seed in found)
    return found


def _fitted(data: bytes) -> None:
    """However it comes, the same goes on."""

    def through(size: int, *, silent: bool) -> bytes:
        stream = ForeignText(EventSilencer() if silent else None)
        pieces = [stream.feed(data[at : at + size]) for at in range(0, len(data), size)]
        return b"".join(pieces) + stream.finish()

    for silent in (False, True):
        assert through(11, silent=silent) == through(1 << 20, silent=silent)


TARGETS = (
    Target(
        "scan-postgresql",
        _scanned(lambda size: PostgresqlScanner(size), every_byte=False),
        _with_shape("postgresql*.sql", small=_SMALL_POSTGRESQL),
        _POSTGRESQL_WORDS,
        examples=200,
    ),
    Target(
        "scan-globals",
        _scanned(lambda size: PostgresqlGlobalsScanner(size), every_byte=False),
        _with_shape("globals*.sql"),
        _POSTGRESQL_WORDS,
        examples=100,
    ),
    Target(
        "scan-mysql",
        _scanned(lambda size: MysqlScanner(size), every_byte=True),
        _with_shape("mysql*.sql", "mariadb*.sql", small=(SMALL,)),
        _MYSQL_WORDS,
        examples=200,
    ),
    Target("cut-postgresql", _entries, lambda: seeds_of("postgresql*.sql"), _POSTGRESQL_WORDS, examples=150),
    Target("cut-mysql", _table, _tables, _MYSQL_WORDS, examples=300),
    Target(
        "foreign-postgresql",
        _guarded,
        lambda: seeds_of("postgresql*.sql", "globals*.sql"),
        _POSTGRESQL_WORDS,
        examples=150,
    ),
    Target("definers", _definers, _with_shape("mysql*.sql", "mariadb*.sql", small=(SMALL,)), _MYSQL_WORDS, examples=50),
    Target(
        "statements",
        _left_out,
        _with_shape("postgresql*.sql", small=_SMALL_POSTGRESQL),
        _POSTGRESQL_WORDS,
        examples=50,
    ),
    Target("foreign-mysql", _fitted, lambda: seeds_of("mysql*.sql", "mariadb*.sql"), _MYSQL_WORDS, examples=150),
)
