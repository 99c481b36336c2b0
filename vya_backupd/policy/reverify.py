"""When the next backup is to be read again, so that each one's turn comes in time and the work is spread evenly.

A file that was read at T must be read again by T + within. Of the files in the order of their last reading, the i-th
asks for i readings until then; the pace that serves the most demanding one serves all. A fifth of the time is kept in
reserve, for nights on which there was no room between the backups.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

RESERVE = 0.2
"""The share of the time that is not planned with."""


def pace(read_at: Sequence[datetime], count: int, within: timedelta, now: datetime) -> timedelta | None:
    """The time from one reading to the next; None when there is nothing to read, zero when one is late already.

    ``read_at``: when the least recently read ones were, the longest ago first; ``count``: how many there are in all.
    """
    if not count:
        return None
    planned = within * (1 - RESERVE)
    shortest = planned / count
    for place, at in enumerate(read_at, start=1):
        left = at + planned - now
        if left <= timedelta(0):
            return timedelta(0)
        shortest = min(shortest, left / place)
    return shortest
