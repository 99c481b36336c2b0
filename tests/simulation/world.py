"""The world around a daemon: its clock, the servers that it backs up, and when they fail it.

Only the dump tools are made up. The backups that they would have made are small, but published, described and recorded
like any other, in a real store and a real catalog. What fails is drawn from the seed by name, so the order in which
things happen does not matter.
"""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Any

from tests.daemon.slots_rig import Clock
from tests.storage.samples import manifest_for
from vya_backupd.errors import ServerError, ToolError
from vya_backupd.model.backup import GLOBALS_NAME, BackupType, Manifest, Outline
from vya_backupd.model.event import Event
from vya_backupd.model.operation import State
from vya_backupd.operations.backup import EVERYTHING
from vya_backupd.operations.dumping import new_backup_id
from vya_backupd.operations.prune import after_backup
from vya_backupd.operations.requests import BackupRequest
from vya_backupd.operations.site import Site
from vya_backupd.operations.work import Work
from vya_backupd.policy.naming import Subject

DATABASES = ("shop", "blog", GLOBALS_NAME)
"""What every server has."""
_FAILING = 0.08
"""Of all databases, each time."""


class Point(enum.Enum):
    """Where a run may stop."""

    BEFORE = "before its last database"
    PUBLISHED = "between a file and its row"
    RECORDED = "between a row and the end of its step"


@dataclass
class World:
    """``dark`` are servers that do not answer. ``stuck``: where the next run of an instance stops, until it is freed."""

    clock: Clock
    seed: str
    dark: set[str] = field(default_factory=set)
    stuck: dict[str, Point] = field(default_factory=dict)
    asleep: dict[str, asyncio.Event] = field(default_factory=dict)
    offered: dict[str, Outline] = field(default_factory=dict)
    """Every backup that was handed to a store, by its id."""
    starts: list[datetime] = field(default_factory=list)
    """When the daemon began to live."""

    def fails(self, *names: object) -> bool:
        """Whether this goes wrong."""
        return Random("/".join([self.seed, *map(str, names)])).random() < _FAILING

    def wake(self) -> None:
        """Let go on what stopped."""
        for each in self.asleep.values():
            each.set()

    def forget_runs(self) -> None:
        """The daemon is dead, and with it whatever it was at."""
        self.asleep.clear()


class Backups:
    """Backups, from what is asked to what is kept, without servers and tools."""

    def __init__(self, site: Site, world: World) -> None:
        self._site = site
        self._world = world

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        return frozenset(f"instance:{each}" for each in BackupRequest.parse(request).instances or ())

    async def run(self, work: Work) -> dict[str, Any]:
        request = BackupRequest.parse(work.operation.request)
        (instance,) = request.instances or ()
        if instance in self._world.dark:
            await work.plan_steps([(instance, EVERYTHING)])
            error = ServerError("nobody answers", code="connection_refused")
            await work.step_finished(instance, EVERYTHING, State.FAILED, error=error)
        else:
            names = _wanted(request)
            await work.plan_steps([(instance, name) for name in names])
            for name in names:
                await self._one(work, instance, name, is_last=name == names[-1])
        await after_backup(self._site, work, request)
        return {}

    async def _one(self, work: Work, instance: str, name: str, *, is_last: bool) -> None:
        operation = work.operation
        if is_last:
            await self._pass(operation.id, instance, Point.BEFORE)
        await work.step_started(instance, name)
        if self._world.fails(operation.key, operation.attempt, name):
            error = ToolError("the tool gave up", code="tool_failed")
            await work.step_finished(instance, name, State.FAILED, error=error)
            return
        made = await self._publish(work, instance, name)
        detail = {"size_bytes": made.size_bytes}
        await work.step_finished(instance, name, State.SUCCEEDED, backup_id=made.facts.id, detail=detail)

    async def _publish(self, work: Work, instance: str, name: str) -> Manifest:
        site, operation = self._site, work.operation
        content = f"{instance}/{name} of {operation.key}".encode() * 3
        manifest = self._manifest(instance, name, operation.key or operation.id, content)
        facts = manifest.facts
        path = site.naming.path(Subject(facts.hostname, instance, name, facts.engine, facts.type, facts.taken_at))
        partial = await site.store.new_partial(facts.id)
        os.write(partial.fd, content)
        self._world.offered[facts.id] = _outline(manifest, path)
        stored = await site.store.publish(partial, path, manifest)
        await self._pass(operation.id, instance, Point.PUBLISHED)
        data = {"backup_id": facts.id, "path": stored.path, "size_bytes": manifest.size_bytes}
        event = Event("backup.published", site.now(), operation.id, instance, name, operation.submitted_by, data)
        await site.catalog.backups.record(stored, event)
        await self._pass(operation.id, instance, Point.RECORDED)
        return manifest

    def _manifest(self, instance: str, name: str, run: str, content: bytes) -> Manifest:
        now = self._world.clock()
        kind = BackupType.GLOBALS if name == GLOBALS_NAME else BackupType.FULL
        manifest = manifest_for(content, new_backup_id(now), database=name, backup_type=kind, taken_at=now)
        hostname = self._site.config.application.hostname
        facts = replace(manifest.facts, hostname=hostname, instance=instance, run=run, started_at=now)
        return replace(manifest, facts=facts, finished_at=now)

    async def _pass(self, operation_id: str, instance: str, point: Point) -> None:
        """Stop here, if that was planned."""
        if self._world.stuck.get(instance) is not point:
            return
        del self._world.stuck[instance]
        awake = self._world.asleep[operation_id] = asyncio.Event()
        await awake.wait()
        del self._world.asleep[operation_id]


def _wanted(request: BackupRequest) -> Sequence[str]:
    if request.databases is None:
        return DATABASES
    return [name for name in DATABASES if name in request.databases or (name == GLOBALS_NAME and request.globals)]


def _outline(manifest: Manifest, path: str) -> Outline:
    facts = manifest.facts
    return Outline(
        id=facts.id,
        path=path,
        hostname=facts.hostname,
        instance=facts.instance,
        database=facts.database,
        type=facts.type,
        taken_at=facts.taken_at,
        size_bytes=manifest.size_bytes,
        run=facts.run,
    )
