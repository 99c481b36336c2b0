from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.policy.forecast import Change, growth

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def every_day(days: int, size: int, *, kept: int | None = None) -> list[Change]:
    """A backup a day; with ``kept``, retention takes the older ones."""
    came = [Change(NOW - ago * DAY - DAY / 2, size) for ago in range(days)]
    gone = [Change(NOW - ago * DAY - DAY / 3, -size) for ago in range(days - kept)] if kept is not None else []
    return came + gone


def test_a_backup_a_day_grows_by_its_size() -> None:
    found = growth(every_day(20, 1000), NOW)
    assert found is not None
    assert found.bytes_per_day == pytest.approx(1000)
    assert found.days_until_full(43_000) == pytest.approx(43)


def test_what_retention_takes_does_not_count() -> None:
    found = growth(every_day(30, 1000, kept=0), NOW)
    assert found is not None
    assert found.bytes_per_day == pytest.approx(0, abs=1e-6)
    assert found.days_until_full(1) is None


def test_a_store_that_shrinks_is_never_full() -> None:
    changes = [Change(NOW - ago * DAY, -5) for ago in range(10)]
    found = growth(changes, NOW)
    assert found is not None
    assert found.bytes_per_day < 0
    assert found.days_until_full(10**12) is None


@pytest.mark.parametrize("changes", [[], every_day(2, 1), [Change(NOW + DAY, 1)], [Change(NOW - 90 * DAY, 1)]])
def test_too_little_is_no_history(changes: list[Change]) -> None:
    assert growth(changes, NOW) is None


def test_a_weekly_clean_up_does_not_hide_the_growth() -> None:
    """Ten a day come, sixty go each Sunday: ten a week stay, whatever day it is asked."""
    for asked in range(7):
        now = NOW + asked * DAY
        came = [Change(now - ago * DAY - DAY / 2, 10) for ago in range(29)]
        gone = [Change(NOW - week * 7 * DAY, -60) for week in range(-1, 5) if NOW - week * 7 * DAY < now]
        found = growth(came + gone, now)
        assert found is not None
        assert 0 < found.bytes_per_day < 4


@given(st.lists(st.tuples(st.floats(0, 29), st.integers(-(10**9), 10**9)), min_size=1), st.integers(2, 9))
def test_the_pace_scales_with_the_sizes(drawn: list[tuple[float, int]], factor: int) -> None:
    once = growth([Change(NOW - ago * DAY, size) for ago, size in drawn], NOW)
    more = growth([Change(NOW - ago * DAY, size * factor) for ago, size in drawn], NOW)
    assert (once is None) == (more is None)
    if once and more:
        assert more.bytes_per_day == pytest.approx(once.bytes_per_day * factor, abs=1e-3)
