"""What the installation owes: a fresh backup of every database, and the duties that come round; and what of it is missed.

Servers say which databases they have (``learn``), the catalog which backups there are (``weigh``); ``policy.health``
judges. Since when a database is known is a mark in the catalog: a daemon that restarts every night must not begin to
wait anew each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vya_backupd.errors import VyaError
from vya_backupd.model.backup import GLOBALS_NAME
from vya_backupd.model.instance import Instance
from vya_backupd.observe.metrics import Metrics
from vya_backupd.observe.outlook import InstanceOutlook, Outlook
from vya_backupd.operations.site import Site
from vya_backupd.policy.health import RETENTION_LATE, Duty, HealthFacts, Objective, Protection, Reason, judge
from vya_backupd.policy.schedule import Schedule

MARK = "databases.known"
"""The catalog's mark: every database of every instance, with the time since when it is known."""

ANY = "(any database)"
"""Stands for the databases of a server that has never answered and has no backup."""

_FRESHEN_SECONDS = 2.0
"""How long a probe waits for the catalog before it is answered from what was known last."""


@dataclass(slots=True)
class Known:
    """Since when instances and their databases are known. An instance without ``databases`` has not answered yet."""

    since: dict[str, datetime] = field(default_factory=dict)
    databases: dict[str, dict[str, datetime]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> Known:
        """From the mark; a text that nobody can read counts as none."""
        try:
            record = json.loads(text or "{}")
            since = {name: datetime.fromisoformat(at) for name, at in record.get("since", {}).items()}
            databases = {
                instance: {name: datetime.fromisoformat(at) for name, at in names.items()}
                for instance, names in record.get("databases", {}).items()
            }
        except (ValueError, AttributeError, TypeError):
            return cls()
        return cls(since, databases)

    def text(self) -> str:
        """For the mark."""
        return json.dumps({"since": self.since, "databases": self.databases}, default=datetime.isoformat)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one instance stands. ``discovered``: databases on the server, None before its first answer.

    Of what is ours there: ``overdue`` is missed, ``awaited`` has no backup and is not due yet. ``oldest``: the snapshot
    that is longest ago, of the newest complete ones of each database.
    """

    max_age: timedelta
    discovered: int | None
    covered: int
    uncovered: tuple[str, ...]
    overdue: tuple[str, ...]
    awaited: tuple[str, ...]
    oldest: datetime | None


class Objectives:
    """Kept up to date by the checks; asked at each probe. Use it within the event loop."""

    def __init__(self, site: Site, metrics: Metrics) -> None:
        self._site = site
        self._metrics = metrics
        self._known: Known | None = None
        self._changed = False
        self._facts = HealthFacts()
        self._protected_of: Mapping[str, Sequence[Protection]] = {}
        self._weighed = False
        self._weighing = asyncio.Lock()
        self.reachable: dict[str, str] = {}
        self.failing: dict[Objective, Callable[[], str | None]] = {}
        """Asked for what a part fails at just now, in words; None while it does not."""

    async def learn(self, instance: Instance, names: Sequence[str]) -> None:
        """A server has these databases, system ones left out. Those that it has no longer are forgotten."""
        known, now = await self._recall(), self._site.now()
        before = known.databases.get(instance.id)
        if before is None or before.keys() != set(names):
            known.databases[instance.id] = {name: (before or {}).get(name, now) for name in names}
            self._changed = True

    async def weigh(self) -> None:
        """Gather the facts anew. StorageError when the catalog cannot be read; the last facts stay."""
        async with self._weighing:
            known, site = await self._recall(), self._site
            enabled = site.enabled_instances(None)
            for each in enabled:
                if each.id not in known.since:
                    known.since[each.id] = site.now()
                    self._changed = True
            if self._changed:
                await site.catalog.marks.set(MARK, known.text())
                self._changed = False
            await self._metrics.freshen(site.catalog, site.now())
            protected = tuple(self._protections(enabled, known))
            self._facts = self._gather(enabled, known, protected)
            self._protected_of = _by_instance(protected)
            self._metrics.outlook = self._outlook(enabled, known, protected)
            self._weighed = True

    async def freshen(self) -> None:
        """Weigh again if something has happened; a catalog that fails or dawdles leaves the last facts in force."""
        if self._metrics.has_news:
            with contextlib.suppress(VyaError, TimeoutError):
                async with asyncio.timeout(_FRESHEN_SECONDS):
                    await self.weigh()

    def missed(self, troubles: Sequence[str] = ()) -> tuple[Reason, ...]:
        """What is missed at this moment. ``troubles``: failed checks of catalog and storage."""
        failing = [(objective, text) for objective, ask in self.failing.items() if (text := ask())]
        return judge(replace(self._facts, troubles=troubles, failing=failing), self._site.now())

    def missed_counts(self, troubles: Sequence[str] = ()) -> Mapping[str, int]:
        """How much is missed of each objective."""
        counts = Counter({str(objective): 0 for objective in Objective})
        for reason in self.missed(troubles):
            counts[str(reason.objective)] += reason.count
        return counts

    def standing(self, instance: Instance) -> Standing:
        """How an instance stands at this moment, by the facts of the last weighing."""
        now, known = self._site.now(), self._known or Known()
        ours = self._protected_of.get(instance.id, ())
        names = known.databases.get(instance.id)
        return Standing(
            self._site.settings.max_age(instance.id),
            None if names is None else len(names),
            sum(each.database not in (GLOBALS_NAME, ANY) for each in ours),
            tuple(sorted(name for name, _ in self._uncovered(instance, known))),
            tuple(sorted(each.database for each in ours if each.due < now)),
            tuple(sorted(each.database for each in ours if each.newest is None and each.due >= now)),
            min((each.newest for each in ours if each.newest), default=None),
        )

    # inside

    async def _recall(self) -> Known:
        if self._known is None:
            self._known = Known.parse(await self._site.catalog.marks.get(MARK))
        return self._known

    def _protections(self, enabled: Sequence[Instance], known: Known) -> Iterator[Protection]:
        newest: dict[str, dict[str, datetime]] = {}
        for each in self._metrics.figures.newest:
            newest.setdefault(each.instance, {})[each.database] = each.taken_at
        for instance in enabled:
            max_age, backed_up = self._site.settings.max_age(instance.id), newest.get(instance.id, {})
            for name, since in self._owed(instance, known, backed_up):
                last = backed_up.get(name)
                # Only what has no backup yet is awaited by its first slot, which takes a while to find.
                expected = self._first_slot(instance, since) if last is None else since
                yield Protection(instance.id, name, last, expected, max_age)

    def _first_slot(self, instance: Instance, since: datetime) -> datetime:
        """The first slot after this moment; the moment itself where somebody else keeps the clock."""
        settings = self._site.settings.scheduling(instance.id)
        if not settings.enabled or settings.method != "interval":
            return since
        return _first_slot(settings.cron, settings.interval_minutes, settings.timezone, since) or since

    def _owed(self, instance: Instance, known: Known, newest: Mapping[str, datetime]) -> Iterator[tuple[str, datetime]]:
        """The databases of an instance that must be backed up, each with the time since when it is known."""
        first = known.since[instance.id]
        databases = known.databases.get(instance.id)
        if databases is None:
            backed_up = [name for name in newest if name != GLOBALS_NAME]
            databases = dict.fromkeys(backed_up or [ANY], first)
            yield from databases.items()
        else:
            yield from ((name, since) for name, since in databases.items() if instance.covers(name))
        if self._site.config.backup.include_globals:
            yield GLOBALS_NAME, first

    def _uncovered(self, instance: Instance, known: Known) -> list[tuple[str, datetime]]:
        names = known.databases.get(instance.id, {}).items()
        return [(name, since) for name, since in names if not instance.covers(name) and not instance.leaves_out(name)]

    def _gather(self, enabled: Sequence[Instance], known: Known, protected: tuple[Protection, ...]) -> HealthFacts:
        config, figures, errands = self._site.config, self._metrics.figures, self._metrics.errands
        retention = verification = None
        if config.storage.retention.cleanup_enabled and figures.stock:
            # Owed since there was a first backup and somebody who knew of it: a catalog may be newer than its backups.
            owed = max(min(each.since for each in figures.stock), min(known.since.values(), default=self._site.now()))
            retention = Duty(errands.retention_at or owed, RETENTION_LATE)
        if config.backup.reverify_days and figures.readings.oldest is not None:
            verification = Duty(figures.readings.oldest, timedelta(days=config.backup.reverify_days))
        return HealthFacts(
            protected,
            tuple(self._due_to_cover(enabled, known)) if config.monitoring.health_check.uncovered_databases else (),
            retention,
            min((each.since for each in errands.waiting), default=None),
            errands.given_up,
            verification,
        )

    def _due_to_cover(self, enabled: Sequence[Instance], known: Known) -> Iterator[tuple[str, str]]:
        """Uncovered databases that a slot has gone by without: one that lives for an hour troubles nobody."""
        now = self._site.now()
        for instance in enabled:
            for name, since in self._uncovered(instance, known):
                if self._first_slot(instance, since) <= now:
                    yield instance.id, name

    def _outlook(self, enabled: Sequence[Instance], known: Known, protected: Sequence[Protection]) -> Outlook:
        kinds = {each.id: str(each.kind) for each in enabled}
        days = self._site.config.backup.reverify_days
        return Outlook(
            tuple(self._outlook_of(each, known) for each in enabled),
            {(kinds[each.instance], each.instance, each.database): each.due for each in protected},
            timedelta(days=days) if days else None,
        )

    def _outlook_of(self, instance: Instance, known: Known) -> InstanceOutlook:
        names = known.databases.get(instance.id)
        state = self.reachable.get(instance.id)
        outlook = InstanceOutlook(
            str(instance.kind),
            instance.id,
            self._site.settings.max_age(instance.id),
            self._site.settings.interval(instance.id),
            None if state is None else state == "ok",
        )
        if names is None:
            return outlook
        covered, uncovered = sum(map(instance.covers, names)), len(self._uncovered(instance, known))
        return replace(outlook, discovered=len(names), covered=covered, uncovered=uncovered)


def _by_instance(protected: Sequence[Protection]) -> dict[str, list[Protection]]:
    found: dict[str, list[Protection]] = {}
    for each in protected:
        found.setdefault(each.instance, []).append(each)
    return found


@functools.lru_cache(maxsize=16384)
def _first_slot(cron: str | None, interval_minutes: int, timezone: str, since: datetime) -> datetime | None:
    return Schedule.of(cron=cron, interval_minutes=interval_minutes, timezone=timezone).next_after(since)
