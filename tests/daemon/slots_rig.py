"""Schedules on a real catalog and a real queue, with a clock that is set by hand and backups that end as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from tests.waiting import soon
from vya_backupd.catalog import Catalog
from vya_backupd.config.credentials_schema import Entry
from vya_backupd.config.schema import Config
from vya_backupd.daemon import keeper
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.daemon.slots import Slots
from vya_backupd.model.event import Event
from vya_backupd.model.instance import EngineKind, Instance
from vya_backupd.model.operation import Operation, OperationKind, State, is_final
from vya_backupd.model.secret import Secret
from vya_backupd.operations.site import Settings, Site
from vya_backupd.operations.work import Work

NIGHT = datetime(2026, 1, 9, 2, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def settings(
    *instances: str, entries: Mapping[str, Entry] | None = None, state_dir: Path | None = None, **scheduling: Any
) -> Settings:
    """These instances, by default every night at two."""
    application: dict[str, Any] = {"hostname": "testhost"}
    if state_dir is not None:
        application["state_dir"] = str(state_dir)
    rules = {"cron": "0 2 * * *", "timezone": "UTC"} | scheduling
    config = Config.model_validate({"application": application, "scheduling": rules})
    known = {
        name: Instance(name, EngineKind.POSTGRESQL, "h", 5432, None, "u", Secret("p"), ("*",), ()) for name in instances
    }
    return Settings(config, known, entries=entries or {})


class Clock:
    """A clock that stands until it is set, or let run."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._since: float | None = None

    def __call__(self) -> datetime:
        ran = 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since
        return self._at + timedelta(seconds=ran)

    def set(self, at: datetime) -> None:
        """Show this time, and stand."""
        self._at, self._since = at, None

    def run(self) -> None:
        """Run from here on."""
        self._since = asyncio.get_running_loop().time()


@dataclass
class Backups:
    """The handler. ``hold``: a backup stops before this database until the rig is left."""

    databases: tuple[str, ...] = ("a", "b", "@globals")
    hold: str | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        return frozenset(f"instance:{instance}" for instance in request["instances"])

    async def run(self, work: Work) -> dict[str, Any]:
        request = work.operation.request
        self.requests.append(request)
        (instance,) = request["instances"]
        wanted = [*request["databases"], *(["@globals"] * request["globals"])] if "databases" in request else None
        databases = [name for name in self.databases if wanted is None or name in wanted]
        await work.plan_steps([(instance, name) for name in databases])
        for name in databases:
            if name == self.hold:
                self.held.set()
                await asyncio.Event().wait()
            await work.step_finished(instance, name, State.SUCCEEDED)
        return {}


@dataclass
class Rig:
    """One life of a daemon."""

    site: Site
    queue: OperationQueue
    slots: Slots
    backups: Backups
    clock: Clock

    @property
    def catalog(self) -> Catalog:
        return self.site.catalog

    async def at(self, moment: datetime, *, everywhere: bool = False, ended: bool = True) -> list[str]:
        """Look at this moment. Returns the names of the events that came of it, but for those of operations."""
        before = await self.catalog.events.last_id()
        self.clock.set(moment)
        await self.slots.look(everywhere=everywhere)
        if ended:
            await self.ended()
        return [name for name, _ in await self.said(before)]

    async def said(self, after: int = 0) -> list[tuple[str, dict[str, Any]]]:
        """Events about schedules and slots."""
        found: list[Event] = [recorded.event for recorded in await self.catalog.events.after(after)]
        return [(each.name, each.data) for each in found if each.name.partition(".")[0] in {"slot", "schedule"}]

    async def ended(self) -> None:
        """Wait until nothing runs nor waits."""
        await soon(lambda: not self.queue.running and not self.queue.waiting)

    async def operations(self) -> list[Operation]:
        """All, the first submitted first."""
        return list(reversed(await self.catalog.operations.list()))

    async def slots_run(self) -> list[tuple[str | None, int, State]]:
        """Key, attempt and state of every operation, by key and attempt."""
        found = [(each.key, each.attempt, each.state) for each in await self.catalog.operations.list()]
        return sorted(found, key=lambda each: (each[0] or "", each[1]))


@asynccontextmanager
async def living(
    folder: Path, wanted: Settings, backups: Backups | None = None, *, at: datetime = NIGHT - DAY + HOUR
) -> AsyncIterator[Rig]:
    """A daemon's life, from a start that closes what the last one left, to a sudden end."""
    catalog = Catalog(f"sqlite+aiosqlite:///{folder}/catalog.db")
    await catalog.open()
    now, handler = Clock(at), backups or Backups()
    queue = OperationQueue(catalog.operations, {OperationKind.BACKUP: handler}, concurrency=16, now=now)
    nothing = cast("Any", None)
    site = Site(
        settings=wanted,
        store=nothing,
        catalog=catalog,
        spawner=nothing,
        tools=nothing,
        probe=nothing,
        pool=nothing,
        naming=nothing,
        dumps=asyncio.Semaphore(2),
        now=now,
        decode_manifest=nothing,
    )
    await queue.recover()
    task = asyncio.create_task(queue.run())
    try:
        yield Rig(site, queue, Slots(site, queue), handler, now)
    finally:
        await die(catalog, queue, task)


async def die(catalog: Catalog, queue: OperationQueue, task: asyncio.Task[None]) -> None:
    """End without writing anything more: what runs stays on record as running, as after kill -9."""
    # Between two transactions: one that is cut off is undone, but only a process that dies lets go of its lock at once.
    async with catalog._database._turn:
        left = {operation.id for operation in queue.running if not is_final(operation.state)}
        await catalog.close()
    with patch.object(keeper, "RECORD_ATTEMPTS", 1):  # what dies offers nothing again
        task.cancel()
        await asyncio.wait({task})
    assert all(operation.id in left for operation in queue.running)
