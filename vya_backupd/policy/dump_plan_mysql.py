"""Who writes what, when several processes dump one database of MySQL or MariaDB.

A dump program writes whole tables, or of one table the rows within a range of its primary key. So large tables are cut
into ranges, each for a process of its own, and the others are dealt out by size. One process, the *rest*, names no
tables: it takes whatever the others do not name, so that nothing can fall between them.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vya_backupd.policy.dump_plan import MOST_SESSIONS, PIECE_SIZE, WORTHWHILE, smallest_table

_NAMED = 16
"""A table is named when it has at least this part of what one process should write; so there are never many names."""

Span = tuple[int, int]
"""First and last value of a stretch of keys."""


@dataclass(frozen=True, slots=True)
class Table:
    """A base table, with the server's own figure for its rows in bytes.

    ``holds_still``: a transaction sees it as it was at its beginning; the others are kept together in the rest.
    """

    name: str
    size: int
    holds_still: bool = True


@dataclass(frozen=True, slots=True)
class Key:
    """The integer column that a table's primary key begins with, and the stretches where it has values."""

    column: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Rows whose ``column`` is ``low`` or more and less than ``high``; None: without a limit there."""

    column: str
    low: int | None
    high: int | None


@dataclass(slots=True)
class Share:
    """What one process writes: a range of one table, or some tables whole, or (no tables) what no other share names."""

    size: float = 0
    tables: list[str] = field(default_factory=list)
    range: Range | None = None


def sessions(tables: Sequence[Table], cores: int, wanted: int | None, piece_size: int = PIECE_SIZE) -> tuple[int, str]:
    """How many processes are worth their while, and why: as many as wanted, else by cores and size."""
    total = sum(table.size for table in tables)
    size = f"{total >> 20} MiB in tables"
    if max((table.size for table in tables), default=0) < smallest_table(piece_size):
        return 1, "no table is large enough to be read apart"
    if wanted is not None:
        return wanted, f"configured: {wanted}"
    if total < WORTHWHILE:
        return 1, f"{size}: several sessions would not be worth it"
    count = max(1, min(cores, MOST_SESSIONS, total // PIECE_SIZE))
    return count, f"{size}, {cores} {'core' if cores == 1 else 'cores'}"


def to_cut(tables: Sequence[Table], count: int) -> list[str]:
    """Tables so large that they should be cut, if their key allows it: larger than what one process should write.

    However little larger, such a table would be written when all others are done, and cores would wait for it.
    """
    fair = _fair(tables, count)
    return [table.name for table in tables if table.holds_still and table.size > fair]


def shares(tables: Sequence[Table], count: int, keys: Mapping[str, Key]) -> list[Share]:
    """The shares of about ``count`` processes, the rest first. ``keys``: of the tables that can be cut."""
    fair = _fair(tables, count)
    ranges: list[Share] = []
    whole: list[Table] = []
    rest = Share()
    for table in sorted(tables, key=lambda each: (-each.size, each.name)):
        if table.name in keys:
            ranges += _ranges(table, keys[table.name], max(2, round(table.size / fair)))
        elif table.holds_still and table.size * _NAMED >= fair:
            whole.append(table)
        else:
            rest.size += table.size
    others = max(0, count - len(ranges) - 1)
    return [rest, *_dealt(whole, rest, others), *ranges]


def _fair(tables: Sequence[Table], count: int) -> float:
    return sum(table.size for table in tables) / count


def _dealt(whole: Sequence[Table], rest: Share, others: int) -> list[Share]:
    """Deal tables out, the largest first, each to whom has least. What falls to the rest is not named."""
    dealt = [rest, *(Share() for _ in range(others))]
    heap = [(share.size, number) for number, share in enumerate(dealt)]
    heapq.heapify(heap)
    for table in whole:
        size, number = heapq.heappop(heap)
        dealt[number].size = size + table.size
        if number:
            dealt[number].tables.append(table.name)
        heapq.heappush(heap, (dealt[number].size, number))
    return [share for share in dealt[1:] if share.tables]


def _ranges(table: Table, key: Key, pieces: int) -> list[Share]:
    limits = [None, *bounds(key.spans, pieces), None]
    size = table.size / (len(limits) - 1)
    return [Share(size, [table.name], Range(key.column, low, high)) for low, high in itertools.pairwise(limits)]


def bounds(spans: Sequence[Span], pieces: int) -> list[int]:
    """Where to cut so that each piece has as many of the spans as the others: fewer than ``pieces`` values, rising."""
    found: list[int] = []
    for number in range(1, pieces):
        whole, part = divmod(number * len(spans), pieces)
        first, last = spans[whole]
        bound = first + (last - first + 1) * part // pieces
        if bound > (found[-1] if found else spans[0][0]):
            found.append(bound)
    return found


def zoomed(spans: Sequence[Span], cells: int) -> list[Span]:
    """The spans cut into about ``cells`` parts in all, to be looked at again."""
    each = max(1, cells // len(spans))
    found: list[Span] = []
    for first, last in spans:
        count = min(each, last - first + 1)
        edges = [first + (last - first + 1) * number // count for number in range(count + 1)]
        found += [(low, high - 1) for low, high in itertools.pairwise(edges)]
    return found
