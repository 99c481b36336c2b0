r"""Cutting pg_dump's header, schema and post sections into entries, and saying what each entry is.

pg_dump writes an entry for each object, under a heading of three comment lines. Between entries stand settings that
hold for all that follow (``SET default_tablespace``): an entry that is taken out of its row needs those in force where
it stood. Text is split into statements as psql splits it: semicolons within quotes, comments, parentheses and the
``BEGIN ATOMIC`` bodies of SQL functions end nothing.

What an entry is, and of which table, is read from its first statement, since the names in headings are ambiguous. An
entry that is not understood is ``OTHER``: whoever changes the order of entries leaves those where they are.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vya_backupd.engines.kinds_postgresql import IDENT, EntryKind, meaning
from vya_backupd.engines.scan_encoding import python_codec
from vya_backupd.engines.scan_lexer import Kind, PostgresqlLexer

_HEADING = re.compile(rb"--\n-- (?:Data for |Statistics for )?Name: [^\n]*\n--\n\n*")
_TOKEN = re.compile(rb"[();]|(?<![\w$\x80-\xff])(?:begin|case|end)(?![\w$\x80-\xff])", re.IGNORECASE)
_VISIBLE = re.compile(rb"[^\s;]")
_ROUTINE = re.compile(rb"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE)
_SETTING = re.compile(rb"SET (\w+) = ")
_SETTINGS_LAST = re.compile(rb"(?:(?<=\n)SET \w+ = [^\n]*;\n+)+\Z")
_TAIL = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a dump.

    ``text`` is heading and statements as they stand there. ``settings`` are the SET statements in force there.
    ``table``: the table that it belongs to, named as data segments are (``schema.table``). ``name``: what the entry
    makes, or what a comment or grant is about, likewise without quotes. ``references``: a foreign key's other table.
    """

    text: bytes
    statements: tuple[bytes, ...]
    settings: tuple[bytes, ...]
    kind: EntryKind = EntryKind.OTHER
    table: str | None = None
    name: str = ""
    references: str | None = None

    @property
    def alone(self) -> bytes:
        """The entry with the settings that it needs, for a session that has run no other."""
        return b"".join(setting + b"\n" for setting in self.settings) + self.text


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the text of a dump is to be read, as its header says.

    ``codec``: Python's name of its encoding. ``plain_escapes``: backslashes escape in plain string constants.
    """

    codec: str = "utf-8"
    plain_escapes: bool = False

    @classmethod
    def of(cls, header: bytes) -> Dialect:
        """The dialect of a dump with this header."""
        encoding = re.search(rb"^SET client_encoding = '([^']*)';", header, re.MULTILINE)
        codec = python_codec(encoding.group(1).decode("ascii", "replace") if encoding else "UTF8")
        return cls(codec, re.search(rb"^SET standard_conforming_strings = off;", header, re.MULTILINE) is not None)

    def plain(self, name: bytes) -> str:
        """A name without its quotes, as objects are called in our files: parts joined by a full stop."""
        parts = re.findall(IDENT, name)
        bare = (part[1:-1].replace(b'""', b'"') if part.startswith(b'"') else part for part in parts)
        return b".".join(bare).decode(self.codec, "backslashreplace")


def statements(text: bytes, dialect: Dialect) -> Iterator[tuple[int, int]]:
    """Where each statement of the text begins and ends; comments and white space before it left out."""
    splitter = Splitter()
    for at, end, kind in _spans(text, dialect):
        if kind is Kind.CODE:
            yield from splitter.code(text, at, end)
        elif kind is Kind.QUOTED:
            splitter.begin(at)
    yield from splitter.rest(len(text))


def cut_entries(text: bytes, dialect: Dialect, settings: tuple[bytes, ...] = ()) -> list[Entry]:
    """The entries of a section's whole text; ``settings`` are those in force at its beginning.

    What stands before the first heading is an entry by itself, without a heading.
    """
    found_all = list(statements(text, dialect))
    places = [at for at, _, kind in _spans(text, dialect) if kind is Kind.COMMENT and _is_heading(text, at)]
    edges = [0, *_between(found_all, places), len(text)]
    inside = iter(found_all)
    found = next(inside, None)
    entries = []
    for start, end in itertools.pairwise(edges):
        own: list[tuple[int, int]] = []
        while found is not None and found[0] < end:
            own.append(found)
            found = next(inside, None)
        entry = _entry(text, start, own, settings, dialect)
        if entry is not None:
            entries.append(entry)
        settings = in_force(settings, [text[a:b] for a, b in own])
    return entries


def _between(spans: list[tuple[int, int]], places: list[int]) -> Iterator[int]:
    """Those places that are in no statement: a heading within one is a comment of it, and no text belongs to two."""
    begins = [begun for begun, _ in spans]
    for at in places:
        before = bisect.bisect_right(begins, at) - 1
        if before < 0 or spans[before][1] <= at:
            yield at


def in_force(settings: tuple[bytes, ...], after: list[bytes]) -> tuple[bytes, ...]:
    """The settings in force when these statements have run, too."""
    found = {_setting_name(each): each for each in settings}
    for statement in after:
        if _SETTING.match(statement):
            found[_setting_name(statement)] = statement
    return tuple(found.values())


def settings_behind(segment: bytes) -> list[bytes]:
    """The SET statements at the very end of a segment: they stand before the heading of the next entry."""
    found = _SETTINGS_LAST.search(segment[-_TAIL:])
    return [line for line in found.group().splitlines() if line] if found else []


def _setting_name(statement: bytes) -> bytes:
    found = _SETTING.match(statement)
    return found.group(1) if found else b""


def _is_heading(text: bytes, at: int) -> bool:
    return (at == 0 or text[at - 1] == 0x0A) and _HEADING.match(text, at) is not None


def _spans(text: bytes, dialect: Dialect) -> Iterator[tuple[int, int, Kind]]:
    lexer = PostgresqlLexer()
    lexer.plain_escapes = dialect.plain_escapes
    at, size = 0, len(text)
    while at < size:
        end, kind = lexer.span(text, at, final=True)
        if end == at:
            return
        yield at, end, kind
        at = end


class Splitter:
    """Where statements end, as psql sees it. ``start``: where the one that has begun does; -1 when none has."""

    def __init__(self) -> None:
        self.start = -1
        self._parentheses = 0
        self._blocks = 0
        self._is_routine: bool | None = None

    def begin(self, at: int) -> None:
        """Something other than white space stands here."""
        if self.start < 0:
            self.start = at

    def code(self, text: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
        """Take code."""
        while True:
            if self.start < 0:
                first = _VISIBLE.search(text, at, end)
                if first is None:
                    return
                self.start = at = first.start()
            token = _TOKEN.search(text, at, end)
            if token is None:
                return
            at = token.end()
            if self._takes(text, token.group()):
                begun = self.start
                self._reset()
                yield begun, at

    def rest(self, end: int) -> Iterator[tuple[int, int]]:
        """What has begun and does not end."""
        if self.start >= 0:
            yield self.start, end

    def move(self, text: bytes, by: int) -> None:
        """The text loses so many bytes at its beginning, perhaps those of the statement that has begun."""
        if self.start >= 0:
            if self._is_routine is None and by > self.start:
                self._is_routine = _ROUTINE.match(text, self.start) is not None
            self.start = max(0, self.start - by)

    def _takes(self, text: bytes, token: bytes) -> bool:
        """Take a token; whether it ends the statement."""
        if token == b"(":
            self._parentheses += 1
        elif token == b")":
            self._parentheses = max(0, self._parentheses - 1)
        elif token == b";":
            return not self._parentheses and not self._blocks
        elif not self._parentheses:
            self._word(text, token.lower())
        return False

    def _word(self, text: bytes, word: bytes) -> None:
        """Blocks count in the definition of a routine only; CASE ends with END as well."""
        if self._is_routine is None:
            self._is_routine = _ROUTINE.match(text, self.start) is not None
        if not self._is_routine:
            return
        if word == b"begin" or (word == b"case" and self._blocks):
            self._blocks += 1
        elif word == b"end":
            self._blocks = max(0, self._blocks - 1)

    def _reset(self) -> None:
        self.start, self._parentheses, self._blocks, self._is_routine = -1, 0, 0, None


def _entry(
    text: bytes, start: int, own: list[tuple[int, int]], settings: tuple[bytes, ...], dialect: Dialect
) -> Entry | None:
    """The entry that begins at ``start``; None where there is nothing but settings. Settings at its end are not its."""
    while own and _SETTING.match(text, own[-1][0]):
        own = own[:-1]
    if not own:
        return None
    parts = tuple(text[a:b] for a, b in own)
    kind, names = meaning(parts[0])
    plain = {key: dialect.plain(name) for key, name in names.items()}
    whole = text[start : own[-1][1]] + b"\n"
    return Entry(whole, parts, settings, kind, plain.get("table"), plain.get("name", ""), plain.get("references"))
