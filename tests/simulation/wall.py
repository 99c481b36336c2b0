"""Slots by the wall: every minute of a while is lived through, and a clock on the wall of a place is looked at.

The slot of a local date and time is the first minute at which the latest time that was ever on that wall is at or past
it. So a time that is skipped comes at the end of the gap, and one that is repeated is over when it comes again. Slow,
plain, and without a word of the policy's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

Wanted = Callable[[datetime], bool]
"""Whether somebody wants something done at this naive local time, which has whole minutes."""

_MINUTE = timedelta(minutes=1)
_BEFORE = timedelta(days=2)
_ANCHOR = datetime(2001, 1, 1)


def at(*times: str, days: range = range(7)) -> Wanted:
    """At these times, such as ``01:30``, on these days of the week; 0 is Monday."""
    return lambda wall: wall.weekday() in days and f"{wall:%H:%M}" in times


def every(minutes: int) -> Wanted:
    """Every so many minutes of the wall's time, from midnight of the first day of 2001."""
    return lambda wall: (wall - _ANCHOR) // _MINUTE % minutes == 0


def slots(wanted: Wanted, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """The slots after the one moment, up to and with the other, in order. Both have whole minutes."""
    found: list[datetime] = []
    moment = after - _BEFORE
    latest = _wall(moment, zone)
    while (moment := moment + _MINUTE) <= until:
        comes = False
        while latest < _wall(moment, zone):
            latest += _MINUTE
            comes |= wanted(latest)
        if comes and moment > after:
            found.append(moment.astimezone(UTC))
    return found


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)
