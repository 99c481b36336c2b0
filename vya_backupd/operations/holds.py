"""Hold, release and delete backups. What is said here is written beside the backup itself, and then indexed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

from vya_backupd.dumpfile.reading import text
from vya_backupd.errors import BusyError, UsageError
from vya_backupd.model.backup import Hold, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.operations.claims import claimed
from vya_backupd.operations.rewriting import rewrite
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import backup_by_id
from vya_backupd.policy.retention import is_held
from vya_backupd.unbroken import to_its_end


async def hold(site: Site, backup_id: str, note: str, until: datetime | None, actor: str) -> StoredBackup:
    """Keep a backup from deletion. A second hold replaces the first.

    Raises:
        UsageError: the note is no text that a manifest can hold.
    """
    try:
        text(note)
    except ValueError:
        raise UsageError(
            "the note is no text that can be kept", hint="Write it in UTF-8, without zero bytes."
        ) from None
    held = Hold(note, actor, site.now(), until)
    return await _rewrite(site, backup_id, held, "backup.held", actor)


async def release(site: Site, backup_id: str, actor: str) -> StoredBackup:
    """End a hold; a backup that is not held stays as it is."""
    return await _rewrite(site, backup_id, None, "backup.released", actor)


async def delete(site: Site, backup_id: str, actor: str, *, allow_held: bool = False) -> StoredBackup:
    """Remove a backup for good.

    Raises:
        BusyError: ``backup_in_use``: it is held, by a hold that has not ended, or read, now or by work that waits.
        StorageError: the store is not the folder that it was.
    """
    stored = await backup_by_id(site, backup_id)
    async with site.manifests:
        await asyncio.to_thread(site.store.recognise)
        manifest = await asyncio.to_thread(site.store.read_manifest, stored.path)
        if manifest.hold is not None and is_held(manifest.hold, site.now()) and not allow_held:
            raise BusyError(
                f"backup {stored.id} is held by {manifest.hold.by}: {manifest.hold.note or 'no note'}",
                code="backup_in_use",
                hint="Release it first: vyactl backups release ID",
                retryable=False,
            )
        if reason := (await claimed(site, [stored.outline])).get(stored.id):
            raise BusyError(
                f"backup {stored.id} cannot go: {reason}", code="backup_in_use", hint="Try again when that has ended."
            )
        await to_its_end(_remove(site, stored, _event(site, "backup.deleted", stored, actor)))
    return stored


async def _remove(site: Site, stored: StoredBackup, event: Event) -> None:
    """Remove files and row as one: noted before, so that a start after a crash ends it and tells it as what it is."""
    await site.catalog.backups.intend({stored.id: event})
    await asyncio.to_thread(site.store.delete, stored)
    await site.catalog.backups.remove(stored.id, event)


async def _rewrite(site: Site, backup_id: str, held: Hold | None, name: str, actor: str) -> StoredBackup:
    stored = await backup_by_id(site, backup_id)
    async with site.manifests:
        manifest = await asyncio.to_thread(site.store.read_manifest, stored.path)
        wanted = replace(manifest, hold=held)
        event = _event(site, name, replace(stored, manifest=wanted), actor)
        return await rewrite(site, stored, wanted, event, point="hold.written")


def _event(site: Site, name: str, stored: StoredBackup, actor: str) -> Event:
    facts, hold = stored.manifest.facts, stored.manifest.hold
    data: dict[str, Any] = {"backup_id": stored.id, "path": stored.path}
    if name == "backup.deleted":
        data["size_bytes"] = stored.manifest.size_bytes
    if name == "backup.held" and hold is not None:
        data |= {"note": hold.note, "until": hold.until.isoformat() if hold.until else "released"}
    return Event(name, site.now(), None, facts.instance, facts.database, actor, data)
