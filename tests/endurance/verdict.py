"""Whether a daemon endured: nothing grew, nothing failed without a cause, nothing was left.

Growth is the slope of a robust line (Theil and Sen: the median of the slopes of all pairs) through the medians of
pieces of the run, so that neither the peaks of single backups nor a few odd looks decide. What comes before the end of
the warm-up is left out: caches fill, libraries are loaded, the first of everything is made.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

WARM_UP = 0.25
"""Of the run, at most ``LONGEST_WARM_UP`` seconds."""
LONGEST_WARM_UP = 1800.0
PIECES = 24
HOUR = 3600.0

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a figure may grow in an hour, and in a run that is shorter than that in all."""

    figure: str
    an_hour: float
    in_all: float


BOUNDS = (
    Bound("rss", 4.0, 40.0),
    Bound("heap", 4.0, 40.0),
    Bound("descriptors", 1.0, 8.0),
    Bound("sockets", 1.0, 8.0),
    Bound("threads", 0.5, 8.0),
    Bound("children", 0.5, 8.0),
    Bound("partials", 0.5, 6.0),
    Bound("lag", 10.0, 1000.0),
)
"""Memory in MB; counts; ms."""


@dataclass(frozen=True, slots=True)
class Trend:
    """What became of a figure: medians of the first and last piece, the most, growth in an hour and over ``span``."""

    bound: Bound
    first: float
    last: float
    most: float
    an_hour: float
    in_all: float
    span: float

    @property
    def ok(self) -> bool:
        """Whether it is flat. A run of less than an hour is judged by its whole growth: the hour's would be noise."""
        return self.an_hour <= self.bound.an_hour if self.span >= HOUR else self.in_all <= self.bound.in_all


def trend(bound: Bound, points: Sequence[tuple[float, float]]) -> Trend:
    """The trend of a figure over times in seconds. Needs two points at least."""
    values = [value for _, value in points]
    pieces = _pieces(points)
    slopes = [(later[1] - sooner[1]) / (later[0] - sooner[0]) for sooner, later in combinations(pieces, 2)]
    slope = statistics.median(slopes) if slopes else 0.0
    span = points[-1][0] - points[0][0]
    return Trend(bound, pieces[0][1], pieces[-1][1], max(values), slope * HOUR, slope * span, span)


def _pieces(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = max(1, len(points) // PIECES)
    cut = [points[start : start + size] for start in range(0, len(points), size)]
    return [(statistics.median(at for at, _ in each), statistics.median(value for _, value in each)) for each in cut]


def runs(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each run in a log: a run that was broken off is followed by another one in the same file."""
    found: list[list[Record]] = []
    for record in records:
        if record["type"] == "begun":
            found.append([])
        found[-1].append(record)
    return found


def trends(run: Sequence[Record]) -> list[Trend]:
    """What became of each figure after the warm-up."""
    samples = [record for record in run if record["type"] == "sample"]
    if not samples:
        return []
    warm = min(LONGEST_WARM_UP, samples[-1]["at"] * WARM_UP)
    late = [record for record in samples if record["at"] >= warm]
    return [trend(bound, [(each["at"], each[bound.figure]) for each in late]) for bound in BOUNDS if len(late) > 1]


def mistakes(run: Sequence[Record]) -> list[str]:
    """Everything that is wrong with a run, in words; nothing when it endured."""
    causes = [record for record in run if record["type"] == "cause"]
    wrong = [f"{each.bound.figure} grows by {each.an_hour:.2f} an hour" for each in trends(run) if not each.ok]
    for record in run:
        if record["type"] in {"failure", "restore"} and record["wrong"] and not _is_owed(record, causes):
            wrong.append(f"at {record['at']}: {record['what']}: {record['wrong']}")
        if record["type"] == "left":
            wrong += [f"left at the end: {what}" for what in record["wrong"]]
        if record["type"] == "died":
            wrong.append(f"at {record['at']}: the daemon ended with {record['code']}")
    return wrong


def _is_owed(record: Record, causes: Sequence[Record]) -> bool:
    """Whether a cause was at work while it failed. A copy that is wrong is never owed to anything."""
    if record["type"] == "restore" and record.get("compared"):
        return False
    return any(each["began"] <= record["at"] and record["since"] <= each["until"] for each in causes)
