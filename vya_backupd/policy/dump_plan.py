"""How one database is dumped: by how many sessions, and which piece of which table is read at a time.

Pure: sizes in, plan out, with the reason in words. What a piece is bounded by (pages of a table, values of a key) is
the engine's business; here it is a range of numbers.

All sessions work on the same table, then on the next one: so the parts of a table lie together in the file. Tables
come in the order of their names, as in a dump by the vendor's tool: so the file is much like one of a single stream,
and what one table saves in size is spent on the speed of the same others. What comes last is cut finer, so that all
sessions end at about the same time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

PIECE_SIZE = 64 << 20
"""Bytes of a table, as the server counts them, that one session reads at a time."""
WORTHWHILE = 128 << 20
"""Bytes of table data from which several sessions are worth their beginnings."""
MOST_SESSIONS = 8
_SMALLEST_PIECE = 4 << 20
_FINER = 4
_SMALL_SHARE = 8
"""A table that is smaller than this part of a piece is left to the vendor's tool."""


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table that may be read apart from the others. ``size`` in bytes, as the server counts them.

    ``span``: how many numbers its pieces can be told apart by (pages, keys), counted from 0; 0 or 1: it stays whole.
    """

    name: str
    size: int
    span: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a table: numbers from ``first`` up to, without, ``end``; None: from the beginning, to the end."""

    table: str
    size: int
    first: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class DumpPlan:
    """``sessions`` read ``pieces`` in this order. One session: the vendor's tool dumps everything; ``reason`` says why."""

    sessions: int
    pieces: tuple[Piece, ...]
    reason: str


def smallest_table(piece_size: int = PIECE_SIZE) -> int:
    """Bytes below which a table is left to the vendor's tool."""
    return piece_size // _SMALL_SHARE


def plan(tables: Sequence[TableSize], cores: int, wanted: int | None, piece_size: int = PIECE_SIZE) -> DumpPlan:
    """The plan for these tables on a machine with so many cores; ``wanted`` is what somebody has configured."""
    large = sorted((each for each in tables if each.size >= smallest_table(piece_size)), key=lambda each: each.name)
    total = sum(table.size for table in large)
    sessions, reason = _sessions(total, cores, wanted)
    if sessions > 1 and not large:
        sessions, reason = 1, "no table is large enough to be read apart"
    if sessions == 1:
        return DumpPlan(1, (), reason)
    pieces = [piece for table in large for piece in _cut(table, sessions, piece_size)]
    ending = 2 * sessions
    finer = [part for piece in pieces[-ending:] for part in _finer(piece, piece_size)]
    spans = {table.name: table.span for table in large}
    return DumpPlan(sessions, tuple(_opened(each, spans[each.table]) for each in pieces[:-ending] + finer), reason)


def _sessions(total: int, cores: int, wanted: int | None) -> tuple[int, str]:
    size = f"{total >> 20} MiB in large tables"
    if wanted is not None:
        return wanted, f"configured: {wanted}"
    if total < WORTHWHILE:
        return 1, f"{size}: several sessions would not be worth it"
    sessions = min(cores, MOST_SESSIONS, total // PIECE_SIZE)
    return max(sessions, 1), f"{size}, {cores} {'core' if cores == 1 else 'cores'}"


def _cut(table: TableSize, sessions: int, piece_size: int) -> list[Piece]:
    """Even pieces: as many as the size wants, and one for each session if they do not become tiny."""
    count = max(math.ceil(table.size / piece_size), min(sessions, table.size // _smallest(piece_size)))
    return _even(table.name, table.size, (0, table.span), count)


def _finer(piece: Piece, piece_size: int) -> list[Piece]:
    """The parts of a piece at the end of the plan."""
    count = min(_FINER, piece.size // _smallest(piece_size))
    return _even(piece.table, piece.size, (piece.first or 0, piece.end or 0), count)


def _smallest(piece_size: int) -> int:
    return min(_SMALLEST_PIECE, piece_size)


def _even(table: str, size: int, span: tuple[int, int], count: int) -> list[Piece]:
    first, end = span
    count = max(1, min(count, end - first))
    bounds = [first + (end - first) * number // count for number in range(count + 1)]
    return [Piece(table, size // count, *pair) for pair in pairwise(bounds)]


def _opened(piece: Piece, span: int) -> Piece:
    """Without bounds where the table has none: rows may lie beyond what was counted."""
    return replace(piece, first=piece.first or None, end=None if piece.end == span else piece.end)
