"""What the two HTTP sites are answered from: the use cases, the queue and the catalog behind one face."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from vya_backupd import __version__
from vya_backupd.api.wire import (
    Record,
    backup_detail,
    backup_record,
    finished_line,
    format_time,
    is_last,
    object_records,
    operation_record,
    progress_record,
    result_record,
    watch_line,
)
from vya_backupd.catalog.backups import Place
from vya_backupd.config.load import show
from vya_backupd.daemon.lifecycle import Lifecycle, Phase
from vya_backupd.daemon.objectives import Objectives
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import SYSTEM_DATABASES, Instance
from vya_backupd.model.operation import Operation, OperationKind, State, is_final
from vya_backupd.observe.log import LogFile
from vya_backupd.observe.metrics import Live, Metrics
from vya_backupd.operations import holds
from vya_backupd.operations.restore import RestoreHandler
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import backup_by_id, source_of
from vya_backupd.policy.health import Reason
from vya_backupd.status import StatusPage
from vya_backupd.storage import Usage

LIVE_SECONDS = 30.0
"""An event loop that has not turned for so long is not alive."""
_ASKED_IN_A_ROUND = 200
"""Servers that one round of checks asks; 2,000 have their turn every ten rounds."""
_ASKED_AT_ONCE = 16
_ANSWER_SECONDS = 20.0
"""For all that a round asks one server: one that stands still must not keep us from looking at catalog and storage."""
UNKNOWN = "unknown"
"""What is said of a server that nobody has had an answer from yet."""


class DaemonService:
    """Implements ``api.service.Service``."""

    def __init__(
        self, site: Site, queue: OperationQueue, restores: RestoreHandler, lifecycle: Lifecycle, metrics: Metrics
    ) -> None:
        self._site = site
        self._queue = queue
        self._restores = restores
        self._lifecycle = lifecycle
        self._metrics = metrics
        self.objectives = Objectives(site, metrics)
        self.page = StatusPage(site, metrics, self.objectives)
        self._usage = Usage(0, 0, 0)
        self._began = time.monotonic()
        self.reachable: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self.troubles: tuple[str, ...] = ()
        self.sync_status: Callable[[], Awaitable[Record | None]] | None = None
        self.unsettled: Callable[[], Sequence[str]] = list

    # probes

    async def health(self) -> tuple[bool, Record]:
        """See ``Probes``. Degraded while an objective is missed: ``policy.health`` says which there are."""
        reasons = [reason.text for reason in await self.missed()]
        body: Record = {"status": "degraded" if reasons else "healthy", "timestamp": format_time(self._site.now())}
        if reasons:
            body["reasons"] = reasons
        return not reasons, body

    async def missed(self) -> tuple[Reason, ...]:
        """Every objective that is missed at this moment."""
        await self.objectives.freshen()
        return self.objectives.missed(self.troubles)

    def ready(self) -> tuple[bool, Record]:
        """See ``Probes``. A server that is down is shown and does not make the daemon unready.

        Every enabled instance is listed: one that has not answered since it was configured is ``unknown``.
        """
        ready = self._lifecycle.phase is Phase.RUNNING and not self.troubles
        known = {each.id: self.reachable.get(each.id, UNKNOWN) for each in self._site.enabled_instances(None)}
        body: Record = {"ready": ready, "databases": known}
        if not ready:
            body["reasons"] = [f"the daemon is {self._lifecycle.phase}", *self.troubles]
        return ready, body

    def live(self) -> Record:
        """See ``Probes``."""
        return {"alive": self._lifecycle.seconds_since_beat < LIVE_SECONDS}

    async def metrics(self, openmetrics: bool) -> tuple[bytes, str]:
        """See ``Probes``."""
        await self.objectives.freshen()
        return self._metrics.render(openmetrics=openmetrics)

    # looking

    async def status(self) -> Record:
        """See ``Service``."""
        recent = await self._site.catalog.operations.list(limit=5)
        return {
            "version": __version__,
            "hostname": self._site.config.application.hostname,
            "phase": str(self._lifecycle.phase),
            "uptime_seconds": round(time.monotonic() - self._began, 1),
            **await self.page.record(self.troubles, self.reachable),
            "running": [operation_record(each) for each in self._queue.running],
            "waiting": [operation_record(each) for each in self._queue.waiting],
            "progress": [progress_record(each) for each in self._queue.progress],
            "recent": [result_record(each) for each in recent],
            "troubles": [*self.troubles, *self.unsettled()],
            "sync": await self.sync_status() if self.sync_status else None,
        }

    def config(self) -> Record:
        """See ``Service``."""
        return show(self._site.config)

    async def list_databases(self, instance: str | None) -> list[Record]:
        """See ``Service``."""
        chosen = self._site.enabled_instances(None if instance is None else [instance])
        listed = await asyncio.gather(*(self._databases_of(each) for each in chosen))
        return [record for records in listed for record in records]

    async def _databases_of(self, instance: Instance) -> list[Record]:
        try:
            sizes = await self._site.probe.sizes(instance)
        except VyaError as error:
            return [{"instance": instance.id, "error": error.at(instance.id).to_json()}]
        return [
            {"instance": instance.id, "database": name, "covered": instance.covers(name), "size_bytes": size}
            for name, size in sorted(sizes.items())
        ]

    async def test_connections(self, instance: str | None) -> list[Record]:
        """See ``Service``."""
        chosen = self._site.enabled_instances(None if instance is None else [instance])
        turns = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def test(each: Instance) -> Record:
            async with turns:
                return await self._test(each)

        return list(await asyncio.gather(*map(test, chosen)))

    async def _test(self, instance: Instance) -> Record:
        record: Record = {
            "instance": instance.id,
            "type": str(instance.kind),
            "ok": False,
            "server": None,
            "error": None,
        }
        try:
            server = await self._site.probe.server(instance)
        except VyaError as error:
            self.reachable[instance.id] = error.code
            return record | {"error": error.at(instance.id).to_json()}
        self.reachable[instance.id] = "ok"
        return record | {"ok": True, "server": server.version_text, "warnings": list(server.warnings)}

    async def refresh(self) -> None:
        """Ask every enabled instance whether it answers and which databases it has, and the store how full it is."""
        enabled = {each.id: each for each in self._site.enabled_instances(None)}
        self.reachable = {name: state for name, state in self.reachable.items() if name in enabled}
        turns = asyncio.Semaphore(_ASKED_AT_ONCE)
        await asyncio.gather(*(self._ask(each, turns) for each in self._whose_turn(enabled)))
        with contextlib.suppress(VyaError):
            self._usage = await asyncio.to_thread(self._site.store.usage)
        self.objectives.reachable = self.reachable
        with contextlib.suppress(VyaError):
            await self.objectives.weigh()

    def _whose_turn(self, enabled: Mapping[str, Instance]) -> list[Instance]:
        """The instances to ask in this round: all, or where there are very many, those asked longest ago."""
        first = heapq.nsmallest(_ASKED_IN_A_ROUND, enabled, key=lambda each: self._asked.get(each, 0.0))
        now = time.monotonic()
        self._asked = {each: at for each, at in self._asked.items() if each in enabled} | dict.fromkeys(first, now)
        return [enabled[each] for each in first]

    async def _ask(self, instance: Instance, turns: asyncio.Semaphore) -> None:
        """Whether a server answers, and which databases it has."""
        async with turns:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._learn_from(instance)
            except TimeoutError:
                self.reachable[instance.id] = "server_lost"

    async def _learn_from(self, instance: Instance) -> None:
        await self._test(instance)
        if self.reachable[instance.id] != "ok":
            return
        with contextlib.suppress(VyaError):
            names = await self._site.probe.all_databases(instance)
            system = SYSTEM_DATABASES[instance.kind]
            await self.objectives.learn(instance, [name for name in names if name not in system])

    def live_values(self) -> Live:
        """What a scrape asks for at the moment."""
        return Live(
            running=lambda: Counter(str(each.kind) for each in self._queue.running),
            waiting=lambda: len(self._queue.waiting),
            bytes_in_progress=lambda: sum(each.bytes_done for each in self._queue.progress),
            configured=lambda: Counter(str(each.kind) for each in self._site.enabled_instances(None)),
            disk_usage=lambda: {"total": self._usage.total, "used": self._usage.used, "free": self._usage.free},
            lost_log_lines=lambda: LogFile.lost,
            observer_failures=lambda: self._site.catalog.events.observer_failures,
            missed=lambda: self.objectives.missed_counts(self.troubles),
        )

    # backups

    def _record(self, stored: StoredBackup) -> Record:
        return backup_record(stored, self._site.store.base_path)

    async def backups(
        self, instance: str | None, database: str | None, limit: int, after: tuple[datetime, str] | None = None
    ) -> list[Record]:
        """See ``Service``. An instance that is configured no more still has its backups listed."""
        place = Place(*after) if after else None
        found = await self._site.catalog.backups.find(instance, database, limit=limit, after=place)
        if not found and instance is not None:
            self._site.instance(instance)
        return [self._record(stored) for stored in found]

    async def newest_backups(self, instance: str | None) -> list[Record]:
        """See ``Service``."""
        return [self._record(stored) for stored in await self._site.catalog.backups.newest_each(instance)]

    async def backup(self, backup_id: str) -> Record:
        """See ``Service``."""
        stored = await backup_by_id(self._site, backup_id)
        record = backup_detail(stored, self._site.store.base_path)
        with contextlib.suppress(VyaError):  # a manifest that cannot be read now is no reason to show nothing
            source = await source_of(self._site, stored)
            record["objects"] = object_records(source.manifest.extents if source.manifest else ())
        return record

    async def hold(self, backup_id: str, note: str, until: datetime | None, actor: str) -> Record:
        """See ``Service``."""
        return self._record(await holds.hold(self._site, backup_id, note, until, actor))

    async def release(self, backup_id: str, actor: str) -> Record:
        """See ``Service``."""
        return self._record(await holds.release(self._site, backup_id, actor))

    async def delete(self, backup_id: str, actor: str, *, allow_held: bool = False) -> Record:
        """See ``Service``."""
        return self._record(await holds.delete(self._site, backup_id, actor, allow_held=allow_held))

    # operations

    async def submit(self, kind: OperationKind, request: Record, actor: str) -> Record:
        """See ``Service``."""
        record = operation_record(await self._queue.submit(kind, request, actor))
        return record | {"notes": self._notes(kind, record["request"])}

    def _notes(self, kind: OperationKind, request: Record) -> list[str]:
        """What whoever submits work by hand should know: it does not wait for the end of a blackout."""
        if kind is not OperationKind.BACKUP or request.get("dry_run"):
            return []
        now, settings = self._site.now(), self._site.settings
        closed = {
            each.id: settings.calendar(each.id).closed(now)
            for each in self._site.enabled_instances(request.get("instances"))
        }
        return [
            f"{name} has a blackout until {span.end.astimezone(ZoneInfo(settings.config.scheduling.timezone)):%Y-%m-%d %H:%M}:"
            " this backup was asked for by hand and does not wait"
            for name, span in closed.items()
            if span is not None
        ]

    async def plan_restore(self, request: Record) -> Record:
        """See ``Service``."""
        return await self._restores.plan(request)

    async def operations(self, limit: int, state: str | None) -> list[Record]:
        """See ``Service``."""
        found = await self._site.catalog.operations.list(limit=limit, state=State(state) if state else None)
        return [operation_record(each) for each in found]

    async def operation(self, operation_id: str) -> Record:
        """See ``Service``."""
        operation = await self._queue.operation(operation_id)
        return result_record(operation, await self._made(operation), self._site.store.base_path)

    async def cancel(self, operation_id: str, actor: str) -> Record:
        """See ``Service``."""
        operation = await self._queue.cancel(operation_id, actor)
        wanted = Event("operation.cancel_requested", self._site.now(), operation_id, actor=actor)
        await self._site.catalog.record(wanted)
        return operation_record(operation)

    async def watch(self, operation_id: str) -> AsyncIterator[Record]:
        """See ``Service``."""
        async for update in self._queue.watch(operation_id):
            if is_last(update) and isinstance(update, Operation):
                yield finished_line(update, await self._made(update), self._site.store.base_path)
                return
            ahead = self._queue.ahead_of(operation_id) if isinstance(update, Operation) else ()
            yield watch_line(update, ahead)

    async def _made(self, operation: Operation) -> Sequence[StoredBackup]:
        """The backups that an operation's steps name, as they are now."""
        if not is_final(operation.state) or operation.kind is OperationKind.REBUILD:
            return []
        return await self._site.catalog.backups.of_ids(step.backup_id for step in operation.steps if step.backup_id)
