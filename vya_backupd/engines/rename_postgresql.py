r"""Exchanges names of relations in pg_dump's text: in statements, and in the COPY lines above rows.

Text is taken as Latin-1, byte for byte. That is safe: in a dump everything that is not plain ASCII stands in quotes, and
no encoding of a server has an ASCII byte within a character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vya_backupd.engines.kinds_postgresql import IDENT
from vya_backupd.engines.statements import Token, statements

Pair = tuple[bytes, bytes]
"""Schema and name, without quotes."""

_BEFORE_TABLES = frozenset({"TABLE", "ONLY", "ON", "REFERENCES", "INTO", "FROM", "TO", "UPDATE"})
_COPY = re.compile(rb"^COPY (" + IDENT + rb"\." + IDENT + rb") [^\n]*FROM stdin;\n", re.MULTILINE)


def pair(written: bytes) -> Pair:
    """The parts of a written name; the schema is empty where none is written."""
    parts = [_bare(part) for part in re.findall(IDENT, written)]
    return (parts[0], parts[1]) if len(parts) > 1 else (b"", parts[0])


def quoted(name: Pair) -> bytes:
    """The name as SQL has it, both parts in quotes."""
    return b".".join(b'"' + part.replace(b'"', b'""') + b'"' for part in name if part)


def literal_pair(literal: bytes) -> Pair:
    """The name in a string constant, such as ``'public.orders_id_seq'``."""
    text = literal[literal.index(b"'") + 1 : -1].replace(b"''", b"'")
    return pair(text if literal.startswith(b"'") else text.replace(b"\\\\", b"\\"))


def renamed(text: bytes, moved: Mapping[Pair, Pair]) -> bytes:
    """Statements with names exchanged, also in constants that are cast to ``regclass``. Comments are left out."""
    return b"".join(_renamed(each.text, each.tokens, moved) + b"\n\n" for each in statements(text.decode("latin-1")))


def _renamed(text: str, tokens: Sequence[Token], moved: Mapping[Pair, Pair]) -> bytes:
    parts: list[bytes] = []
    origin, done, at = tokens[0].start, 0, 0
    while at < len(tokens):
        new, width = _new_name(tokens, at, moved)
        if new is not None:
            last = tokens[at + width - 1]
            parts += [text[done : tokens[at].start - origin].encode("latin-1"), new]
            done = last.start - origin + len(last.text)
        at += width
    return b"".join([*parts, text[done:].encode("latin-1")])


def _new_name(tokens: Sequence[Token], at: int, moved: Mapping[Pair, Pair]) -> tuple[bytes | None, int]:
    """What stands instead of the tokens from ``at`` on, and how many it takes the place of."""
    token = tokens[at]
    if token.kind == "name" and (at == 0 or tokens[at - 1].text != "."):
        if len(tokens) > at + 2 and tokens[at + 1].text == ".":
            found = moved.get((token.value.encode("latin-1"), tokens[at + 2].value.encode("latin-1")))
            return (quoted(found), 3) if found and not _is_call(tokens, at) else (None, 1)
    elif token.kind == "string" and _is_relation(tokens, at):
        found = moved.get(literal_pair(token.text.encode("latin-1")))
        return (literal(quoted(found)), 1) if found else (None, 1)
    return None, 1


def _is_call(tokens: Sequence[Token], at: int) -> bool:
    """Whether the name is a function's: a parenthesis follows, and it does not stand where only tables do."""
    if [each.text for each in tokens[at + 3 : at + 4]] != ["("]:
        return False
    return not at or tokens[at - 1].text.upper() not in _BEFORE_TABLES


def _is_relation(tokens: Sequence[Token], at: int) -> bool:
    cast = [each.text for each in tokens[at + 1 : at + 4]] == [":", ":", "regclass"]
    called = [each.text for each in tokens[max(0, at - 2) : at]] == ["setval", "("]
    return cast or called


def literal(text: bytes) -> bytes:
    """A string constant that means the same whatever standard_conforming_strings is."""
    escaped = text.replace(b"'", b"''")
    return b" E'" + escaped.replace(b"\\", b"\\\\") + b"'" if b"\\" in text else b"'" + escaped + b"'"


class CopyNames:
    r"""Exchanges the table's name in COPY lines, segment by segment.

    Rows are passed on as they are: a block of them ends with the line ``\.``, which no row can be. A segment begins
    within rows when it continues another one, and outside of them otherwise.
    """

    def __init__(self, moved: Mapping[Pair, Pair]) -> None:
        self._moved = moved

    def rewrite(self, text: bytes, *, continued: bool) -> bytes:
        """One segment's text with the new names."""
        parts: list[bytes] = []
        # Within a row the next line break is the row's: what looks like the end of rows at the very beginning is data.
        at = _rows_end(text, 1) if continued else 0
        done = 0
        while at >= 0 and (copy := _COPY.search(text, at)) is not None:
            new = self._moved.get(pair(copy.group(1)))
            parts += [text[done : copy.start(1)], quoted(new) if new else copy.group(1)]
            done = copy.end(1)
            at = _rows_end(text, copy.end())
        return b"".join([*parts, text[done:]]) if parts else text


def _rows_end(text: bytes, at: int) -> int:
    """Behind the line that ends a block of rows which goes on at ``at``; -1 when it does not end here."""
    found = text.find(b"\n\\.\n", at - 1)
    return -1 if found < 0 else found + 4


def _bare(part: bytes) -> bytes:
    return part[1:-1].replace(b'""', b'"') if part.startswith(b'"') else part
