"""When the disk will be full: how fast the backups grew lately, carried on.

Growth is what came minus what went, so retention counts. A straight line is laid through one size a day (least squares):
a store that falls at each clean-up and rises between has the slope of its whole, not of its last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(days=30)
"""How far back growth is looked at."""
_FEWEST = 3
"""Daily sizes without which there is no telling."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Change:
    """Backups that came (positive) or went, in bytes."""

    at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes a day, as seen over so many days."""

    bytes_per_day: float
    days: int

    def days_until_full(self, free_bytes: int) -> float | None:
        """How long the free space lasts at this pace; None while it does not shrink."""
        return free_bytes / self.bytes_per_day if self.bytes_per_day >= 1 else None


def growth(changes: Sequence[Change], now: datetime) -> Growth | None:
    """The pace of the window that ends now; None when the changes tell of too few days."""
    known = [change for change in changes if now - WINDOW <= change.at <= now]
    if not known:
        return None
    days = (now - min(change.at for change in known)) // _DAY
    if days + 1 < _FEWEST:
        return None
    # Sizes relative to that of now: what is subtracted is what came after.
    sizes = [-sum(change.size_bytes for change in known if change.at > now - ago * _DAY) for ago in range(days, -1, -1)]
    return Growth(_slope(sizes), days)


def _slope(values: Sequence[float]) -> float:
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    spread = sum((day - middle) ** 2 for day in range(len(values)))
    return sum((day - middle) * (value - mean) for day, value in enumerate(values)) / spread
