"""Five-field cron expressions: what they mean, as sets of numbers and a question to each day.

The fields are those of Vixie cron (crontab(5)): ``minute hour day month weekday``, each ``*``, a number, a range, a list
or a step, with English names of months and weekdays; 0 and 7 are Sunday. Where both day fields are restricted, a day
that either of them names will do; a field that begins with ``*`` does not restrict, also with a step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS),
)
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?")
_LONGEST_MONTHS = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression. ``minutes`` are the minutes of a day (0 to 1439) at which it is due, on days that ``on``.

    ``weekdays`` count from Sunday, 0. ``either``: both day fields are restricted, and one of them is enough.
    """

    minutes: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def on(self, day: date) -> bool:
        """Whether it is due on this day at all."""
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (by_date or by_weekday) if self.either else (by_date and by_weekday)


def parse_cron(expression: str) -> Cron:
    """Read ``minute hour day month weekday``.

    Raises:
        ValueError: which field is wrong, or that no day will ever fit.
    """
    texts = expression.lower().split()
    if len(texts) != len(_FIELDS):
        raise ValueError(f"must have five fields (minute hour day month weekday), not {len(texts)}")
    minutes, hours, days, months, weekdays = (_numbers(*each) for each in zip(texts, _FIELDS, strict=True))
    either = not texts[2].startswith("*") and not texts[4].startswith("*")
    if not either and all(min(days) > _LONGEST_MONTHS[month] for month in months):
        raise ValueError("names a day that none of its months has")
    return Cron(
        minutes=tuple(hour * 60 + minute for hour in sorted(hours) for minute in sorted(minutes)),
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        either=either,
    )


def _numbers(text: str, field: _Field) -> frozenset[int]:
    """Every number that a field means."""
    try:
        return frozenset(number for part in text.split(",") for number in _of_part(part, field))
    except ValueError:
        raise ValueError(
            f"has a {field.name} that is not *, a number from {field.low} to {field.high}, a range, a list or a step"
        ) from None


def _of_part(part: str, field: _Field) -> Iterator[int]:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(part)
    star, first, last, step = match.groups()
    stride = 1 if step is None else int(step)
    low = field.low if star else _number(first, field)
    end = field.high if star or step is not None else low
    high = end if last is None else _number(last, field)
    if not (low <= high and 0 < stride <= max(field.high, 1)):
        raise ValueError(part)
    yield from range(low, high + 1, stride)


def _number(text: str, field: _Field) -> int:
    if text in field.words:
        return field.words.index(text) + field.low
    if not (text.isascii() and text.isdigit() and len(text) < 4 and field.low <= int(text) <= field.high):
        raise ValueError(text)
    return int(text)
