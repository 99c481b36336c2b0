"""What comes of schedules: on a real catalog and queue, under a clock that the test sets."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.catalog.samples import backup
from tests.daemon.slots_rig import DAY, HOUR, MINUTE, NIGHT, Backups, Rig, living, settings
from tests.waiting import PATIENCE
from vya_backupd.catalog import Catalog
from vya_backupd.catalog.schedules import EVERY_INSTANCE, slot_key
from vya_backupd.config.credentials_schema import Entry
from vya_backupd.model.event import Event
from vya_backupd.model.operation import State
from vya_backupd.policy.due import Pause

KEY = slot_key("one", NIGHT)
DONE, CUT = State.SUCCEEDED, State.INTERRUPTED


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty catalog: making one takes longer than most of these tests."""
    path = tmp_path_factory.mktemp("migrated") / "catalog.db"

    async def make() -> None:
        catalog = Catalog(f"sqlite+aiosqlite:///{path}")
        await catalog.open()
        await catalog.close()

    asyncio.run(make())
    return path


@pytest.fixture(autouse=True)
def _catalog(migrated: Path, tmp_path: Path) -> None:
    shutil.copy(migrated, tmp_path / "catalog.db")


def event(name: str) -> Event:
    return Event(name, NIGHT, actor="root(0)")


async def test_a_slot_runs_once_at_its_time(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one", "two")) as rig:
        assert await rig.at(NIGHT - MINUTE) == []
        assert await rig.slots_run() == []
        assert await rig.at(NIGHT) == []
        assert await rig.at(NIGHT + MINUTE, everywhere=True) == []
        assert await rig.slots_run() == [(KEY, 1, DONE), (slot_key("two", NIGHT), 1, DONE)]
        (first,) = [each for each in await rig.operations() if each.key == KEY]
        assert (first.submitted_by, first.request) == ("schedule", {"instances": ["one"]})
        await rig.at(NIGHT + DAY)
        assert len(await rig.slots_run()) == 4


async def test_a_daemon_that_was_down_catches_up_once(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one")) as rig:
        await rig.at(NIGHT - DAY + HOUR)
    async with living(tmp_path, settings("one")) as rig:
        assert await rig.at(NIGHT + 2 * DAY + HOUR) == ["slot.caught_up", "slot.missed"]
        assert await rig.at(NIGHT + 2 * DAY + 2 * HOUR, everywhere=True) == []
        assert await rig.slots_run() == [(slot_key("one", NIGHT + 2 * DAY), 1, DONE)]
        (_, late), (_, missed) = await rig.said()
        assert late["late_seconds"] == 3600
        assert missed["count"] == 2


async def test_a_crash_right_after_the_submission_loses_no_word_about_missed_slots(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one")) as rig:
        await rig.at(NIGHT)
    at = NIGHT + 3 * DAY + HOUR
    async with living(tmp_path, settings("one"), at=at) as rig:
        halted = asyncio.Event()

        async def halt(*_: object) -> None:
            halted.set()
            await asyncio.Event().wait()

        with patch.object(rig.catalog.schedules, "account", halt):
            looking = asyncio.create_task(rig.slots.look())
            await asyncio.wait_for(halted.wait(), PATIENCE)
            looking.cancel()
    async with living(tmp_path, settings("one"), at=at + MINUTE) as rig:
        await rig.at(at + 2 * MINUTE)
        told = [(name, facts.get("count")) for name, facts in await rig.said()]
        assert told == [("slot.caught_up", None), ("slot.missed", 2)]


@pytest.mark.parametrize(("rules", "hours"), [({"catch_up": False}, 1), ({}, 13)])
async def test_what_is_not_caught_up_is_said(tmp_path: Path, rules: dict[str, Any], hours: int) -> None:
    async with living(tmp_path, settings("one", **rules)) as rig:
        await rig.at(NIGHT - DAY + HOUR)
        assert await rig.at(NIGHT + DAY + hours * HOUR) == ["slot.missed"]
        assert (await rig.said())[0][1]["count"] == 2
        assert await rig.slots_run() == []
        assert await rig.at(NIGHT + 2 * DAY) == []
        assert len(await rig.slots_run()) == 1


async def crash(tmp_path: Path, at: datetime, hold: str, **rules: Any) -> None:
    """A life that ends before this database."""
    async with living(tmp_path, settings("one", **rules), Backups(hold=hold), at=at) as rig:
        await rig.at(at, ended=False)
        await rig.backups.held.wait()


async def test_an_interrupted_slot_goes_on_with_what_it_left_open(tmp_path: Path) -> None:
    await first_look(tmp_path)
    await crash(tmp_path, NIGHT, "b")
    async with living(tmp_path, settings("one"), at=NIGHT + MINUTE) as rig:
        assert await rig.at(NIGHT + MINUTE) == []
        assert await rig.slots_run() == [(KEY, 1, CUT), (KEY, 2, DONE)]
        open_ones = {"instances": ["one"], "databases": ["b"], "globals": True, "resumed": True}
        assert rig.backups.requests == [open_ones]
        assert await rig.at(NIGHT + HOUR, everywhere=True) == []
        assert len(rig.backups.requests) == 1


async def first_look(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one")) as rig:
        await rig.at(NIGHT - HOUR)


async def test_a_backup_that_a_crash_left_unrecorded_is_not_made_again(tmp_path: Path) -> None:
    await first_look(tmp_path)
    await crash(tmp_path, NIGHT, "b")
    async with living(tmp_path, settings("one"), at=NIGHT + MINUTE) as rig:
        for name in ("b", "@globals"):
            await adopt(rig, name)
        assert await rig.at(NIGHT + MINUTE) == []
        assert await rig.slots_run() == [(KEY, 1, CUT)]


async def adopt(rig: Rig, database: str) -> None:
    stored = backup(f"id-{database}", instance="one", database=database)
    facts = replace(stored.manifest.facts, run=KEY)
    await rig.catalog.backups.record(replace(stored, manifest=replace(stored.manifest, facts=facts)), None)


async def test_attempts_end_and_that_is_said_once(tmp_path: Path) -> None:
    await first_look(tmp_path)
    for number in range(3):
        await crash(tmp_path, NIGHT + number * MINUTE, "b")
    async with living(tmp_path, settings("one"), at=NIGHT + HOUR) as rig:
        assert await rig.at(NIGHT + HOUR) == ["slot.given_up"]
        assert await rig.at(NIGHT + HOUR, everywhere=True) == []
        assert (await rig.said())[-1][1]["databases"] == ["b", "@globals"]
    async with living(tmp_path, settings("one"), at=NIGHT + 2 * HOUR) as rig:
        assert await rig.at(NIGHT + 2 * HOUR) == []
        assert await rig.slots_run() == [(KEY, number, CUT) for number in (1, 2, 3)]
        await rig.at(NIGHT + DAY)
        assert (await rig.slots_run())[-1] == (slot_key("one", NIGHT + DAY), 1, DONE)


async def test_a_slot_that_meets_its_predecessor_is_merged_and_said(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one", cron="0 * * * *"), Backups(hold="b")) as rig:
        await rig.at(NIGHT - MINUTE)
        await rig.at(NIGHT, ended=False)
        await rig.backups.held.wait()
        assert await rig.at(NIGHT + HOUR, ended=False) == ["slot.coalesced"]
        assert await rig.at(NIGHT + HOUR + MINUTE, everywhere=True, ended=False) == []
        (running,) = await rig.operations()
        rig.backups.hold = None
        await rig.queue.cancel(running.id, "root(0)")
        await rig.ended()
        await rig.at(NIGHT + 2 * HOUR)
        assert [key for key, *_ in await rig.slots_run()] == [KEY, slot_key("one", NIGHT + 2 * HOUR)]


async def test_a_pause_survives_and_its_slots_are_left_out(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one", "two")) as rig:
        await rig.at(NIGHT - HOUR)
        await rig.slots.pause("one", Pause(NIGHT - HOUR, "root(0)", note="disks"), event("schedule.paused"))
    async with living(tmp_path, settings("one", "two"), at=NIGHT) as rig:
        assert await rig.at(NIGHT) == ["slot.skipped"]
        assert "disks" in (await rig.said())[-1][1]["reason"]
        assert [key for key, *_ in await rig.slots_run()] == [slot_key("two", NIGHT)]
        rig.clock.set(NIGHT + HOUR)
        assert await rig.slots.resume("one", event("schedule.resumed"))
        assert not await rig.slots.resume("one", event("schedule.resumed"))
        assert len(await rig.slots_run()) == 1
        await rig.at(NIGHT + DAY)
        assert (slot_key("one", NIGHT + DAY), 1, DONE) in await rig.slots_run()


async def test_a_pause_of_all_ends_by_itself(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one", "two"), at=NIGHT - HOUR) as rig:
        pause = Pause(NIGHT - HOUR, "root(0)", until=NIGHT + HOUR)
        await rig.slots.pause(EVERY_INSTANCE, pause, event("schedule.paused"))
        assert await rig.at(NIGHT) == ["slot.skipped"] * 2
        assert await rig.at(NIGHT + 2 * HOUR, everywhere=True) == []
        await rig.at(NIGHT + DAY)
        assert len(await rig.slots_run()) == 2


async def test_what_is_off_is_forgotten_and_begins_anew(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one", "two")) as rig:
        await rig.at(NIGHT - HOUR)
        for off in (settings("two"), settings("one", "two", enabled=False), settings("one", "two", method="systemd")):
            rig.site.settings = off
            await rig.at(NIGHT + HOUR)
        assert (await rig.catalog.schedules.rows())["one"].last_slot is None
        before = await rig.slots_run()
        rig.site.settings = settings("one", "two")
        assert await rig.at(NIGHT + DAY + HOUR) == []
        assert await rig.slots_run() == before
        await rig.at(NIGHT + 2 * DAY)
        assert len(await rig.slots_run()) == len(before) + 2


async def test_instances_have_schedules_of_their_own(tmp_path: Path) -> None:
    entry = {"type": "postgresql", "host": "h", "username": "u"}
    entries = {
        "two": Entry.model_validate({"id": "two", "schedule": {"interval_minutes": 60}, **entry}),
        "off": Entry.model_validate({"id": "off", "schedule": {"enabled": False}, **entry}),
    }
    async with living(tmp_path, settings("one", "two", "off", entries=entries), at=NIGHT - HOUR) as rig:
        await rig.at(NIGHT - HOUR)
        await rig.at(NIGHT)
        await rig.at(NIGHT + HOUR)
        keys = [key for key, *_ in await rig.slots_run()]
        assert keys == [slot_key("one", NIGHT), slot_key("two", NIGHT), slot_key("two", NIGHT + HOUR)]


async def test_a_clock_that_goes_back_runs_nothing_twice(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one")) as rig:
        await rig.at(NIGHT - HOUR)
        await rig.at(NIGHT)
        assert await rig.at(NIGHT - 2 * HOUR, everywhere=True) == ["schedule.realigned"]
        assert await rig.at(NIGHT) == []
        assert await rig.slots_run() == [(KEY, 1, DONE)]
        await rig.at(NIGHT + DAY)
        assert len(await rig.slots_run()) == 2


async def test_a_clock_that_was_years_ahead_does_not_end_the_schedule(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one")) as rig:
        await rig.at(NIGHT - HOUR)
        await rig.at(NIGHT.replace(year=2036))
        assert await rig.at(NIGHT - HOUR / 2, everywhere=True) == ["schedule.realigned"]
        await rig.at(NIGHT)
        assert (KEY, 1, DONE) in await rig.slots_run()


async def test_a_slot_that_the_queue_refuses_is_not_lost(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one")) as rig:
        await rig.at(NIGHT - HOUR)
        await rig.queue.close()
        assert await rig.at(NIGHT) == []
        assert rig.slots.lag_seconds == 0
        rig.clock.set(NIGHT + MINUTE)
        assert rig.slots.lag_seconds == 30
    async with living(tmp_path, settings("one"), at=NIGHT + HOUR) as rig:
        await rig.at(NIGHT + HOUR)
        assert await rig.slots_run() == [(KEY, 1, DONE)]
