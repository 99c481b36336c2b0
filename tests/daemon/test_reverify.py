"""Re-verification on a real catalog and the real queue, over two months of a turned clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.catalog.samples import backup
from tests.daemon.site import NOON, Clock, instance, small_site
from tests.waiting import PATIENCE
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.daemon.reverify import MARK, Reverification
from vya_backupd.errors import IntegrityError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, State, is_final
from vya_backupd.operations.site import Site
from vya_backupd.operations.work import Work

DAY = timedelta(days=1)


class Reader:
    """Verifies by saying so; what is damaged does not pass. Backups run until they are let go."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.damaged: set[str] = set()
        self.read: list[str] = []
        self.may_end = asyncio.Event()

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        return frozenset()

    async def run(self, work: Work) -> dict[str, Any]:
        request = work.operation.request
        if "backup_id" not in request:
            await self.may_end.wait()
            return {}
        stored = await self._site.catalog.backups.get(request["backup_id"])
        assert stored is not None
        place = (stored.manifest.facts.instance, stored.manifest.facts.database)
        self.read.append(stored.id)
        if stored.id in self.damaged:
            await work.step_finished(*place, State.FAILED, error=IntegrityError("flipped"))
            return {}
        now = self._site.now()
        known = replace(stored, manifest=replace(stored.manifest, verified_at=now))
        await self._site.catalog.backups.set_manifest(known, Event("backup.verified", now))
        await work.step_finished(*place, State.SUCCEEDED)
        return {}


class Daemon:
    def __init__(self, site: Site, clock: Clock) -> None:
        self.site, self.clock, self.reader = site, clock, Reader(site)
        handlers = {OperationKind.VERIFY: self.reader, OperationKind.BACKUP: self.reader}
        self.queue = OperationQueue(site.catalog.operations, handlers, concurrency=4, now=clock)
        self.part = Reverification(site, self.queue)

    async def look(self) -> Operation | None:
        """Look, and see what was begun to its end."""
        begun = await self.part.look()
        if begun is not None:
            await self.end_of(begun)
        return begun

    async def look_beside(self) -> Operation | None:
        """The same while something else runs on."""
        begun = await self.part.look()
        while begun is not None and not is_final((await self.queue.operation(begun.id)).state):
            await asyncio.sleep(0)
        return begun

    async def end_of(self, operation: Operation) -> None:
        async for _ in self.queue.watch(operation.id):
            pass
        while any(each.id == operation.id for each in self.queue.running):
            await asyncio.sleep(0)


@asynccontextmanager
async def daemon(folder: Path, clock: Clock, days: int = 30) -> AsyncIterator[Daemon]:
    config = {"backup": {"reverify_days": days}}
    async with small_site(folder, [instance("pg-01")], config, clock) as site:
        life = Daemon(site, clock)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            group.create_task(life.queue.run())
            try:
                yield life
            finally:
                life.reader.may_end.set()
                await life.queue.close()


async def put(life: Daemon, *names: str, instance: str = "pg-01") -> None:
    for name in names:
        stored = backup(name, instance=instance)
        manifest = replace(stored.manifest, finished_at=life.clock.now, verified_at=None)
        await life.site.catalog.backups.record(replace(stored, manifest=manifest), None)


async def test_two_months_with_restarts(tmp_path: Path) -> None:
    clock, names, done = Clock(), [f"b{number}" for number in range(6)], list[str]()
    for week in range(8):
        async with daemon(tmp_path, clock) as life:
            if week == 0:
                await put(life, *names)
                assert await life.look() is None, "nothing is read just because the daemon began"
            for _ in range(7 * 4):
                clock.now += DAY / 4
                await life.look()
                oldest = (await life.site.catalog.figures.least_verified(clock.now, 1))[0]
                assert clock.now - oldest.read_at <= 30 * DAY
            done += life.reader.read
    assert done[:12] == names * 2, "in turn"
    assert 2 * len(names) <= len(done) <= 3 * len(names), "over 56 days"


async def test_late_ones_are_read_at_once_one_after_the_other(tmp_path: Path) -> None:
    clock = Clock()
    async with daemon(tmp_path, clock) as life:
        await put(life, "a", "b")
        clock.now += 40 * DAY
        for name in ("a", "b"):
            begun = await life.look()
            assert begun is not None
            assert begun.request == {"backup_id": name}
        assert await life.look() is None


async def test_a_damaged_file_does_not_keep_others_from_their_turn(tmp_path: Path) -> None:
    clock = Clock()
    async with daemon(tmp_path, clock) as life:
        await put(life, "a", "b", "c")
        life.reader.damaged.add("a")
        clock.now += 40 * DAY
        for _ in range(6):
            await life.look()
        assert life.reader.read == ["a", "b", "c"]
        clock.now += DAY
        await life.look()
        assert life.reader.read[3:] == ["a"], "and it is tried again a day later"


async def test_nothing_is_read_beside_other_work_for_the_instance(tmp_path: Path) -> None:
    clock = Clock()
    async with daemon(tmp_path, clock) as life:
        await put(life, "a", instance="pg-01")
        await put(life, "b", instance="pg-02")
        clock.now += 40 * DAY
        busy = await life.queue.submit(OperationKind.BACKUP, {"instances": ["pg-01"]}, "schedule")
        begun = await life.look_beside()
        assert begun is not None
        assert begun.request == {"backup_id": "b"}
        every = await life.queue.submit(OperationKind.BACKUP, {"instances": None}, "schedule")
        assert await life.look_beside() is None
        life.reader.may_end.set()
        for each in (busy, every):
            await life.end_of(each)
        assert await life.look() is not None


async def test_it_is_off_without_days_and_knows_no_file_twice_at_once(tmp_path: Path) -> None:
    clock = Clock()
    async with daemon(tmp_path, clock, days=0) as life:
        await put(life, "a")
        clock.now += 400 * DAY
        assert await life.look() is None
    async with daemon(tmp_path, clock) as life:
        first = await life.part.look()
        assert first is not None
        assert await life.part.look() is None
        await life.end_of(first)


async def test_a_turn_under_a_wrong_clock_holds_nobody_up(tmp_path: Path) -> None:
    clock = Clock()
    async with daemon(tmp_path, clock) as life:
        await put(life, "a", "b")
        await life.site.catalog.marks.set(MARK, (NOON + 4000 * DAY).isoformat())
        clock.now += 13 * DAY
        assert await life.look() is not None
