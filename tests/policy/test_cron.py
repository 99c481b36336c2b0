from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from vya_backupd.policy.cron import parse_cron

YEAR = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]


@pytest.mark.parametrize(
    ("expression", "minutes"),
    [
        ("0 2 * * *", [120]),
        ("30 1,13 * * *", [90, 810]),
        ("*/20 0 * * *", [0, 20, 40]),
        ("5/20 0 * * *", [5, 25, 45]),
        ("0 9-17/4 * * *", [540, 780, 1020]),
        ("10-12 23 * * *", [1390, 1391, 1392]),
        ("0 0,0,0 * * *", [0]),
    ],
)
def test_minutes_of_a_day(expression: str, minutes: list[int]) -> None:
    assert list(parse_cron(expression).minutes) == minutes


@pytest.mark.parametrize(
    ("days", "fits"),
    [
        ("* * *", lambda _: True),
        ("13 * *", lambda day: day.day == 13),
        ("* * fri", lambda day: day.isoweekday() == 5),
        ("* * 0", lambda day: day.isoweekday() == 7),
        ("* * 7", lambda day: day.isoweekday() == 7),
        ("* * Mon-Fri", lambda day: day.isoweekday() <= 5),
        ("* * 5-7", lambda day: day.isoweekday() >= 5),
        ("13 * fri", lambda day: day.day == 13 or day.isoweekday() == 5),
        ("1-7 * */7", lambda day: day.day <= 7 and day.isoweekday() == 7),
        ("*/10 * mon", lambda day: day.day in (1, 11, 21, 31) and day.isoweekday() == 1),
        ("31 feb-apr,DEC *", lambda day: day.day == 31 and day.month in (3, 12)),
        ("30 2 mon", lambda day: day.month == 2 and day.isoweekday() == 1),
    ],
)
def test_days(days: str, fits: Callable[[date], bool]) -> None:
    cron = parse_cron(f"0 0 {days}")
    assert [day for day in YEAR if cron.on(day)] == [day for day in YEAR if fits(day)]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 2 * *", "five fields"),
        ("0 2 * * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 0 * *", "day of month"),
        ("0 0 * 13 *", "month"),
        ("0 0 * foo *", "month"),
        ("0 0 * * 8", "day of week"),
        ("0 0 * * sat-mon", "day of week"),
        ("*/0 * * * *", "minute"),
        ("*/60 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("1, * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("٣ * * * *", "minute"),
        ("0 0 30 2 *", "none of its months"),
        ("0 0 31 4,6,9,11 *", "none of its months"),
    ],
)
def test_what_is_no_expression(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_cron(expression)
