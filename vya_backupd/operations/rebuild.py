"""Make the catalog anew from the files alone.

Files are the truth: every readable manifest becomes a row; a data file without a manifest is read wholly and, when it
proves itself, gets a new one; deletions that were cut short are ended. What is damaged is reported and left alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from vya_backupd.dumpfile.segment import SMALLEST_HEADER, looks_labelled
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Progress, State
from vya_backupd.operations.site import Site
from vya_backupd.operations.work import Work
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.verify import VerifyTerms, verify
from vya_backupd.storage import Damaged, Orphan

_log = structlog.get_logger("vya.rebuild")

STEP = ("store", "catalog")
"""The one step of a rebuild."""


class RebuildHandler:
    """Runs operations of kind ``rebuild``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def resources(self, request: dict[str, Any]) -> frozenset[str]:  # noqa: ARG002 - a rebuild has no options
        """Every instance: a backup that is published meanwhile must not fall out of the index."""
        return frozenset({f"instance:{each}" for each in self._site.settings.instances} | {"catalog"})

    async def run(self, work: Work) -> dict[str, Any]:
        """See the module's text."""
        await work.plan_steps([STEP])
        await work.step_started(*STEP)
        result = await rebuild(self._site, work.operation.submitted_by, work)
        error = _first_damage(result)
        await work.step_finished(*STEP, State.SUCCEEDED, detail=result | ({"first_damage": error} if error else {}))
        return result


async def rebuild(site: Site, actor: str, work: Work | None = None) -> dict[str, Any]:
    """Read the store and replace the index. Returns what was found."""
    await asyncio.to_thread(site.store.finish_tombstones)
    entries = await asyncio.to_thread(lambda: list(site.store.list()))
    stored = [entry for entry in entries if isinstance(entry, StoredBackup)]
    adopted, damaged = [], []
    for entry in entries:
        if work is not None:
            work.progress(Progress(work.operation.id, *STEP, "reading", len(stored), len(entries)))
        if isinstance(entry, Orphan) or (isinstance(entry, Damaged) and entry.data_exists):
            try:
                stored.append(await adopt(site, entry.path))
                adopted.append(entry.path)
            except VyaError as error:
                damaged.append({"file": entry.path, "error": error.to_json()})
        elif isinstance(entry, Damaged):
            damaged.append({"file": entry.path, "error": entry.error.to_json()})
    counts = {"backups": len(stored), "adopted": adopted, "damaged": damaged}
    event = Event("catalog.rebuilt", site.now(), work.operation.id if work else None, actor=actor, data=counts)
    await site.catalog.backups.replace_all(stored, event)
    return counts


async def adopt(site: Site, path: str) -> StoredBackup:
    """Give a data file its checksum file and manifest, after reading it wholly.

    A hold was lost with the manifest, unless the catalog still knows it.

    Raises:
        IntegrityError: the file does not prove itself; it stays as it is.
    """
    file = site.store.absolute(path)
    result = await verify(file, site.pool, VerifyTerms()) if await asyncio.to_thread(_is_ours, file) else None
    if result is None or result.manifest is None:
        raise VyaError(
            f"{path} is not a file of ours", code="not_a_dump", hint="Move foreign files out of the backup folder."
        )
    known = await site.catalog.backups.get(result.manifest.facts.id)
    manifest = replace(result.manifest, hold=known.manifest.hold) if known else result.manifest
    return await asyncio.to_thread(site.store.adopt, path, manifest)


def _is_ours(file: Path) -> bool:
    """Whether a file begins as ours do: a foreign one is not read to its end at every start."""
    with open_source(file) as source:
        return looks_labelled(source.read_at(0, SMALLEST_HEADER))


async def reconcile(site: Site) -> dict[str, Any]:
    """Bring a whole catalog to what the store holds, for the start of the daemon. Returns what was changed, if anything.

    A crash leaves three things behind: a file without its manifest, a backup that was published and never recorded, and
    a row whose backup was deleted. A row also goes when its file lost the manifest and cannot prove itself. Files that
    do not prove themselves are passed over: ``catalog rebuild`` reports them. When every backup is gone at once, the
    file system is more likely not mounted than emptied: then no row goes, until ``catalog rebuild`` is asked for.
    """
    known = await site.catalog.backups.paths()
    entries = await asyncio.to_thread(lambda: list(site.store.list(known=set(known.values()))))
    adopted, broken = [], set()
    for entry in entries:
        stored = entry if isinstance(entry, StoredBackup) else None
        if isinstance(entry, Orphan):
            try:
                stored = await adopt(site, entry.path)
            except VyaError:
                broken.add(entry.path)
        if stored is not None:
            await site.catalog.backups.record(stored, _event(site, "backup.adopted", stored))
            adopted.append(stored.path)
    gone = [backup_id for backup_id, path in known.items() if path in broken or not site.store.absolute(path).exists()]
    if gone and len(gone) == len(known) and not adopted:
        _log.error("store.all_backups_missing", base_path=str(site.store.base_path), backups=len(gone))
        return {}
    for backup_id in gone:
        await site.catalog.backups.remove(
            backup_id, Event("backup.vanished", site.now(), data={"backup_id": backup_id})
        )
    return {key: value for key, value in (("adopted", adopted), ("vanished", gone)) if value}


def _event(site: Site, name: str, stored: StoredBackup) -> Event:
    facts = stored.manifest.facts
    data = {"backup_id": facts.id, "path": stored.path}
    return Event(name, site.now(), None, facts.instance, facts.database, data=data)


def _first_damage(result: dict[str, Any]) -> dict[str, Any] | None:
    return result["damaged"][0] if result["damaged"] else None
