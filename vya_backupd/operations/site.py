"""The site: everything that the use cases work with, put together once by ``app``."""

from __future__ import annotations

import asyncio
import difflib
import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from vya_backupd.catalog import Catalog
from vya_backupd.config.credentials_schema import Entry
from vya_backupd.config.schema import Config
from vya_backupd.config.schema_limits import Limits as LimitsSection
from vya_backupd.config.schema_service import Scheduling
from vya_backupd.config.schema_storage import Retention
from vya_backupd.config.secret_ref import Decrypt
from vya_backupd.errors import NotFoundError, VyaError
from vya_backupd.model.backup import Manifest, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import Instance
from vya_backupd.model.operation import OperationKind
from vya_backupd.operations.limits import Limits
from vya_backupd.pipeline.pool import CodecPool
from vya_backupd.policy.blackout import Blackout, Calendar, calendar_of, longest_wait
from vya_backupd.policy.limits import EVERY_INSTANCE, Flow
from vya_backupd.policy.naming import Naming
from vya_backupd.policy.schedule import Schedule
from vya_backupd.probe import Probe
from vya_backupd.process import Spawner, ToolFinder
from vya_backupd.storage import LocalStore

_log = structlog.get_logger("vya.operations")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reload replaces as one: the configuration, the instances of its credentials file, and the file's key.

    ``entries`` are the instances as the file has them, with the settings that are theirs alone. ``path`` is where the
    configuration was read from.
    """

    config: Config
    instances: Mapping[str, Instance]
    decrypt: Decrypt | None = None
    entries: Mapping[str, Entry] = field(default_factory=dict, repr=False)
    encrypt: Callable[[str], str] | None = None
    path: Path | None = None

    def scheduling(self, instance_id: str) -> Scheduling:
        """When an instance is backed up: its own schedule over that of ``config.yaml``."""
        entry = self.entries.get(instance_id)
        own = entry.schedule.model_dump(exclude_none=True) if entry and entry.schedule else {}
        if "interval_minutes" in own:
            own = {"cron": None, **own}
        return self.config.scheduling.model_copy(update=own)

    def retention(self, instance_id: str) -> Retention:
        """Which of an instance's backups stay: its own rules over those of ``config.yaml``."""
        entry = self.entries.get(instance_id)
        own = entry.retention.model_dump(exclude_none=True) if entry and entry.retention else {}
        return self.config.storage.retention.model_copy(update=own)

    def max_age(self, instance_id: str) -> timedelta:
        """The recovery objective: how old an instance's newest complete backups may be."""
        entry = self.entries.get(instance_id)
        if entry is not None and entry.max_age is not None:
            return entry.max_age
        return self.config.backup.max_age or self.interval(instance_id) * 1.5

    def interval(self, instance_id: str) -> timedelta:
        """The longest time between two slots of an instance's schedule, whoever keeps the clock."""
        settings = self.scheduling(instance_id)
        calendar = self.calendar(instance_id) if settings.method == "interval" else Calendar(ZoneInfo("UTC"))
        return _longest_wait(settings.cron, settings.interval_minutes, settings.timezone, calendar)

    @property
    def blackouts(self) -> tuple[Blackout, ...]:
        """All blackouts."""
        return _blackouts(self.config.limits)

    def calendar(self, instance_id: str) -> Calendar:
        """When no scheduled work begins on an instance."""
        return calendar_of(self.config.scheduling.timezone, self.blackouts, instance_id)

    def rate(self, instance_id: str, flow: Flow) -> int | None:
        """Bytes per second that are configured for an instance, or for ``EVERY_INSTANCE`` together."""
        entry = self.entries.get(instance_id)
        limits = self.config.limits if instance_id == EVERY_INSTANCE else entry.limits if entry else None
        if limits is None:
            return None
        return limits.bytes_per_second if flow is Flow.DUMP else limits.restore_bytes_per_second


@functools.lru_cache(maxsize=8)
def _blackouts(limits: LimitsSection) -> tuple[Blackout, ...]:
    return limits.calendar()


@functools.lru_cache(maxsize=4096)
def _longest_wait(cron: str | None, interval_minutes: int, timezone: str, calendar: Calendar) -> timedelta:
    return longest_wait(Schedule.of(cron=cron, interval_minutes=interval_minutes, timezone=timezone), calendar)


class Stock:
    """Whether catalog and store were compared since the start. Until then nothing deletes by rule."""

    def __init__(self) -> None:
        self.compared = asyncio.Event()
        self.compared.set()
        self.trouble: VyaError | None = None
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """The comparison is yet to come."""
        self.compared.clear()

    def done(self) -> None:
        """It is there."""
        self.trouble = None
        self.compared.set()
        self._changed.set()

    def failed(self, error: VyaError) -> None:
        """It could not be made; somebody tries again."""
        self.trouble = error
        self._changed.set()

    async def wait(self) -> None:
        """Wait until it is there. Raises what it failed with."""
        while not self.compared.is_set():
            if self.trouble is not None:
                raise self.trouble
            self._changed.clear()
            await self._changed.wait()


@dataclass(slots=True)
class Site:
    """The parts of one running product. A reload replaces ``settings``, ``tools``, ``naming`` and ``dumps``.

    ``dumps`` bounds the databases that are dumped at once. ``manifests`` is held while a manifest is read, changed and
    written back, ``leftovers`` while what dead restores left is taken away. ``stock`` says whether the store was looked
    through. ``in_use`` lists backups (once for each user) that nothing may delete now. ``is_catalog_behind`` is for
    ``rewriting`` alone: a manifest was written, and the catalog may not know. ``decode_manifest`` reads a manifest that
    lies outside the store. ``submit`` queues a further operation in the daemon's own name (``ask``). ``unrecorded`` is for
    ``recording`` alone: published backups that the catalog has not taken yet. ``limits`` follow the settings by themselves.
    """

    settings: Settings
    store: LocalStore
    catalog: Catalog
    spawner: Spawner
    tools: ToolFinder
    probe: Probe
    pool: CodecPool
    naming: Naming
    dumps: asyncio.Semaphore
    now: Callable[[], datetime]
    decode_manifest: Callable[[Path], Manifest]
    submit: Callable[[OperationKind, dict[str, Any]], Awaitable[None]] | None = None
    manifests: asyncio.Lock = field(default_factory=asyncio.Lock)
    leftovers: asyncio.Lock = field(default_factory=asyncio.Lock)
    in_use: list[str] = field(default_factory=list)
    is_catalog_behind: bool = False
    unrecorded: list[tuple[StoredBackup, Event]] = field(default_factory=list)
    stock: Stock = field(default_factory=Stock)
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.limits = Limits(lambda: self.settings, self.now)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.settings.config

    async def ask(self, kind: OperationKind, request: dict[str, Any]) -> None:
        """Queue what one operation asks of another. Where that cannot be, the log says so: the asker has not failed."""
        if self.submit is None:
            return
        try:
            await self.submit(kind, request)
        except VyaError as error:
            _log.warning("operation.not_queued", kind=str(kind), code=error.code, reason=error.message)

    def instance(self, instance_id: str) -> Instance:
        """The instance of this id.

        Raises:
            NotFoundError: ``unknown_instance``, naming the nearest known ids.
        """
        known = self.settings.instances
        if instance_id in known:
            return known[instance_id]
        raise NotFoundError(
            f"no instance is called {instance_id!r}",
            code="unknown_instance",
            hint=f"{nearest(instance_id, known)} Instances are defined in the credentials file.",
            instance=instance_id,
        )

    def enabled_instances(self, ids: Iterable[str] | None) -> list[Instance]:
        """The named instances, or all that are enabled. Raises as ``instance`` does."""
        if ids is None:
            return [instance for instance in self.settings.instances.values() if instance.enabled]
        return [self.instance(instance_id) for instance_id in dict.fromkeys(ids)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Words that lead from a mistyped name to known ones."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {', '.join(close)}?"
    return f"Known: {', '.join(names[:8])}." if names else "None is configured."
