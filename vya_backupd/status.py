"""How the installation stands, on one page: what is protected and since when, what is not, and what comes next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from vya_backupd.api.wire import Record, backup_record, format_time
from vya_backupd.daemon.objectives import Objectives
from vya_backupd.model.backup import Proof, StoredBackup
from vya_backupd.model.instance import Instance
from vya_backupd.observe.metrics import Metrics
from vya_backupd.operations.disk_outlook import DiskOutlook, foresee
from vya_backupd.operations.site import Site

_FORECAST_SECONDS = 600.0
"""How long a forecast holds: it looks at days, and reads every backup's coming and going."""
_PROOFS = list(Proof)

Schedule = Callable[[], Awaitable[Record]]


class StatusPage:
    """Everything of ``status`` but what the queue is doing. ``schedule`` is set where a daemon keeps the clock."""

    def __init__(self, site: Site, metrics: Metrics, objectives: Objectives) -> None:
        self._site = site
        self._metrics = metrics
        self._objectives = objectives
        self._outlook: DiskOutlook | None = None
        self._foreseen = 0.0
        self.schedule: Schedule | None = None

    async def record(self, troubles: Sequence[str], reachable: Mapping[str, str]) -> Record:
        """The page. StorageError when catalog or disk do not answer."""
        await self._objectives.freshen()
        reasons = self._objectives.missed(troubles)
        schedule = await self.schedule() if self.schedule else {"paused": None, "schedules": []}
        slots = {each["instance"]: each for each in schedule["schedules"]}
        instances = self._site.settings.instances.values()
        newest: dict[str, list[StoredBackup]] = {}
        for stored in await self._site.catalog.backups.newest_each():
            newest.setdefault(stored.manifest.facts.instance, []).append(stored)
        return {
            "health": "degraded" if reasons else "healthy",
            "reasons": [{"objective": str(each.objective), "text": each.text, "count": each.count} for each in reasons],
            "storage": await self._storage(),
            "paused": schedule["paused"],
            "instances": [
                self._instance(each, reachable, slots.get(each.id), newest.get(each.id, ())) for each in instances
            ],
            "notifications": self._notifications(),
            "retention_at": _moment(self._metrics.errands.retention_at),
            "verified": {
                "oldest": _moment(self._metrics.figures.readings.oldest),
                "newest": _moment(self._metrics.figures.readings.newest),
            },
        }

    async def _storage(self) -> Record:
        usage = await asyncio.to_thread(self._site.store.usage)
        outlook = await self._foresee()
        pace = outlook.growth
        return {
            "base_path": str(self._site.store.base_path),
            "free_bytes": usage.free,
            "total_bytes": usage.total,
            "backups_bytes": sum(each.size_bytes for each in self._metrics.figures.stock),
            "forecast": {
                "bytes_per_day": round(pace.bytes_per_day),
                "days_observed": pace.days,
                "days_until_full": _rounded(pace.days_until_full(usage.free)),
            }
            if pace
            else None,
        }

    async def _foresee(self) -> DiskOutlook:
        if self._outlook is None or time.monotonic() - self._foreseen > _FORECAST_SECONDS:
            self._outlook = await foresee(self._site)
            self._foreseen = time.monotonic()
        return self._outlook

    def _instance(
        self,
        instance: Instance,
        reachable: Mapping[str, str],
        slot: Mapping[str, Any] | None,
        newest: Sequence[StoredBackup],
    ) -> Record:
        standing = self._objectives.standing(instance)
        return {
            "id": instance.id,
            "type": str(instance.kind),
            "enabled": instance.enabled,
            "reachable": reachable.get(instance.id, "unknown"),
            "max_age_seconds": _seconds(standing.max_age),
            "discovered": standing.discovered,
            "covered": standing.covered,
            "uncovered": list(standing.uncovered),
            "overdue": list(standing.overdue),
            "awaited": list(standing.awaited),
            "oldest_at": _moment(standing.oldest),
            "proof": _weakest(newest),
            "schedule": _slot(slot),
            "databases": [backup_record(stored, self._site.store.base_path) for stored in newest],
        }

    def _notifications(self) -> Record:
        waiting = self._metrics.errands.waiting
        return {
            "waiting": sum(each.messages for each in waiting),
            "since": _moment(min((each.since for each in waiting), default=None)),
            "given_up": self._metrics.errands.given_up,
        }


def _slot(record: Mapping[str, Any] | None) -> Record | None:
    """What of a schedule belongs on the page."""
    return {key: record[key] for key in ("state", "reason", "next_start", "paused")} if record else None


def _weakest(newest: Sequence[StoredBackup]) -> str | None:
    """The proof that all of them have at least."""
    return str(min((each.manifest.proof for each in newest), key=_PROOFS.index)) if newest else None


def _moment(at: Any) -> str | None:
    return format_time(at) if at else None


def _seconds(span: timedelta) -> float:
    return span.total_seconds()


def _rounded(days: float | None) -> float | None:
    return None if days is None else round(days, 1)
