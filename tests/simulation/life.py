"""One life of a daemon in a simulated world: all that decides and remembers, in the order in which it is started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from tests.daemon.slots_rig import die
from tests.simulation.world import Backups, World
from tests.waiting import PATIENCE
from vya_backupd.daemon.daily import DailyRetention
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.daemon.slots import Slots
from vya_backupd.errors import BusyError
from vya_backupd.model.operation import OperationKind
from vya_backupd.observe.metrics import Metrics
from vya_backupd.observe.notify import Notices
from vya_backupd.observe.notify_carrier import Means
from vya_backupd.operations.prune import PruneHandler
from vya_backupd.operations.rebuild import rebuild
from vya_backupd.operations.site import Settings, Site
from vya_backupd.operations.stock import compare, settle_cut_short
from vya_backupd.wiring import build_site

_TURN = 0.001


@dataclass
class Life:
    """What lives. ``step`` is what the daemon's parts do by themselves when their time has come."""

    world: World
    site: Site
    queue: OperationQueue
    slots: Slots
    daily: DailyRetention
    notices: Notices
    metrics: Metrics
    looking: asyncio.Task[None] | None = None

    async def step(self) -> None:
        """Look at schedules and retention, see work through as far as it goes, and tell people."""
        await self.slots.look()
        await self.settled()
        await self.daily.look()
        await self.settled()
        await self.tell()

    async def settled(self) -> None:
        """Wait until nothing runs nor waits, but for what the world has stopped."""
        deadline = time.monotonic() + PATIENCE
        while self.queue.waiting or any(each.id not in self.world.asleep for each in self.queue.running):
            assert time.monotonic() < deadline, f"still at work: {self.queue.running} {self.queue.waiting}"
            await asyncio.sleep(_TURN)

    async def tell(self) -> None:
        """Write and send the mails that are due."""
        await self.notices.collector.collect()
        await self.notices.empty(self.notices.mail)

    async def stop(self) -> None:
        """End in good order: nothing new, what runs is ended with a reason, people are told."""
        await self.queue.close()
        await self.queue.abort("the daemon is stopping")
        await self.notices.settle()

    async def begin_and_halt(self) -> None:
        """Look at the schedules, up to the moment between the submission of a slot and the note that it is dealt with."""
        halted = asyncio.Event()

        async def halt(*_: object) -> None:
            halted.set()
            await asyncio.Event().wait()

        with patch.object(self.site.catalog.schedules, "account", halt):
            self.looking = asyncio.create_task(self.slots.look(everywhere=True))
            await asyncio.wait_for(halted.wait(), PATIENCE)


@asynccontextmanager
async def living(world: World, settings: Settings) -> AsyncIterator[Life]:
    """From a start that settles the past, as that of the product does, to a sudden end."""
    async with AsyncExitStack() as closing:
        site = await build_site(settings, closing)
        site.now = world.clock
        world.starts.append(world.clock())
        handlers: dict[OperationKind, Any] = {
            OperationKind.BACKUP: Backups(site, world),
            OperationKind.PRUNE: PruneHandler(site),
        }
        kinds = {each.id: str(each.kind) for each in settings.instances.values()}
        queue = OperationQueue(
            site.catalog.operations, handlers, concurrency=16, now=world.clock, engine_of=kinds.__getitem__
        )

        async def submit(kind: OperationKind, request: dict[str, Any]) -> None:
            with suppress(BusyError):
                await queue.submit(kind, request, "daemon")

        site.submit = submit
        await settle_cut_short(site)
        await queue.recover()
        await (rebuild(site, "daemon") if site.catalog.needs_rebuild else compare(site))
        metrics = Metrics("simulated")
        site.catalog.events.subscribe(metrics.observe)
        await metrics.fill(site.catalog, world.clock(), settings.instances)
        notices = Notices(site.catalog, Means(lambda: site.config, lambda: None, world.clock))
        running = asyncio.create_task(queue.run())
        life = Life(world, site, queue, Slots(site, queue), DailyRetention(site), notices, metrics)
        try:
            yield life
        finally:
            if life.looking is not None:
                life.looking.cancel()
            await die(site.catalog, queue, running)
            world.forget_runs()
