"""Retention once a day, whatever the clock and the daemon have been through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.operations.rig import NOW, Rig, rig
from vya_backupd.daemon.daily import DailyRetention, is_due
from vya_backupd.model.operation import OperationKind
from vya_backupd.policy.retention import LAST_SUCCESS

HOUR = timedelta(hours=1)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as house:
        yield house


async def test_a_new_catalog_has_its_first_run_after_a_day_and_then_one_each_day(house: Rig) -> None:
    part = DailyRetention(house.site)
    asked = []
    for hour in range(100):
        house.now = NOW + hour * HOUR
        if await part.look():
            asked.append(hour)
            await house.prune()
    assert asked == [24, 48, 72, 96]
    assert house.submitted == [(OperationKind.PRUNE, {"instances": None})] * 4


async def test_a_daemon_that_was_down_catches_up_once(house: Rig) -> None:
    assert not await DailyRetention(house.site).look()
    house.now = NOW + 240 * HOUR
    part = DailyRetention(house.site)
    assert await part.look()
    await house.prune()
    assert not await part.look()
    assert not await DailyRetention(house.site).look()


async def test_a_run_that_fails_is_asked_for_again_each_hour(house: Rig) -> None:
    part = DailyRetention(house.site)
    await part.look()
    asked = []
    for minute in range(0, 200, 10):
        house.now = NOW + 24 * HOUR + timedelta(minutes=minute)
        if await part.look():
            asked.append(minute)
    assert asked == [0, 60, 120, 180]


async def test_a_time_that_a_wrong_clock_wrote_down_does_not_put_it_off_for_years(house: Rig) -> None:
    await house.site.catalog.marks.set(LAST_SUCCESS, (NOW + 24 * 365 * 70 * HOUR).isoformat())
    assert await DailyRetention(house.site).look()


async def test_nothing_is_asked_for_while_cleanup_is_disabled(tmp_path: Path) -> None:
    async with rig(tmp_path, cleanup_enabled=False) as house:
        await house.site.catalog.marks.set(LAST_SUCCESS, (NOW - 240 * HOUR).isoformat())
        assert not await DailyRetention(house.site).look()


def test_a_mark_a_moment_ahead_of_the_clock_is_not_due() -> None:
    assert not is_due(NOW, NOW + timedelta(minutes=1))
    assert is_due(NOW, NOW + HOUR)
