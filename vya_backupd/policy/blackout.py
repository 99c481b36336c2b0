"""Blackouts: hours of the week in which servers are to be spared.

A blackout is written in wall-clock times: days, and hours that begin on them and may reach over midnight. It lasts from
the first time that the clock shows its beginning to the last time that it shows its end, so that a clock that is put back
never opens a gap, and one that skips the beginning begins at the gap's end. Blackouts that touch or overlap are one.

What is closed for longer than a week is taken as never closed: a backup that can never run protects nobody. Whoever
checks a configuration says so (``never_opens``). No clock is read here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple
from zoneinfo import ZoneInfo

from vya_backupd.policy.schedule import Schedule, instant_of

DAY_MINUTES = 24 * 60
_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
_WEEK = timedelta(days=7)
_SEEN_DAYS = range(-2, 11)
"""Days around a moment whose blackouts are looked at: more than a week of darkness is never told from nine days of it."""
_SAMPLE = datetime(2026, 1, 1, tzinfo=UTC)
_SAMPLE_SPAN = timedelta(days=14)
_SAMPLE_STARTS = 13


class Span(NamedTuple):
    """From a moment up to another, which is no longer in it. UTC."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Blackout:
    """Minutes after midnight on these weekdays (0 is Monday). ``end`` at or before ``begin`` is that of the next day.

    ``instances``: ids, with ``*`` for any. ``bytes_per_second``: what goes on then, at most; None: nothing new begins.
    """

    days: frozenset[int]
    begin: int
    end: int
    instances: tuple[str, ...] = ("*",)
    bytes_per_second: int | None = None

    def concerns(self, instance: str) -> bool:
        """Whether it is about this instance."""
        return any(fnmatchcase(instance, pattern) for pattern in self.instances)


def parse_days(text: str) -> frozenset[int]:
    """``mon-fri``, ``sat,sun``, ``fri-mon``, ``*`` for all.

    Raises:
        ValueError: it is none of these.
    """
    if text.strip() == "*":
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if first not in _NAMES or (dash and last not in _NAMES):
            raise ValueError("must be days such as mon-fri or sat,sun, or * for all")
        begin, end = _NAMES.index(first), _NAMES.index(last if dash else first)
        found |= {day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0))}
    return frozenset(found)


def parse_hours(text: str) -> tuple[int, int]:
    """``09:00-18:00`` as minutes after midnight; ``22:00-06:00`` reaches into the next day, ``00:00-24:00`` is all of it.

    Raises:
        ValueError: it is none of these.
    """
    first, _, last = text.partition("-")
    begin, end = _CLOCK.fullmatch(first.strip()), _CLOCK.fullmatch(last.strip())
    if begin is not None and end is not None:
        minutes = tuple(int(found[1]) * 60 + int(found[2]) for found in (begin, end))
        if minutes[0] < DAY_MINUTES and minutes[1] <= DAY_MINUTES and minutes[0] != minutes[1]:
            return minutes[0], minutes[1]
    raise ValueError("must be hours such as 09:00-18:00, or 22:00-06:00 over midnight")


@dataclass(frozen=True, slots=True)
class Calendar:
    """When nothing new may begin on a server."""

    zone: ZoneInfo
    blackouts: tuple[Blackout, ...] = ()

    def closed(self, moment: datetime) -> Span | None:
        """The whole time around this moment in which nothing begins; None when it is open."""
        if not self.blackouts:
            return None
        day = moment.astimezone(self.zone).date()
        found = next((span for span in _spans(self, day) if span.begin <= moment < span.end), None)
        return None if found is None or found.end - found.begin > _WEEK else found

    def opens(self, moment: datetime) -> datetime:
        """This moment, or the end of the closed time that it lies in."""
        span = self.closed(moment)
        return moment if span is None else span.end

    def open_time(self, since: datetime, until: datetime) -> timedelta:
        """How much of the time between two moments was open."""
        left, at = until - since, since
        for _ in range(_LONGEST_LOOK):
            span = self.closed(at) or self._next_closed(at)
            if span is None or span.begin >= until or left <= timedelta(0):
                break
            left -= min(span.end, until) - max(span.begin, since)
            at = span.end
        return max(left, timedelta(0))

    def never_opens(self) -> bool:
        """Whether the blackouts leave no opening in a week, and so are not heeded."""
        return any(span.end - span.begin > _WEEK for span in _spans(self, _SAMPLE.date()))

    def _next_closed(self, moment: datetime) -> Span | None:
        if not self.blackouts:
            return None
        day = moment.astimezone(self.zone).date()
        return next((s for s in _spans(self, day) if s.begin >= moment and s.end - s.begin <= _WEEK), None)


_LONGEST_LOOK = 400
"""Closed times that are counted between two moments: a year of nights."""


def calendar_of(zone: str, blackouts: Sequence[Blackout], instance: str) -> Calendar:
    """When nothing new may begin on this instance."""
    closing = tuple(each for each in blackouts if each.bytes_per_second is None and each.concerns(instance))
    return Calendar(ZoneInfo(zone), closing)


def slowed_to(zone: str, blackouts: Sequence[Blackout], instance: str, moment: datetime) -> int | None:
    """Bytes per second that the blackouts of this moment leave to an instance; None where they say nothing."""
    rates = [
        each.bytes_per_second
        for each in blackouts
        if each.bytes_per_second is not None
        and each.concerns(instance)
        and any(span.begin <= moment < span.end for span in _around(ZoneInfo(zone), each, moment))
    ]
    return min(rates, default=None)


def longest_wait(schedule: Schedule, calendar: Calendar) -> timedelta:
    """The longest time between two starts, as far as an ordinary fortnight shows it, and some starts more."""
    if not calendar.blackouts:
        return schedule.longest_wait()
    longest, last = timedelta(0), None
    for number, start in enumerate(_starts(schedule, calendar)):
        longest = max(longest, start - last) if last else longest
        last = start
        if number >= _SAMPLE_STARTS and start - _SAMPLE > _SAMPLE_SPAN:
            break
    return longest or schedule.longest_wait()


def always_waits(schedule: Schedule, calendar: Calendar) -> bool:
    """Whether every slot of a schedule lies in a closed time, so that none begins when it says."""
    slots = list(_first(schedule.after(_SAMPLE)))
    return bool(slots) and all(calendar.closed(slot) is not None for slot in slots)


def _starts(schedule: Schedule, calendar: Calendar) -> Iterator[datetime]:
    last = None
    for slot in schedule.after(_SAMPLE):
        start = calendar.opens(slot)
        if start != last:
            yield start
        last = start


def _first(slots: Iterator[datetime]) -> Iterator[datetime]:
    for number, slot in enumerate(slots):
        yield slot
        if number >= _SAMPLE_STARTS and slot - _SAMPLE > _SAMPLE_SPAN:
            return


def _around(zone: ZoneInfo, blackout: Blackout, moment: datetime) -> Iterator[Span]:
    day = moment.astimezone(zone).date()
    return (_span(zone, blackout, day + timedelta(days=off)) for off in (-1, 0) if _falls(blackout, day, off))


def _falls(blackout: Blackout, day: date, off: int) -> bool:
    return (day + timedelta(days=off)).weekday() in blackout.days


def _span(zone: ZoneInfo, blackout: Blackout, day: date) -> Span:
    """From the first time that the clock shows its beginning to the last time that it shows its end."""
    until = blackout.end + (DAY_MINUTES if blackout.end <= blackout.begin else 0)
    last = _wall(day, until)
    end = last.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if end.astimezone(zone).replace(tzinfo=None) != last:
        end = instant_of(last, zone)
    return Span(instant_of(_wall(day, blackout.begin), zone), end)


def _wall(day: date, minutes: int) -> datetime:
    return datetime.combine(day, time()) + timedelta(minutes=minutes)


@functools.lru_cache(maxsize=512)
def _spans(calendar: Calendar, day: date) -> tuple[Span, ...]:
    """The closed times of the days around this one, in order, those that touch as one."""
    single = sorted(
        _span(calendar.zone, blackout, day + timedelta(days=off))
        for blackout in calendar.blackouts
        for off in _SEEN_DAYS
        if _falls(blackout, day, off)
    )
    merged: list[Span] = []
    for span in single:
        if span.end <= span.begin:  # wholly within a gap of the clock
            continue
        if merged and span.begin <= merged[-1].end:
            merged[-1] = Span(merged[-1].begin, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return tuple(merged)
