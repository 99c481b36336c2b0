"""Changing what a manifest says of a backup that stands: its proof, its hold.

The manifest in the store is the truth, so it is written first, and the catalog follows. What is about to be written is
noted in the catalog before, with the event that tells of it: when the daemon dies in between, the next start finds the
note, reads that one manifest, and lets the catalog follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import asdict, replace
from datetime import datetime

from vya_backupd import faults
from vya_backupd.errors import IntegrityError, NotFoundError, VyaError
from vya_backupd.model.backup import Manifest, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.operations.site import Site
from vya_backupd.unbroken import to_its_end

MARK = "manifest.rewriting"
"""The catalog's note of the manifest that was last rewritten, or is about to be."""


async def rewrite(site: Site, stored: StoredBackup, manifest: Manifest, event: Event, *, point: str) -> StoredBackup:
    """Write the manifest, then the catalog's row and the event; ``site.manifests`` is held by the caller.

    ``point`` is passed between the two.

    Raises:
        StorageError: store or catalog refused. If it was the catalog, it follows later.
        NotFoundError: the backup is gone.
    """
    return await to_its_end(_rewrite(site, stored, manifest, event, point))


async def _rewrite(site: Site, stored: StoredBackup, manifest: Manifest, event: Event, point: str) -> StoredBackup:
    if site.is_catalog_behind:
        await settle_rewritten(site)
    note = {"id": stored.id, "path": stored.path, "event": asdict(event)}
    await site.catalog.marks.set(MARK, json.dumps(note, default=str))
    site.is_catalog_behind = True
    try:
        changed = await asyncio.to_thread(site.store.rewrite_manifest, stored, manifest)
        faults.point(point)
        await site.catalog.backups.set_manifest(changed, event)
    except BaseException:
        with contextlib.suppress(VyaError):  # the first failure counts; what cannot follow now follows later
            await settle_rewritten(site)
        raise
    site.is_catalog_behind = False
    return changed


async def settle_rewritten(site: Site) -> None:
    """Let the catalog follow the manifest that was last rewritten, where it does not yet.

    Raises:
        StorageError: store or catalog do not answer.
    """
    text = await site.catalog.marks.get(MARK)
    if text is not None:
        note = json.loads(text)
        known = await site.catalog.backups.get(note["id"])
        with contextlib.suppress(NotFoundError, IntegrityError):  # gone, or damaged: not ours to judge here
            manifest = await asyncio.to_thread(site.store.read_manifest, note["path"])
            if known is not None and _said(known.manifest) != _said(manifest):
                event = Event(**note["event"] | {"at": datetime.fromisoformat(note["event"]["at"])})
                await site.catalog.backups.set_manifest(replace(known, manifest=manifest), event)
    site.is_catalog_behind = False


def _said(manifest: Manifest) -> tuple[object, ...]:
    """What of a manifest changes as long as its backup stands."""
    return manifest.proof, manifest.verified_at, manifest.hold
