"""How many sessions a restore uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_BY_ITSELF = 8
"""Sessions that are opened without being asked for: more than most servers gain from."""
SMALL = 64 << 20
"""Bytes of dump below which one session is as fast."""
SHARE = 32 << 20
"""Bytes of dump that are worth a session."""


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


def spread(weights: Mapping[str, int], sessions: int) -> list[list[str]]:
    """Names in as many lists as there are sessions, none of them empty: the heaviest first, each to the lightest list."""
    lists: list[list[str]] = [[] for _ in range(min(sessions, len(weights)))]
    sums = [0] * len(lists)
    for name in sorted(weights, key=lambda each: (-weights[each], each)):
        lightest = sums.index(min(sums))
        lists[lightest].append(name)
        sums[lightest] += weights[name] + 1
    return lists
