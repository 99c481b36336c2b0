r"""Statements left out of a PostgreSQL dump, piece by piece: owners, rights, tablespaces, extensions.

Text is split into statements as psql splits it, and rows behind a COPY line are passed on unread until the line ``\.``.
So what looks like a statement in a row, in a comment or in the body of a function stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from vya_backupd.engines.cut_postgresql import Splitter
from vya_backupd.engines.kinds_postgresql import IDENT, NAME
from vya_backupd.engines.scan_lexer import Kind, PostgresqlLexer
from vya_backupd.model.backup import Section

_COPY = re.compile(rb"COPY\s.*\sFROM\s+STDIN\b[^;]*;\Z", re.IGNORECASE | re.DOTALL)
_PLAIN_ESCAPES = re.compile(rb"SET\s+standard_conforming_strings\s*=\s*off\b", re.IGNORECASE)
_ROWS_END = re.compile(rb"\n\\\.\r?\n")
_ROWS_END_BEGUN = len(b"\n\\.\r")
_LONGEST = 64 << 10
"""Bytes of an unfinished statement that are held back: no statement that could be left out is longer."""
_BEHIND = 64
"""Bytes that a lexer may look back at."""


class StatementText:
    """One dump without the statements that are ``unwanted``."""

    def __init__(self, unwanted: Callable[[bytes], bool]) -> None:
        self._unwanted = unwanted
        self._lexer = PostgresqlLexer()
        self._splitter = Splitter()
        self._buffer = b""
        self._at = self._done = 0
        self._parts: list[bytes] = []
        self._in_rows = False
        self._is_long = False

    def feed(self, text: bytes, section: Section | None = None) -> bytes:
        """Take a piece; give back what can be passed on."""
        del section
        self._buffer += text
        return self._advance(final=False)

    def finish(self) -> bytes:
        """Give back the rest."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> bytes:
        while self._at < len(self._buffer) and (self._rows(final=final) if self._in_rows else self._code(final=final)):
            pass
        self._pass(self._held_from(final=final))
        out, self._parts = b"".join(self._parts), []
        self._trim()
        return out

    def _held_from(self, *, final: bool) -> int:
        """Where the text begins that must wait."""
        start = self._splitter.start
        if final or start < 0:
            return len(self._buffer) if final else self._at
        self._is_long = self._is_long or self._at - start > _LONGEST
        return self._at if self._is_long else start

    def _pass(self, end: int) -> None:
        if end > self._done:
            self._parts.append(self._buffer[self._done : end])
            self._done = end

    def _trim(self) -> None:
        cut = max(0, min(self._done, self._at) - _BEHIND)
        self._splitter.move(self._buffer, cut)
        self._buffer = self._buffer[cut:]
        self._at, self._done = self._at - cut, self._done - cut

    def _code(self, *, final: bool) -> bool:
        """Take a span of code, a quote or a comment; whether there was a whole one."""
        start = self._at
        end, kind = self._lexer.span(self._buffer, start, final=final)
        if kind is Kind.QUOTED and end > start:
            self._splitter.begin(start)
        self._at = end
        if kind is Kind.CODE:
            for begun, ended in self._splitter.code(self._buffer, start, end):
                self._statement(begun, ended)
                if self._in_rows:
                    self._at = ended
                    break
        return self._at > start

    def _statement(self, begun: int, ended: int) -> None:
        if self._is_long:
            self._is_long = False
            return
        statement = self._buffer[begun:ended]
        if self._unwanted(statement):
            self._pass(begun)
            self._done = ended
        elif _COPY.match(statement):
            self._in_rows = True
        elif _PLAIN_ESCAPES.match(statement):
            self._lexer.plain_escapes = True

    def _rows(self, *, final: bool) -> bool:
        """Take rows up to their end; whether that was there. The line break behind COPY may be the one before it."""
        found = _ROWS_END.search(self._buffer, self._at)
        if found is None:
            self._at = len(self._buffer) if final else max(self._at, len(self._buffer) - _ROWS_END_BEGUN)
            return False
        self._in_rows = False
        self._at = found.end()
        return True


_OWNER = re.compile(rb"ALTER\s.*\sOWNER TO (" + IDENT + rb");\Z", re.DOTALL)
_PRIVILEGES = re.compile(
    rb"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|SET SESSION AUTHORIZATION|RESET SESSION AUTHORIZATION)\b"
)
_TABLESPACE = re.compile(rb"SET default_tablespace = (" + IDENT + rb"|'[^']*');")
_EXTENSION = re.compile(rb"(?:CREATE EXTENSION (?:IF NOT EXISTS )?|COMMENT ON EXTENSION )(" + IDENT + rb")")
_CREATE_EXTENSION = re.compile(rb"CREATE EXTENSION (?:IF NOT EXISTS )?(" + IDENT + rb")")
_GRANTEE = re.compile(
    rb"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES)\s.*\s(?:TO|FROM) (" + IDENT + rb")(?: WITH GRANT OPTION)?"
    rb"(?: GRANTED BY (" + IDENT + rb"))?;\Z",
    re.DOTALL,
)  # fmt: skip
_NAMED = (
    _OWNER,
    _GRANTEE,
    re.compile(rb"ALTER DEFAULT PRIVILEGES FOR ROLE (" + IDENT + rb")\s"),
    re.compile(rb"SET SESSION AUTHORIZATION (" + IDENT + rb");"),
    re.compile(rb"CREATE USER MAPPING FOR (" + IDENT + rb")\s"),
    re.compile(rb"ALTER ROLE (" + IDENT + rb") IN DATABASE "),
)
_POLICY = re.compile(
    rb"CREATE POLICY " + IDENT + rb" ON " + NAME + rb"(?: AS \w+)?(?: FOR \w+)? TO (" + IDENT + rb"(?:, " + IDENT + rb")*)"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unwanted:
    """What of a dump stays behind, as ``pg_restore`` names it; ``extensions`` by their names."""

    owner: bool = False
    privileges: bool = False
    tablespaces: bool = False
    extensions: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.owner or self.privileges or self.tablespaces or bool(self.extensions)

    def __call__(self, statement: bytes) -> bool:
        """Whether this statement is left out."""
        if self.owner and _OWNER.match(statement):
            return True
        if self.privileges and _PRIVILEGES.match(statement):
            return True
        if self.tablespaces and _TABLESPACE.match(statement):
            return True
        found = _EXTENSION.match(statement) if self.extensions else None
        return found is not None and _plain(found.group(1)) in self.extensions


@dataclass(slots=True)
class Needs:
    """What a server must have so that a dump can be restored there."""

    roles: set[str] = field(default_factory=set)
    extensions: set[str] = field(default_factory=set)
    tablespaces: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[set[str]]:
        return iter((self.roles, self.extensions, self.tablespaces))

    def take(self, statement: bytes) -> None:
        """Learn from a statement."""
        for pattern in _NAMED:
            if (found := pattern.match(statement)) is not None:
                self._name(group for group in found.groups() if group)
        if (policy := _POLICY.match(statement)) is not None:
            self._name(re.findall(IDENT, policy.group(1)))
        if (extension := _CREATE_EXTENSION.match(statement)) is not None:
            self.extensions.add(_plain(extension.group(1)))
        if (space := _TABLESPACE.match(statement)) is not None and not space.group(1).startswith(b"'"):
            self.tablespaces.add(_plain(space.group(1)))

    def _name(self, names: Iterable[bytes]) -> None:
        self.roles.update(_plain(name) for name in names if name.upper() not in _EVERYBODY)


_EVERYBODY = frozenset({b"PUBLIC", b"CURRENT_USER", b"SESSION_USER", b"CURRENT_ROLE"})


def needs_of(texts: Iterable[bytes], unwanted: Callable[[bytes], bool]) -> Needs:
    """What the statements of whole texts need, those left out that are unwanted."""
    needs = Needs()

    def look(statement: bytes) -> bool:
        if not unwanted(statement):
            needs.take(statement)
        return False

    reader = StatementText(look)
    for text in texts:
        reader.feed(text)
    reader.finish()
    return needs


def _plain(name: bytes) -> str:
    bare = name[1:-1].replace(b'""', b'"') if name.startswith(b'"') else name
    return bare.decode("utf-8", "backslashreplace")
