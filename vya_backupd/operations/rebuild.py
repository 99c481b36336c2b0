"""Make the catalog anew from the files alone.

Files are the truth: every readable manifest becomes a row; a data file without a manifest, or in which a verification
found damage, is read wholly and, when it proves itself, gets a new one; deletions that were cut short are ended. What is
damaged is reported and left alone.

Manifests are read by some threads at once, and enter the catalog batch by batch, so that memory does not depend on how
many there are. Rows go last, those of which nothing was found: no backup is missing from the list in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import structlog

from vya_backupd import faults
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import Proof, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Progress, State
from vya_backupd.operations.adopting import adopt
from vya_backupd.operations.site import Site
from vya_backupd.operations.work import Work
from vya_backupd.storage import Damaged, Entry, Name, Tombstone

_log = structlog.get_logger("vya.rebuild")

STEP = ("store", "catalog")
"""The one step of a rebuild."""

_BATCH = 500
_READERS = 4
"""Threads that read manifests: a disk that is asked for several files answers sooner than for one after another."""


class RebuildHandler:
    """Runs operations of kind ``rebuild``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def resources(self, request: dict[str, Any]) -> frozenset[str]:  # noqa: ARG002 - a rebuild has no options
        """Every instance: a backup that is published meanwhile must not fall out of the index."""
        return frozenset({f"instance:{each}" for each in self._site.settings.instances} | {"catalog"})

    async def run(self, work: Work) -> dict[str, Any]:
        """See the module's text."""
        await self._site.catalog.check()
        await work.plan_steps([STEP])
        await work.step_started(*STEP)
        result = await rebuild(self._site, work.operation.submitted_by, work)
        error = result["damaged"][0] if result["damaged"] else None
        await work.step_finished(*STEP, State.SUCCEEDED, detail=result | ({"first_damage": error} if error else {}))
        return result


@dataclass(slots=True)
class _Found:
    """What a rebuild has come to so far. ``seen``: ids of the backups in the catalog's new index."""

    seen: set[str] = field(default_factory=set)
    adopted: list[str] = field(default_factory=list)
    damaged: list[dict[str, Any]] = field(default_factory=list)


async def rebuild(site: Site, actor: str, work: Work | None = None) -> dict[str, Any]:
    """Read the store and replace the index. Returns what was found.

    Raises:
        StorageError: store or catalog do not answer; the index is what it was, but for rows that were entered.
    """
    await asyncio.to_thread(site.store.finish_tombstones)
    found = _Found()
    expected = await site.catalog.backups.count()
    async for entries in _entries(site):
        await _take(site, entries, found)
        faults.point("rebuild.read")
        if work is not None:
            done = len(found.seen)
            work.progress(Progress(work.operation.id, *STEP, "reading", done, max(done, expected)))
    counts = {"backups": len(found.seen), "adopted": found.adopted, "damaged": found.damaged}
    event = Event("catalog.rebuilt", site.now(), work.operation.id if work else None, actor=actor, data=counts)
    await site.catalog.backups.keep_only(found.seen, event)
    faults.point("rebuild.entered")
    return counts


async def _entries(site: Site) -> AsyncIterator[Sequence[Entry]]:
    """Everything in the store, batch by batch; the next one is read while one is worked on."""
    source = iter(site.store.names())

    def look(names: Sequence[Name]) -> list[Entry]:
        return [entry for each in names if (entry := site.store.entry_at(each.path)) is not None]

    async def read() -> list[Entry] | None:
        names = await asyncio.to_thread(lambda: list(islice(source, _BATCH)))
        parts = await asyncio.gather(*(asyncio.to_thread(look, names[each::_READERS]) for each in range(_READERS)))
        return [entry for part in parts for entry in part] if names else None

    following = asyncio.create_task(read())
    try:
        while (entries := await following) is not None:
            following = asyncio.create_task(read())
            yield entries
    finally:
        following.cancel()


async def _take(site: Site, entries: Sequence[Entry], found: _Found) -> None:
    """Enter what is whole, make whole what can be, and note the rest."""
    stored: list[StoredBackup] = []
    for entry in entries:
        if isinstance(entry, StoredBackup) and entry.manifest.proof is not Proof.NONE:
            stored.append(entry)
        elif isinstance(entry, Damaged) and not entry.data_exists:
            found.damaged.append({"file": entry.path, "error": entry.error.to_json()})
        elif not isinstance(entry, Tombstone):
            try:
                stored.append(await adopt(site, entry.path))
                found.adopted.append(entry.path)
            except VyaError as error:
                found.damaged.append({"file": entry.path, "error": error.to_json()})
                stored += [entry] if isinstance(entry, StoredBackup) else []
    if stored:
        await site.catalog.backups.enter(stored)
        found.seen.update(each.id for each in stored)
