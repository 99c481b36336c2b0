"""A backup that was published enters the catalog.

A catalog that refuses takes nothing back: the backup stands, and the next start would find it. Until then nobody would
see it, and a daemon lives for months; so it is kept in mind, and offered again at every look of the daemon at itself.
"""

from __future__ import annotations

import asyncio

from vya_backupd.errors import StorageError, VyaError
from vya_backupd.model.backup import StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.operations.site import Site


async def record(site: Site, stored: StoredBackup, event: Event) -> None:
    """Enter a backup and the event that tells of it.

    Raises:
        StorageError: the catalog refused, for now. Another dump would not help: this one is there.
    """
    try:
        await site.catalog.backups.record(stored, event)
    except VyaError as error:
        site.unrecorded.append((stored, event))
        raise StorageError(
            f"the backup {stored.path} is complete, and the catalog did not take it: {error.message}",
            code=error.code,
            hint=f"It will be listed once the catalog can be written. {error.hint}".strip(),
        ) from error


async def record_late(site: Site) -> None:
    """Offer the catalog again what it refused, unless that has gone meanwhile, or was found by somebody else.

    Raises:
        StorageError: it still refuses; the rest waits for the next time.
    """
    for each in list(site.unrecorded):
        stored, event = each
        is_there = await asyncio.to_thread(site.store.holds, stored.path, stored.manifest.size_bytes)
        if is_there and await site.catalog.backups.unlisted([stored.path]):
            await site.catalog.backups.record(stored, event)
        site.unrecorded.remove(each)
