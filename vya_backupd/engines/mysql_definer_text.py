r"""Definers in the text of a dump of MySQL or MariaDB: found, taken out, replaced.

``DEFINER=`` counts where a statement begins with it behind CREATE, as servers and tools write it, within version comments
or without. What stands in rows, comments, names and bodies is none: the text is lexed as the client lexes it, with its
delimiters, and nothing but the head of a statement is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vya_backupd.engines.mysql_globals import quoted_account
from vya_backupd.engines.scan_lexer import Kind, MysqlLexer
from vya_backupd.model.backup import Section

_GAP = rb"(?:\s|\*/|/\*M?!\d*)"
_NAME = rb"(?:`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|[\w$.%\x80-\xff-]+)"
_HEAD = re.compile(
    rb"(?:/\*M?!\d*\s*)?CREATE" + _GAP + rb"+(?:OR" + _GAP + rb"+REPLACE" + _GAP + rb"+)?"
    rb"(?:ALGORITHM\s*=\s*\w+" + _GAP + rb"+)?"
    rb"(?P<clause>DEFINER\s*=\s*(?P<user>" + _NAME + rb")(?:\s*@\s*(?P<host>" + _NAME + rb"))?(?:\(\))? ?)",
    re.IGNORECASE | re.DOTALL,
)  # fmt: skip
_SQL_MODE = re.compile(
    rb"(?:/\*!\d+\s*)?SET\s+(?:SESSION\s+|@@(?:SESSION\.)?)?sql_mode\s*=\s*(?P<mode>[^;*]*)", re.IGNORECASE
)
_ROWS = re.compile(
    rb"(?:INSERT|REPLACE)\s(?:[^'\"`;#/\\-]++|-(?!-)|/(?!\*)|'(?:[^'\\]++|\\.)*+'|\"(?:[^\"\\]++|\\.)*+\"|`[^`]*+`)*+;",
    re.DOTALL,
)
"""A whole statement of rows: passed over at once, since there are many of them in files of others."""
_ROWS_BEGIN = re.compile(rb"(?:INSERT|REPLACE)\s")
_DELIMITER = re.compile(rb"DELIMITER[ \t]+(?P<delimiter>\S+)[^\n]*\n", re.IGNORECASE)
_DELIMITER_BEGINS = re.compile(rb"DELIMITER[ \t]", re.IGNORECASE)
_BLANKS = re.compile(rb"(?:[\x00-\x20]|/\*M!999999\\-[^*]*\*/)+")
"""Before a statement. The other is MariaDB's sandbox line, which is no part of the statement behind it."""
_MYSQL = re.compile(rb"-- MySQL dump [^\n]*Distrib (\d+)\.")
_DOLLAR_QUOTES_SINCE = 9
_LOOKAHEAD = 4096
"""Bytes that decide whether a statement has a definer: two names of 255 characters at most, and a few words."""
_LONGEST_ROWS = 16 << 20
"""Bytes of one unfinished statement of rows that are held back."""

Change = Callable[[str, str], str]
"""What stands in the place of a definer (user, host) behind ``DEFINER=``; nothing when the clause is to go."""


class DefinerText:
    """Changes the definers of one dump, piece by piece, in its order; without a ``change`` they stay as they are.

    Of a file with sections only ``post`` is looked at: there are no definers elsewhere. ``unwanted`` is given the first
    bytes of each statement that is not one of rows, perhaps more than once, and says whether it is left out.
    """

    def __init__(self, change: Change | None, unwanted: Callable[[bytes], bool] | None = None) -> None:
        self._change = change
        self._unwanted = unwanted
        self._leaving = False
        self._lexer = MysqlLexer()
        self._buffer = b""
        self._fresh = self._line_start = self._first = True

    def feed(self, text: bytes, section: Section | None = None) -> bytes:
        """Take a piece; give back what can be passed on. ``section``: None where the file does not say."""
        if self._first and text:
            self._first = False
            version = _MYSQL.search(text[:_LOOKAHEAD])
            self._lexer.dollars = version is not None and int(version.group(1)) >= _DOLLAR_QUOTES_SINCE
        if section not in (None, Section.POST):
            return self.finish() + text
        self._buffer += text
        return self._advance(final=False)

    def finish(self) -> bytes:
        """Give back the rest."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> bytes:
        buffer, at, done, parts = self._buffer, 0, 0, []
        while at < len(buffer):
            head = self._head(buffer, at, final=final)
            end = head.end() if head is not None else self._step(buffer, at, final=final)
            if head is not None:
                parts += [buffer[done : head.start("clause")], _changed(head, self._change)]
                done, self._fresh = end, False
            elif self._leaving:
                parts.append(buffer[done:at])
                done, self._leaving = end, not self._fresh
            if end == at:
                break
            at = end
        self._line_start = buffer[at - 1 : at] == b"\n" if at else self._line_start
        self._buffer = buffer[at:]
        return b"".join([*parts, buffer[done:at]])

    def _head(self, buffer: bytes, at: int, *, final: bool) -> re.Match[bytes] | None:
        """The head of a statement that begins here and has a definer that is to be changed."""
        if (
            self._change is not None
            and self._fresh
            and self._lexer.in_code
            and (final or len(buffer) - at >= _LOOKAHEAD)
        ):
            return _HEAD.match(buffer, at)
        return None

    def _step(self, buffer: bytes, at: int, *, final: bool) -> int:
        """Where what stands here ends; ``at`` when more text is needed to tell."""
        lexer = self._lexer
        if lexer.in_code and (self._fresh or self._begins_line(buffer, at)):
            end = self._beginning(buffer, at, final=final)
            if end is not None:
                return end
        end, kind = lexer.span(buffer, at, final=final)
        if end > at and kind is not Kind.COMMENT:
            self._fresh = kind is Kind.END
        return end

    def _beginning(self, buffer: bytes, at: int, *, final: bool) -> int | None:
        """The end of what can only begin a line or a statement; None when nothing such does."""
        blanks = _BLANKS.match(buffer, at)
        if blanks is not None:
            return blanks.end()
        if not final and len(buffer) - at < _LOOKAHEAD:
            return at
        if self._begins_line(buffer, at) and _DELIMITER_BEGINS.match(buffer, at):
            found = _DELIMITER.match(buffer, at)
            if found is not None:
                self._lexer.delimiter = found["delimiter"]
                self._fresh = True
                return found.end()
        if not self._fresh:
            return None
        if self._unwanted is not None and not _ROWS_BEGIN.match(buffer, at):
            self._leaving = self._unwanted(buffer[at : at + _LOOKAHEAD])
        if (mode := _SQL_MODE.match(buffer, at)) is not None:
            self._lexer.backslashes = b"NO_BACKSLASH_ESCAPES" not in mode["mode"].upper()
            self._lexer.ansi_quotes = b"ANSI_QUOTES" in mode["mode"].upper()
        return self._rows(buffer, at, final=final)

    def _rows(self, buffer: bytes, at: int, *, final: bool) -> int | None:
        """The end of a whole statement of rows."""
        if not (self._lexer.backslashes and self._lexer.delimiter == b";" and _ROWS_BEGIN.match(buffer, at)):
            return None
        rows = _ROWS.match(buffer, at)
        if rows is not None:
            return rows.end()
        return None if final or len(buffer) - at > _LONGEST_ROWS else at

    def _begins_line(self, buffer: bytes, at: int) -> bool:
        return buffer[at - 1] == 0x0A if at else self._line_start


def stripped(user: str, host: str) -> str:
    """A ``Change``: no definer, so whoever restores becomes it."""
    del user, host
    return ""


def replaced_by(account: tuple[str, str]) -> Change:
    """A ``Change``: this account (user, host) instead of any."""
    quoted = quoted_account(*account)

    def change(user: str, host: str) -> str:
        del user, host
        return quoted

    return change


def definers_in(text: bytes) -> set[tuple[str, str]]:
    """The definers (user, host) that a whole text names; MariaDB's roles have no host."""
    found: set[tuple[str, str]] = set()

    def note(user: str, host: str) -> str:
        found.add((user, host))
        return quoted_account(user, host)

    collector = DefinerText(note)
    collector.feed(text)
    collector.finish()
    return found


def _changed(head: re.Match[bytes], change: Change | None) -> bytes:
    account = change(_plain(head["user"]), _plain(head["host"] or b"")) if change is not None else ""
    if not account:
        return b""
    space = b" " if head["clause"].endswith(b" ") else b""
    return b"DEFINER=" + account.encode("utf-8", "surrogateescape") + space


def _plain(name: bytes) -> str:
    """A name without its quotes."""
    quote = name[:1]
    if quote not in (b"`", b"'", b'"'):
        return name.decode("utf-8", "surrogateescape")
    return name[1:-1].replace(quote * 2, quote).decode("utf-8", "surrogateescape")
