"""Bringing the catalog to what the store holds.

A crash leaves three things in the store: a file whose publishing was cut short, a backup that was published and never
recorded, and a deletion that was begun. What our own work can have left is known to the catalog before that work
begins: the step of a database runs while its backup is made, and a deletion is noted before its first file goes. So the
start looks at those places alone (``settle_cut_short``), however large the store is, and nobody sees it unsettled.

What others did to the store meanwhile, as in bringing files back or taking some away, is found by comparing all of it
(``compare``). That takes its time, goes on beside the daemon's other work, and is gentle. Whatever deletes waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import structlog

from vya_backupd.errors import VyaError
from vya_backupd.model.backup import GLOBALS_NAME, BackupType, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, State
from vya_backupd.operations.adopting import adopt
from vya_backupd.operations.rewriting import settle_rewritten
from vya_backupd.operations.site import Site
from vya_backupd.policy.naming import Subject
from vya_backupd.storage import Name, Orphan, Tombstone

AT_ONCE = 2000
"""A catalog of no more backups is compared wholly before the daemon answers: it takes a moment."""
RETRY_SECONDS = 60.0
"""After a comparison that failed, until the next."""
POSTPONED_SECONDS = 5.0
"""Until a backup is looked at again that may be the work of an operation which runs."""
_BATCH = 500

_log = structlog.get_logger("vya.stock")


@dataclass(slots=True)
class Changes:
    """What a comparison did: paths of files that entered the catalog or were removed at last, ids that left it."""

    adopted: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Files without a manifest that do not prove themselves."""
    postponed: list[str] = field(default_factory=list)
    """Files that somebody may be recording at this moment."""

    def tell(self) -> None:
        """Into the log, where there was anything."""
        facts = {"adopted": self.adopted, "vanished": self.vanished, "deleted": self.deleted}
        if any(facts.values()):
            _log.warning("catalog.reconciled", **{name: value for name, value in facts.items() if value})


async def settle_cut_short(site: Site) -> None:
    """End what a dead process was about, before anybody asks. To be called before its operations are closed.

    Raises:
        StorageError: store or catalog do not answer.
    """
    changes = Changes()
    await settle_rewritten(site)
    changes.deleted += await end_deletions(site)
    for instance, database in await site.catalog.operations.running_steps(OperationKind.BACKUP):
        known = site.settings.instances.get(instance)
        if known is not None:
            kind = BackupType.GLOBALS if database == GLOBALS_NAME else BackupType.FULL
            hostname = site.config.application.hostname
            subject = Subject(hostname, instance, database, known.kind, kind, site.now())
            await _enter_found(site, changes, below=site.naming.folder(subject))
    changes.tell()


async def compare(site: Site, *, gently: bool = False) -> Changes:
    """Compare all of the store with all of the catalog. ``gently``: leave half of the time to others.

    A row goes whose file is gone, or lost its manifest and cannot prove itself; when every file is gone at once, the file
    system is more likely not mounted than emptied: then no row goes, until ``catalog rebuild`` is asked for. Files that
    do not prove themselves are passed over: ``catalog rebuild`` reports them.

    Raises:
        StorageError: a part of the store cannot be read; what was found before stands.
    """
    changes = Changes()
    await _enter_found(site, changes, gently=gently)
    while changes.postponed:
        await asyncio.sleep(POSTPONED_SECONDS)
        waiting, changes.postponed = changes.postponed, []
        for path in await site.catalog.backups.unlisted(waiting):
            await _look_at(site, path, changes)
    await _strike_off_gone(site, changes, gently=gently)
    changes.tell()
    return changes


class Stocktaking:
    """A part of the daemon: the comparison that was too long for the start."""

    name = "stocktaking"

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def complaint(self) -> str | None:
        """Why catalog and store could not be compared, in words; None while that is not so."""
        trouble = self._site.stock.trouble
        return None if trouble is None else f"catalog and store could not be compared: {trouble.message}"

    async def run(self) -> None:
        """See ``Part``."""
        stock = self._site.stock
        while not stock.compared.is_set():
            began = time.monotonic()
            try:
                await compare(self._site, gently=True)
            except VyaError as error:
                stock.failed(error)
                _log.warning("stock.not_compared", code=error.code, error=error.message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                stock.done()
                _log.info("stock.compared", seconds=round(time.monotonic() - began, 1))

    async def settle(self) -> None:
        """See ``Part``. The next start compares anew."""


async def settle_stock(site: Site) -> None:
    """Compare everything now where that is soon done; otherwise leave it to ``Stocktaking``. Raises as ``compare``."""
    if await site.catalog.backups.count() <= AT_ONCE:
        await compare(site)
    else:
        site.stock.begin()


# what was begun


async def end_deletions(site: Site) -> list[str]:
    """Deletions that were begun are ended, and reported as what they were; those that were not are forgotten.

    To be called while nothing is being deleted. Returns the paths that went.

    Raises:
        StorageError: store or catalog do not answer.
    """
    intended = await site.catalog.backups.intended()
    if not intended or await asyncio.to_thread(_is_empty, site):
        return []
    spared, deleted = [], []
    for backup_id, event in intended.items():
        path = str(event.data["path"])
        await asyncio.to_thread(site.store.finish_tombstone, path)
        if await asyncio.to_thread(site.store.absolute(path).exists):
            spared.append(backup_id)
        elif await site.catalog.backups.remove(backup_id, replace(event, at=site.now())):
            deleted.append(path)
    if spared:
        await site.catalog.backups.desist(spared)
    return deleted


def _is_empty(site: Site) -> bool:
    """An empty store may be one that is not mounted: what is not there need not be gone."""
    return next(iter(site.store.names()), None) is None


# what is there


async def _enter_found(site: Site, changes: Changes, *, below: str = "", gently: bool = False) -> None:
    async for names in _batches(site, below, gently=gently):
        unwhole = [name.path for name in names if not name.is_whole]
        unlisted = await site.catalog.backups.unlisted([name.path for name in names if name.is_whole])
        for path in sorted([*unwhole, *unlisted]):
            await _look_at(site, path, changes)


async def _batches(site: Site, below: str, *, gently: bool) -> AsyncIterator[Sequence[Name]]:
    source = iter(site.store.names(below))
    began = time.monotonic()
    while names := await asyncio.to_thread(lambda: list(islice(source, _BATCH))):
        yield names
        if gently:
            await asyncio.sleep(time.monotonic() - began)
        began = time.monotonic()


async def _look_at(site: Site, path: str, changes: Changes) -> None:
    entry = await asyncio.to_thread(site.store.entry_at, path)
    stored = entry if isinstance(entry, StoredBackup) else None
    if isinstance(entry, Tombstone):
        await asyncio.to_thread(site.store.finish_tombstone, path)
    elif isinstance(entry, Orphan):
        try:
            stored = await adopt(site, path)
        except VyaError:
            changes.broken.add(path)
    if stored is None:
        return
    if await _is_being_made(site, stored):
        changes.postponed.append(path)
    elif await site.catalog.backups.unlisted([path]) or isinstance(entry, Orphan):
        await site.catalog.backups.record(stored, _adopted(site, stored))
        changes.adopted.append(path)


async def _is_being_made(site: Site, stored: StoredBackup) -> bool:
    """Whether an operation runs that may be about to record it."""
    if site.stock.compared.is_set():
        return False  # the start: nothing runs yet
    running = await site.catalog.operations.list(state=State.RUNNING, kind=OperationKind.BACKUP)
    chosen = [operation.request.get("instances") for operation in running]
    return any(instances is None or stored.manifest.facts.instance in instances for instances in chosen)


def _adopted(site: Site, stored: StoredBackup) -> Event:
    facts = stored.manifest.facts
    data = {"backup_id": facts.id, "path": stored.path}
    return Event("backup.adopted", site.now(), None, facts.instance, facts.database, data=data)


# what is gone


async def _strike_off_gone(site: Site, changes: Changes, *, gently: bool) -> None:
    gone: list[str] = []
    listed, last = 0, ""
    while page := await site.catalog.backups.paths(last, _BATCH):
        began = time.monotonic()
        listed, last = listed + len(page), max(page)
        gone += await asyncio.to_thread(_missing, site, page, changes.broken)
        if gently:
            await asyncio.sleep(time.monotonic() - began)
    if gone and len(gone) == listed and not changes.adopted:
        _log.error("store.all_backups_missing", base_path=str(site.store.base_path), backups=len(gone))
        return
    for backup_id in gone:
        if backup_id not in await site.catalog.backups.intended():
            event = Event("backup.vanished", site.now(), data={"backup_id": backup_id})
            if await site.catalog.backups.remove(backup_id, event):
                changes.vanished.append(backup_id)


def _missing(site: Site, page: dict[str, str], broken: set[str]) -> list[str]:
    """The ids of backups that are listed and not there."""
    store = site.store
    return [each for each, path in page.items() if path in broken or not store.absolute(path).exists()]
