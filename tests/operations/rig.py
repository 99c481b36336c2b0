"""A site on real folders and a real catalog, with backups that nobody dumped, for what needs no server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.storage.samples import manifest_for
from vya_backupd.config.schema import Config
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import GLOBALS_NAME, BackupType, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, Progress, State, Step
from vya_backupd.operations.prune import PruneHandler
from vya_backupd.operations.site import Settings, Site
from vya_backupd.wiring import build_site

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
INSTANCE = "pg-01"


class Rig:
    """The site, its clock, and what was asked of the queue."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.now = NOW
        self.submitted: list[tuple[OperationKind, dict[str, Any]]] = []
        site.now = lambda: self.now
        site.submit = self._submit

    async def _submit(self, kind: OperationKind, request: dict[str, Any]) -> None:
        self.submitted.append((kind, request))

    async def backup(
        self, backup_id: str, days: float, database: str = "shop", *, hostname: str = "site", instance: str = INSTANCE
    ) -> StoredBackup:
        """A published and recorded backup, taken so many days ago. Its size is 1000 bytes."""
        kind = BackupType.GLOBALS if database == GLOBALS_NAME else BackupType.FULL
        content = os.urandom(1000)
        taken_at = NOW - timedelta(days=days)
        manifest = manifest_for(content, backup_id, database=database, backup_type=kind, taken_at=taken_at)
        manifest = replace(manifest, facts=replace(manifest.facts, hostname=hostname, instance=instance))
        partial = await self.site.store.new_partial(backup_id)
        os.write(partial.fd, content)
        stored = await self.site.store.publish(partial, f"{hostname}/{instance}/{backup_id}.sql.gz", manifest)
        await self.site.catalog.backups.record(stored, None)
        return stored

    async def prune(self, **request: Any) -> Run:
        """Run a prune to its end."""
        run = Run(request)
        run.result = await PruneHandler(self.site).run(run)
        return run

    async def listed(self) -> set[str]:
        """The ids in the catalog."""
        return set(await self.site.catalog.backups.paths())

    def stored(self) -> set[str]:
        """The ids of the data files, each with its manifest."""
        data = {path.name.removesuffix(".sql.gz") for path in self.site.store.base_path.rglob("*.gz")}
        described = self.site.store.base_path.rglob("*.metadata.json")
        assert {path.name.removesuffix(".sql.gz.metadata.json") for path in described} == data
        return data

    async def events(self, name: str) -> list[Event]:
        """What was recorded under this name."""
        return [each.event for each in await self.site.catalog.events.after() if each.event.name == name]


class Run:
    """What a handler said of its work; implements ``operations.work.Work``."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.operation = Operation("op", OperationKind.PRUNE, State.RUNNING, request, NOW, "anna")
        self.steps: dict[tuple[str, str], Step] = {}
        self.result: dict[str, Any] = {}

    async def plan_steps(self, steps: Sequence[tuple[str, str]]) -> None:
        self.steps = {place: Step(*place) for place in steps}

    async def step_started(self, instance: str, database: str) -> None:
        self.steps[(instance, database)] = Step(instance, database, State.RUNNING)

    async def step_finished(
        self,
        instance: str,
        database: str,
        state: State,
        *,
        backup_id: str | None = None,
        error: VyaError | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        told = error.to_json() if error else None
        self.steps[(instance, database)] = Step(instance, database, state, backup_id, told, detail or {})

    def progress(self, progress: Progress) -> None:
        assert progress.bytes_done <= progress.expected_bytes

    @property
    def step(self) -> Step:
        """The only one."""
        (step,) = self.steps.values()
        return step


@asynccontextmanager
async def rig(folder: Path, **retention: Any) -> AsyncIterator[Rig]:
    """A rig whose rules keep the newest two, unless told otherwise; its catalog indexes an empty store."""
    rules: Mapping[str, Any] = {"strategy": "simple", "daily_keep": 2, **retention}
    config = {
        "application": {"hostname": "site", "state_dir": str(folder / "state")},
        "scheduling": {"timezone": "UTC"},
        "storage": {"local": {"base_path": str(folder / "backups")}, "retention": rules},
    }
    async with AsyncExitStack() as closing:
        site = await build_site(Settings(Config.model_validate(config), {}), closing)
        await site.catalog.backups.replace_all([])
        yield Rig(site)
