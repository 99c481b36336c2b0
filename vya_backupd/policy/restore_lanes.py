"""How many sessions a restore uses, and what they do first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_BY_ITSELF = 8
"""Sessions that are opened without being asked for: more than most servers gain from."""
SMALL = 64 << 20
"""Bytes of dump below which one session is as fast."""
SHARE = 32 << 20
"""Bytes of dump that are worth a session."""
_INDEXED_ROW = 64
"""Bytes of dump that are loaded in the time in which one row goes into an index."""
_USUAL_ROW = 128
"""Bytes of dump of a row, where nobody counted rows."""


@dataclass(frozen=True, slots=True)
class LanePlan:
    """The number of sessions, and why."""

    sessions: int
    reason: str


def plan_lanes(raw_size: int, cores: int, wanted: int | None) -> LanePlan:
    """``wanted``: what somebody asked for or configured, which is obeyed; else it is decided by size and cores."""
    if wanted is not None:
        return LanePlan(max(1, wanted), "as it was asked for")
    if raw_size < SMALL:
        return LanePlan(1, "the backup is small")
    sessions = max(1, min(cores, MOST_BY_ITSELF, raw_size // SHARE))
    return LanePlan(sessions, "one for each core" if sessions == cores else "by the size of the backup")


def index_work(rows: int, raw_size: int) -> int:
    """What one index of a table takes, in rows: large values lie elsewhere, and are not read for it."""
    return rows or raw_size // _USUAL_ROW


def first_to_load(tables: Mapping[str, int], afterwards: Mapping[str, int]) -> dict[str, int]:
    """Priorities of the tables' rows, of which the highest is loaded first.

    ``tables`` in bytes; ``afterwards`` what has to wait for a table's rows, in any one measure.
    All sessions share a table's rows, but what follows them, an index say, is work for one. So whatever has most to
    follow goes first, and rows that nothing waits for come last, where they keep every session busy to the end.
    """
    ordered = sorted(tables, key=lambda name: (afterwards.get(name, 0), tables[name], name))
    return {name: number for number, name in enumerate(ordered)}


def lanes_of(tables: Mapping[str, int], afterwards: Mapping[str, int], sessions: int) -> dict[str, int]:
    """How many sessions load each table, as long as there are others to be loaded.

    ``tables`` in bytes, ``afterwards`` in rows of indexes. Sessions that load one table wait for each other at its end,
    and its keys come out of order; so a table is left to one, unless that one would have to work on it, and on what
    follows it, for longer than its share of everything.
    """
    work = {name: size + _INDEXED_ROW * afterwards.get(name, 0) for name, size in tables.items()}
    total = max(1, sum(work.values()))
    return {name: max(1, -(-each * sessions // total)) for name, each in work.items()}


def spread(weights: Mapping[str, int], sessions: int) -> list[list[str]]:
    """Names in as many lists as there are sessions, none of them empty: the heaviest first, each to the lightest list."""
    lists: list[list[str]] = [[] for _ in range(min(sessions, len(weights)))]
    sums = [0] * len(lists)
    for name in sorted(weights, key=lambda each: (-weights[each], each)):
        lightest = sums.index(min(sums))
        lists[lightest].append(name)
        sums[lightest] += weights[name] + 1
    return lists
