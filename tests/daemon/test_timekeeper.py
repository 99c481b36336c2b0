"""The bell and the clock: what wakes the look at the schedules."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.daemon.slots_rig import HOUR, MINUTE, NIGHT, Rig, living, settings
from tests.waiting import soon
from vya_backupd.daemon import timekeeper
from vya_backupd.daemon.scheduler import FILE, Bell
from vya_backupd.daemon.timekeeper import Timekeeper
from vya_backupd.operations.site import Settings


def rows(folder: Path) -> list[tuple[str, bytes]]:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        return connection.execute("select id, job_state from apscheduler_jobs order by id").fetchall()


class Heard:
    """A bell's ear."""

    def __init__(self, folder: Path, wait: timedelta) -> None:
        self.count = 0
        self.wait = wait
        self.bell = Bell(folder, lambda _: self.wait, self._hear)

    def _hear(self) -> None:
        self.count += 1


async def test_the_bell_rings_at_the_next_start_and_again_at_the_one_after(tmp_path: Path) -> None:
    heard = Heard(tmp_path, timedelta(milliseconds=50))
    heard.bell.hang(["one"])
    await soon(lambda: heard.count >= 2)
    heard.bell.close()
    heard.bell.close()


async def test_its_file_holds_names_and_no_more(tmp_path: Path) -> None:
    heard = Heard(tmp_path, HOUR)
    heard.bell.hang(["one", "two"])
    heard.bell.hang(["two", "three"])
    found = rows(tmp_path)
    assert [name for name, _ in found] == ["three", "two"]
    assert all(len(state) < 1000 for _, state in found)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    heard.bell.close()


async def test_a_start_that_moved_moves_the_bell(tmp_path: Path) -> None:
    heard = Heard(tmp_path, HOUR)
    heard.bell.hang(["one"])
    heard.wait = timedelta(milliseconds=50)
    heard.bell.hang(["one"])
    await soon(lambda: heard.count)
    heard.bell.close()


async def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    for damage in (b"this is no database", None):
        if damage is None:
            intact = (tmp_path / FILE).read_bytes()
            (tmp_path / FILE).write_bytes(intact[:4096] + b"x" * (len(intact) - 4096))
        else:
            (tmp_path / FILE).write_bytes(damage)
        heard = Heard(tmp_path, timedelta(milliseconds=50))
        heard.bell.hang(["one"])
        await soon(lambda heard=heard: heard.count)  # type: ignore[misc]
        heard.bell.close()
        await asyncio.sleep(0)
        assert [name for name, _ in rows(tmp_path)] == ["one"]


async def test_a_job_of_another_release_does_not_silence_it(tmp_path: Path) -> None:
    heard = Heard(tmp_path, HOUR)
    heard.bell.hang(["one"])
    heard.bell.close()
    await asyncio.sleep(0)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("update apscheduler_jobs set job_state = ?", (b"\x80\x05garbage",))
        connection.commit()
    again = Heard(tmp_path, timedelta(milliseconds=50))
    again.bell.hang(["one"])
    await soon(lambda: again.count)
    again.bell.close()


@asynccontextmanager
async def keeping(folder: Path, wanted: Settings, at: datetime) -> AsyncIterator[Rig]:
    """A daemon with its timekeeper, which has looked once."""
    async with living(folder, wanted, at=at) as rig:
        keeper = Timekeeper(rig.site, rig.slots)
        task = asyncio.create_task(keeper.run())
        await soon(lambda: rig.slots.next_looks)
        yield rig
        task.cancel()
        await asyncio.wait({task})
        await keeper.settle()


async def test_a_clock_that_leaps_is_said_and_what_became_due_runs(tmp_path: Path) -> None:
    async with keeping(tmp_path, settings("one", state_dir=tmp_path), NIGHT - HOUR) as rig:
        rig.clock.set(NIGHT + MINUTE)
        await soon(lambda: rig.backups.requests)
        await rig.ended()
        names = [recorded.event.name for recorded in await rig.catalog.events.after()]
        assert names.index("clock.jumped") < names.index("operation.submitted")
        jump = next(each.event for each in await rig.catalog.events.after() if each.event.name == "clock.jumped")
        assert 3600 < jump.data["seconds"] <= 3661


async def test_the_bell_wakes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeper, "LOOK_SECONDS", 1e6)
    async with keeping(tmp_path, settings("one", state_dir=tmp_path), NIGHT - timedelta(seconds=2)) as rig:
        rig.clock.run()
        await soon(lambda: rig.backups.requests)


async def test_a_slot_that_begins_while_the_bell_is_hung_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeper, "LOOK_SECONDS", 1e6)
    hang = Bell.hang

    async with living(tmp_path, settings("one", state_dir=tmp_path), at=NIGHT - timedelta(seconds=2)) as rig:

        def slowly(self: Bell, instances: Iterable[str]) -> None:
            rig.clock.set(NIGHT + timedelta(seconds=1))  # too little to be taken for a leap
            hang(self, instances)

        monkeypatch.setattr(Bell, "hang", slowly)
        task = asyncio.create_task(Timekeeper(rig.site, rig.slots).run())
        await soon(lambda: rig.backups.requests)
        task.cancel()
        await asyncio.wait({task})


async def test_a_reload_is_noticed(tmp_path: Path) -> None:
    async with keeping(tmp_path, settings("one", state_dir=tmp_path), NIGHT - HOUR) as rig:
        rig.site.settings = settings("one", "two", state_dir=tmp_path)
        await soon(lambda: "two" in rig.slots.next_looks)
        await soon(lambda: [name for name, _ in rows(tmp_path)] == ["one", "two"])


async def test_nothing_is_scheduled_where_an_outside_timer_runs_the_client(tmp_path: Path) -> None:
    async with living(tmp_path, settings("one", method="systemd", state_dir=tmp_path), at=NIGHT) as rig:
        task = asyncio.create_task(Timekeeper(rig.site, rig.slots).run())
        await soon(lambda: not rig.slots.has_new_settings)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert not (tmp_path / FILE).exists()
        assert await rig.slots_run() == []
