"""Slots: the instants, in UTC, at which a schedule wants something to happen.

A schedule is written in local wall-clock times. Every such time is one slot, exactly once:

* A time that a clock change skips is due at the first instant after the gap; several times in one gap, and a regular
  one at its end, are one slot.
* A time that a clock change repeats is due the first time.

So instants never decrease as wall-clock times go on, and everything here is a search in order. No clock is read.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from vya_backupd.policy.cron import Cron, parse_cron

_ANCHOR = date(2001, 1, 1)
"""The fixed day from whose midnight intervals are counted: a Monday, so that weekly ones begin weeks."""

_DAY = 24 * 60
_HORIZON_DAYS = 45 * 366
"""How far a slot is looked for: beyond the longest wait of any expression (29 February on one weekday: 40 years)."""

_SAMPLE = datetime(2026, 1, 1, tzinfo=UTC)
_SAMPLE_SPAN = timedelta(days=14)
_SAMPLE_SLOTS = 13
"""What is looked at to tell the longest wait: a fortnight for weekdays, thirteen slots for months and days of them."""

_NO_MINUTES: range = range(0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an instance is due: by ``cron``, or else every ``interval_minutes`` from midnight of a fixed day.

    ``jitter`` bounds the delay that ``start_of`` adds.
    """

    zone: ZoneInfo
    cron: Cron | None = None
    interval_minutes: int = _DAY
    jitter: timedelta = timedelta(0)
    text: str = ""

    @classmethod
    def of(
        cls, *, cron: str | None, interval_minutes: int, timezone: str, jitter: timedelta = timedelta(0)
    ) -> Schedule:
        """The schedule of these settings, with words for people in ``text``.

        Raises:
            ValueError: the expression is none.
        """
        parsed = None if cron is None else parse_cron(cron)
        text = _words(interval_minutes) if cron is None else f"cron {' '.join(cron.split())}"
        return cls(ZoneInfo(timezone), parsed, interval_minutes, jitter, text)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first slot after this moment; None where there is none within a lifetime."""
        return next(self.after(moment), None)

    def latest_at(self, moment: datetime) -> datetime | None:
        """The last slot at or before this moment."""
        first = moment.astimezone(self.zone).date() + timedelta(days=1)
        for day in (first - timedelta(days=back) for back in range(_HORIZON_DAYS)):
            minutes = self._minutes(day)
            found = self._count_until(day, minutes, moment)
            if found:
                return self._instant(day, minutes[found - 1])
        return None

    def after(self, moment: datetime) -> Iterator[datetime]:
        """All slots after this moment, in order."""
        first = moment.astimezone(self.zone).date() - timedelta(days=1)
        last, empty_days = moment, 0
        for day in (first + timedelta(days=ahead) for ahead in itertools.count()):
            minutes = self._minutes(day)
            for minute in itertools.islice(minutes, self._count_until(day, minutes, last), None):
                slot = self._instant(day, minute)
                if slot > last:
                    yield slot
                    last, empty_days = slot, 0
            empty_days += 1
            if empty_days > _HORIZON_DAYS:
                return

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Slots after the one moment, up to and with the other."""
        return itertools.takewhile(lambda slot: slot <= until, self.after(after))

    def longest_wait(self) -> timedelta:
        """The longest time between two slots, as far as an ordinary fortnight shows it, and some slots more."""
        if self.cron is None:
            return timedelta(minutes=self.interval_minutes)
        longest, last = timedelta(0), None
        for number, slot in enumerate(self.after(_SAMPLE)):
            longest = max(longest, slot - last) if last else longest
            last = slot
            if number >= _SAMPLE_SLOTS and slot - _SAMPLE > _SAMPLE_SPAN:
                break
        return longest or timedelta(minutes=self.interval_minutes)

    def start_of(self, slot: datetime, hostname: str, instance: str) -> datetime:
        """When the work of a slot begins: up to ``jitter`` later, always the same for the same site and instance."""
        if not self.jitter:
            return slot
        digest = hashlib.sha256(f"{hostname}/{instance}@{slot.isoformat()}".encode()).digest()
        share = int.from_bytes(digest[:6], "big") / (1 << 48)
        return slot + timedelta(seconds=int(self.jitter.total_seconds() * share))

    def _minutes(self, day: date) -> Sequence[int]:
        """The minutes of a local day at which it is due."""
        if self.cron is not None:
            return self.cron.minutes if self.cron.on(day) else _NO_MINUTES
        first = -((day - _ANCHOR).days * _DAY) % self.interval_minutes
        return range(first, _DAY, self.interval_minutes)

    def _count_until(self, day: date, minutes: Sequence[int], moment: datetime) -> int:
        """How many of a day's times are due at or before a moment."""
        return bisect_right(minutes, moment, key=functools.partial(self._instant, day))

    def _instant(self, day: date, minute: int) -> datetime:
        return instant_of(datetime.combine(day, time(minute // 60, minute % 60)), self.zone)


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The UTC instant of a naive wall-clock time: the first where it comes twice, the gap's end where it never comes."""
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    # In a gap, the offset from before it leads to an instant behind it, and the one from behind it to one before.
    before, behind = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), first
    old = before.astimezone(zone).utcoffset()
    while behind - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(behind - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            behind = middle
    return behind


def _words(minutes: int) -> str:
    for size, unit in ((7 * _DAY, "week"), (_DAY, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0:
            count = minutes // size
            return f"every {unit}" if count == 1 else f"every {count} {unit}s"
    return f"every {minutes} minutes"
