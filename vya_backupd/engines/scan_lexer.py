"""Lexers: where code, quotes and comments begin and end in SQL that arrives in pieces.

A lexer never looks back and never keeps text: the scanner hands it a buffer and a position, gets the end of one span,
and calls again from there. When a span's kind cannot be told from what the buffer holds, the answer is an empty span,
and the scanner waits for more text. ``final`` says that no more will come.

Both dialects are lexed as the tools' own clients do it, since that is who will read the dump again:
https://www.postgresql.org/docs/current/sql-syntax-lexical.html and https://dev.mysql.com/doc/refman/en/string-literals.html
"""

from __future__ import annotations

import enum
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

_COMMENT_LOOKAHEAD = 10
"""Bytes after which a comment's opening is known: ``/*M!999999``."""
_WORD, _LONG_WORD = 256, 64 * 1024
"""Bytes of a word at the buffer's end that wait for the rest of it: what most need, and what the longest gets."""
_WORD_BYTES = frozenset(b"$_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") | frozenset(
    range(0x80, 0x100)
)


class Kind(enum.IntEnum):
    """What a span of text is."""

    CODE = 1
    QUOTED = 2
    COMMENT = 3
    END = 4
    """A delimiter that ends a statement (MySQL and MariaDB)."""


@dataclass(slots=True)
class _Open:
    """A quote or comment that has begun: what closes it, and what cannot close it."""

    kind: Kind
    close: bytes
    escapes: bool = False
    nested: int = 0


class Lexer(ABC):
    """The common part: finding the next token in code, and the end of what it opened."""

    tokens: re.Pattern[bytes]
    """What ends code; where it could be the middle of a word, only if no word stands before it."""
    beginnings: re.Pattern[bytes]
    """The same, where no word can stand before it whatever the buffer shows: behind a quote, a comment, a delimiter."""
    unsure: re.Pattern[bytes]
    """What may turn out to be (part of) a token when more text arrives; anchored at the buffer's end."""

    def __init__(self) -> None:
        self._open: _Open | None = None
        # The caller may have let go of the text before the next span, so what matters of it is kept here.
        self._in_word = False

    @property
    def in_code(self) -> bool:
        """Whether neither a quote nor a comment is open."""
        return self._open is None

    def span(self, buffer: bytes, at: int, *, final: bool) -> tuple[int, Kind]:
        """End and kind of the span that begins at ``at``; an end equal to ``at`` asks for more text."""
        if self._open is not None:
            return self._inside(self._open, buffer, at, final=final)
        token = self._next_token(buffer, at)
        if token is None or token.start() > at:
            end = token.start() if token is not None else len(buffer) if final else self._sure_until(buffer, at)
            if end > at:
                self._in_word = buffer[end - 1] in _WORD_BYTES
            return end, Kind.CODE
        end, kind = self._begin(token, buffer, final=final)
        if end > at:
            self._in_word = kind is Kind.CODE and buffer[end - 1] in _WORD_BYTES
        return end, kind

    def _next_token(self, buffer: bytes, at: int) -> re.Match[bytes] | None:
        if not self._in_word and (begins := self.beginnings.match(buffer, at)) is not None:
            return begins
        token = self.tokens.search(buffer, at)
        if self._in_word and token is not None and token.start() == at and buffer[at] in _WORD_BYTES:
            return self.tokens.search(buffer, at + 1)
        return token

    def _sure_until(self, buffer: bytes, at: int) -> int:
        """Up to where no token can begin that more text would show."""
        start = max(at, len(buffer) - _WORD)
        doubt = self.unsure.search(buffer, start)
        if doubt is not None and doubt.start() == start > at:
            doubt = self.unsure.search(buffer, max(at, len(buffer) - _LONG_WORD))
        return len(buffer) if doubt is None else doubt.start()

    @abstractmethod
    def _begin(self, token: re.Match[bytes], buffer: bytes, *, final: bool) -> tuple[int, Kind]:
        """End and kind of what begins with this token."""

    def _enter(self, opened: _Open, end: int) -> tuple[int, Kind]:
        self._open = opened
        return end, opened.kind

    def _inside(self, opened: _Open, buffer: bytes, at: int, *, final: bool) -> tuple[int, Kind]:
        if opened.escapes:
            end, closed = _escaped_end(buffer, at, opened.close, final=final)
        elif opened.nested:
            end, closed = _nested_end(opened, buffer, at)
        else:
            found = buffer.find(opened.close, at)
            closed = found >= 0
            end = found + len(opened.close) if closed else max(at, len(buffer) - len(opened.close) + 1)
        if closed:
            self._open = None
        elif final:
            end = len(buffer)
        return end, opened.kind


def _escaped_end(buffer: bytes, at: int, quote: bytes, *, final: bool) -> tuple[int, bool]:
    """Where a quote with backslash escapes ends, and whether it does within the buffer."""
    special = _SPECIAL[quote]
    size = len(buffer)
    while (found := special.search(buffer, at)) is not None:
        at = found.start()
        if at + 1 == size:
            return (size, True) if final and buffer[at:] == quote else (at, False)
        if found.group() == quote and buffer[at + 1 : at + 2] != quote:
            return at + 1, True
        at += 2
    return size, False


def _nested_end(opened: _Open, buffer: bytes, at: int) -> tuple[int, bool]:
    """Where a comment that may hold comments ends."""
    for mark in _NESTING.finditer(buffer, at):
        opened.nested += 1 if mark.group() == b"/*" else -1
        at = mark.end()
        if not opened.nested:
            return at, True
    return max(at, len(buffer) - 1), False


_SPECIAL = {quote: re.compile(rb"[\\" + quote + rb"]") for quote in (b"'", b'"')}
_NESTING = re.compile(rb"/\*|\*/")
_NO_WORD = rb"(?<![\w$\x80-\xff])"
_DOLLAR_QUOTE = rb"\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$"


class PostgresqlLexer(Lexer):
    """PostgreSQL, as psql splits it. ``plain_escapes``: ``standard_conforming_strings`` is off."""

    tokens, beginnings = (
        re.compile(no_word + rb"""[eE]'|['"]|--|/\*|(?<=\n)\\|""" + no_word + _DOLLAR_QUOTE)
        for no_word in (_NO_WORD, b"")
    )
    unsure = re.compile(rb"(?:[\w$\x80-\xff]+|[-/])\Z")

    def __init__(self) -> None:
        super().__init__()
        self.plain_escapes = False

    def _begin(self, token: re.Match[bytes], buffer: bytes, *, final: bool) -> tuple[int, Kind]:
        del buffer, final
        text = token.group()
        if text in (b"--", b"\\"):
            return self._enter(_Open(Kind.COMMENT, b"\n"), token.end())
        if text == b"/*":
            return self._enter(_Open(Kind.COMMENT, b"*/", nested=1), token.end())
        if text.startswith(b"$"):
            return self._enter(_Open(Kind.QUOTED, text), token.end())
        escapes = len(text) > 1 or (self.plain_escapes and text == b"'")
        return self._enter(_Open(Kind.QUOTED, text[-1:], escapes=escapes), token.end())


class MysqlLexer(Lexer):
    """MySQL and MariaDB, with the client's delimiter.

    ``backslashes`` and ``ansi_quotes`` follow ``sql_mode``; ``dollars``: ``$$`` quotes, which MySQL has from 9 on.
    Versioned comments (``/*!50003 ... */``) are code; their opening and closing marks are just passed over.
    """

    unsure = re.compile(rb"(?:[\w$\x80-\xff]+|--?|/|\*|;)\Z")

    def __init__(self) -> None:
        super().__init__()
        self.backslashes = True
        self.ansi_quotes = False
        self.dollars = False
        self.delimiter = b";"

    @property
    def delimiter(self) -> bytes:
        """What ends a statement."""
        return self._delimiter

    @delimiter.setter
    def delimiter(self, text: bytes) -> None:
        self._delimiter = text
        marks = rb"""['"`]|--(?=[\x00-\x20])|\#|/\*|(?<=\n)DELIMITER\ |"""
        self.tokens, self.beginnings = (
            re.compile(marks + no_word + _DOLLAR_QUOTE + b"|" + re.escape(text)) for no_word in (_NO_WORD, b"")
        )

    def _begin(self, token: re.Match[bytes], buffer: bytes, *, final: bool) -> tuple[int, Kind]:
        text, end = token.group(), token.end()
        if text == self._delimiter:
            return end, Kind.END
        if text in (b"--", b"#", b"DELIMITER "):
            return self._enter(_Open(Kind.COMMENT, b"\n"), end)
        if text == b"/*":
            return self._comment(buffer, token.start(), final=final)
        if text.startswith(b"$"):
            return self._enter(_Open(Kind.QUOTED, text), end) if self.dollars else (end, Kind.CODE)
        escapes = self.backslashes and (text == b"'" or (text == b'"' and not self.ansi_quotes))
        return self._enter(_Open(Kind.QUOTED, text, escapes=escapes), end)

    def _comment(self, buffer: bytes, at: int, *, final: bool) -> tuple[int, Kind]:
        if len(buffer) - at < _COMMENT_LOOKAHEAD and not final:
            return at, Kind.COMMENT
        versioned = re.compile(rb"/\*M?!\d*").match(buffer, at)
        if versioned is not None:
            return versioned.end(), Kind.CODE
        # An optimizer hint is part of a view: it counts as text that DDL can change.
        kind = Kind.QUOTED if buffer.startswith(b"/*+", at) else Kind.COMMENT
        return self._enter(_Open(kind, b"*/"), at + 2)
