"""What retention makes of the backups that there are: the rules in force, applied to the catalog. Deletes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from vya_backupd.errors import NotFoundError, StorageError
from vya_backupd.operations.claims import claimed
from vya_backupd.operations.site import Site, nearest
from vya_backupd.policy.retention import LAST_SUCCESS, SINCE, Rules, Terms, Verdict, decide

_JUDGED = 5000
"""Backups that are judged at once, as far as one instance does not have more."""
_JUDGED_INSTANCES = 500


async def judge(
    site: Site, instances: Collection[str] | None = None, database: str | None = None
) -> AsyncGenerator[list[Verdict]]:
    """What retention makes of the backups as they are now, of some instances or of all, or of one database.

    It comes instance by instance, several small ones together: an instance is judged by itself, so memory depends on the
    largest of them, not on all.

    Raises:
        NotFoundError: an instance or database is named that has no backups and is not configured.
        StorageError: the store cannot be looked at, or is another one, or the catalog does not index it yet.
    """
    await asyncio.to_thread(site.store.recognise)
    if not await site.catalog.backups.is_indexed():
        raise StorageError(
            "the catalog has not been made from the store yet, so nothing expires", hint="Run: vyactl catalog rebuild"
        )
    counts = await site.catalog.backups.counts(instances)
    await _refuse_unknown(site, counts.keys(), instances or (), database)
    terms = _terms(site, {})
    for chosen in _together(counts):
        outlines = await site.catalog.backups.outlines(chosen)
        claims = await claimed(site, outlines)
        verdicts = await asyncio.to_thread(decide, outlines, replace(terms, in_use=claims))
        yield [verdict for verdict in verdicts if database in {None, verdict.backup.database}]


def _together(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Instances, in order, in groups of not too many backups."""
    chosen: list[str] = []
    backups = 0
    for instance, count in sorted(counts.items()):
        if chosen and (backups + count > _JUDGED or len(chosen) == _JUDGED_INSTANCES):
            yield chosen
            chosen, backups = [], 0
        chosen.append(instance)
        backups += count
    if chosen:
        yield chosen


async def last_applied(site: Site) -> datetime | None:
    """When the rules were last applied to everything; before the first time, since when that is owed.

    None: ``cleanup_enabled`` is false, and nothing is owed.
    """
    if not site.config.storage.retention.cleanup_enabled:
        return None
    marks = site.catalog.marks
    found = await marks.get(LAST_SUCCESS) or await marks.get(SINCE)
    if found is None:
        found = site.now().isoformat()
        await marks.set(SINCE, found)
    return datetime.fromisoformat(found)


def _terms(site: Site, in_use: dict[str, str]) -> Terms:
    config = site.config
    return Terms(site.now(), ZoneInfo(config.scheduling.timezone), config.application.hostname, _rules(site), in_use)


def _rules(site: Site) -> Callable[[str], Rules]:
    known: dict[str, Rules] = {}

    def rules_of(instance: str) -> Rules:
        if instance not in known:
            own = site.settings.retention(instance)
            known[instance] = Rules(own.strategy, own.daily_keep, own.weekly_keep, own.monthly_keep, own.minimum_keep)
        return known[instance]

    return rules_of


async def _refuse_unknown(site: Site, there: Collection[str], instances: Collection[str], database: str | None) -> None:
    """What is configured no more still has backups to judge; what has neither is a mistake in typing."""
    for instance_id in instances:
        if instance_id not in there:
            site.instance(instance_id)
    if database is None:
        return
    names = await site.catalog.backups.databases(there)
    if database not in names:
        raise NotFoundError(
            f"there is no backup of a database {database!r}",
            code="unknown_backup",
            hint=nearest(database, sorted(names)),
            database=database,
        )
