"""Where a dump of MySQL or MariaDB names its own database, so that this can be left out.

Servers write a database's own name into the defaults of columns (MariaDB's sequences), into views that also reach into
other databases, before functions that were called with it, and (MariaDB) before triggers that were typed with it. Left
as it is, a copy under another name would read the original, or spend its sequences. Only what a server itself writes is
touched, never the text of routines; a table alias that is spelled like the database stays.
"""

from __future__ import annotations

import functools
import re

_IDENT = rb"`[^`]*(?:``[^`]*)*`"
_NAME = rb"(?:" + _IDENT + rb'|"[^"]*(?:""[^"]*)*"|[\w$\x80-\xff]+)'
_REFERENCE = re.compile(rb"(?:(?:from|join)[ (]*|val\()\Z")
_TOKEN = re.compile(rb"'(?:[^'\\]|\\.|'')*'|" + _IDENT, re.DOTALL)
LOOKBEHIND = 32
"""Bytes before a name that tell a table from a column."""


class OwnName:
    """The name of the database that is being dumped."""

    def __init__(self, database: str) -> None:
        quoted = b"`" + database.encode("utf-8").replace(b"`", b"``") + b"`"
        self._qualifier = quoted + b"."
        self._own = rb"(?:" + re.escape(quoted) + rb"|" + re.escape(database.encode("utf-8")) + rb")\s*\.\s*"

    # Made when first needed: to compile them takes longer than to scan the dump of a small database.

    @functools.cached_property
    def _sure(self) -> re.Pattern[bytes]:
        return re.compile(re.escape(self._qualifier) + _IDENT + rb"(?:\.`|\()")

    @functools.cached_property
    def _trigger(self) -> re.Pattern[bytes]:
        own = self._own
        return re.compile(
            rb"/\*!50003 CREATE\*/ (?:/\*!50017 DEFINER=(?:" + _IDENT + rb"@)?" + _IDENT + rb"\*/ )?"
            rb"/\*!50003 (?i:TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?)(" + own + rb")?" + _NAME + rb"\s+"
            rb"(?i:(?:BEFORE|AFTER)\s+(?:INSERT|UPDATE|DELETE)\s+ON\s+)(" + own + rb")?",
        )

    def qualifier(self, buffer: bytes, at: int, before: bytes) -> int:
        """How many bytes at ``at`` are the database's name and dot; 0 when something else stands there.

        ``before`` is the code that comes before. Half a kilobyte behind ``at`` must be there to be seen.
        """
        if not buffer.startswith(self._qualifier, at):
            return 0
        if _REFERENCE.search(before) or self._sure.match(buffer, at):
            return len(self._qualifier)
        return 0

    def left_out(self, text: str) -> str:
        """A whole statement or expression of the server's, such as SHOW CREATE VIEW gives, without the name."""
        code = text.encode("utf-8", "surrogateescape")
        parts, at = [], 0
        for token in _TOKEN.finditer(code):
            start = token.start()
            if own := self.qualifier(code, start, code[max(0, start - LOOKBEHIND) : start]):
                parts.append(code[at:start])
                at = start + own
        return b"".join([*parts, code[at:]]).decode("utf-8", "surrogateescape")

    def in_trigger(self, buffer: bytes, at: int) -> list[tuple[int, int]]:
        """Where the head of a CREATE TRIGGER at ``at`` has the name: spans to leave out, in order."""
        found = self._trigger.match(buffer, at)
        if found is None:
            return []
        return [found.span(group) for group in (1, 2) if found.group(group)]
