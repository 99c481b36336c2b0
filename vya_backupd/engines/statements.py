"""Cuts PostgreSQL's SQL into statements and statements into tokens, exactly as psql would.

For small texts only (globals, properties of a database); dumps go through the scanners. The grammar is that of
"Lexical Structure" in PostgreSQL's documentation with standard_conforming_strings on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*(?:\n|$))
  | (?P<comment>/\*)
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
  | (?P<name>"(?:[^"]|"")*"|[^\W\d][\w$]*)
  | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
  | (?P<end>;)
  | (?P<meta>\\[^\n]*(?:\n|$))
  | (?P<other>\d[\w.]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: name, string or other. ``text`` as written; ``value``: a name without its quotes, folded if bare."""

    kind: str
    text: str
    value: str
    start: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with its semicolon, without the comments before it."""

    text: str
    tokens: tuple[Token, ...]

    def words(self, count: int) -> tuple[str, ...]:
        """The first tokens, upper case where they are bare words: for comparison with keywords."""
        return tuple(token.text.upper() for token in self.tokens[:count])


def identifier(text: str) -> str:
    """The name that an identifier means: quoted ones as they are, bare ones in lower case."""
    if text.startswith('"'):
        return text[1:-1].replace('""', '"')
    return text.lower()


def statements(text: str) -> Iterator[Statement]:
    """The statements of a text, in order. Client commands (lines that begin with a backslash) are left out."""
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:  # an unterminated quote: cannot be in a tool's output
            return
        kind, end = found.lastgroup or "other", found.end()
        if kind == "comment":
            end = _comment_end(text, end)
        elif kind == "dollar":
            closing = text.find(found.group(), end)
            end = len(text) if closing < 0 else closing + len(found.group())
            kind = "string"
        if kind == "end" and tokens:
            yield Statement(text[tokens[0].start : end], tuple(tokens))
            tokens = []
        elif kind in ("name", "string", "other") or (kind == "meta" and tokens):
            written = text[position:end]
            tokens.append(Token(kind, written, identifier(written) if kind == "name" else written, position))
        position = end


def _comment_end(text: str, position: int) -> int:
    """Where a comment ends; comments nest."""
    depth = 1
    for found in re.finditer(r"/\*|\*/", text[position:]):
        depth += 1 if found.group() == "/*" else -1
        if depth == 0:
            return position + found.end()
    return len(text)
