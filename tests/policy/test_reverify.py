"""The pace of re-verification: kept up, nobody's turn comes too late, and no day has much more than its share."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from vya_backupd.policy.reverify import RESERVE, pace

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WITHIN = 30 * DAY
PLANNED = WITHIN * (1 - RESERVE)


def test_nothing_to_read() -> None:
    assert pace([], 0, WITHIN, NOW) is None


def test_one_file_waits_for_its_planned_time() -> None:
    assert pace([NOW], 1, WITHIN, NOW) == PLANNED
    assert pace([NOW - PLANNED + DAY], 1, WITHIN, NOW) == DAY
    assert pace([NOW - PLANNED], 1, WITHIN, NOW) == timedelta(0)


def test_more_files_than_are_looked_at_set_the_pace_by_their_number() -> None:
    assert pace([NOW] * 10, 2400, WITHIN, NOW) == PLANNED / 2400


ages = st.lists(st.floats(0, 23.9), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(ages)
def test_every_file_comes_in_time_without_a_rush(days: list[float]) -> None:
    read_at = sorted(NOW - age * DAY for age in days)
    now, last, turns = NOW, NOW, Counter[int]()
    hardest = max(place / ((at + PLANNED - NOW) / DAY) for place, at in enumerate(read_at, start=1))
    while now < NOW + 60 * DAY:
        wait = pace(read_at[:1000], len(read_at), WITHIN, now)
        assert wait is not None
        if now - last >= wait:
            assert now - read_at[0] <= WITHIN
            read_at = sorted([*read_at[1:], now])
            last = now
            turns[(now - NOW) // DAY] += 1
        now += DAY / 24
    assert max(turns.values()) <= ceil(max(hardest, len(days) / (PLANNED / DAY))) + 1
