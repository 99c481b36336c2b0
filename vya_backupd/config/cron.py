"""What a five-field cron expression must look like. When it is due is the scheduler's matter."""

from __future__ import annotations

import re

_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?")


def check_cron(expression: str) -> None:
    """Accept ``minute hour day month weekday`` with ``*``, lists, ranges, steps and English month and day names.

    Raises:
        ValueError: which field is wrong.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"must have five fields (minute hour day month weekday), not {len(fields)}")
    for text, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        if not all(_part_fits(part, low, high, words) for part in text.lower().split(",")):
            raise ValueError(f"has a {name} that is not *, a number from {low} to {high}, a range, a list or a step")


def _part_fits(part: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    match = _PART.fullmatch(part)
    if match is None:
        return False
    star, first, last, step = match.groups()
    if step is not None and not 0 < int(step[:4]) <= high:
        return False
    if star:
        return True
    numbers = [_number(text, low, words) for text in (first, last) if text is not None]
    return all(number is not None and low <= number <= high for number in numbers) and numbers == sorted(
        number for number in numbers if number is not None
    )


def _number(text: str, low: int, words: tuple[str, ...]) -> int | None:
    if text in words:
        return words.index(text) + (1 if low else 0)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else None
