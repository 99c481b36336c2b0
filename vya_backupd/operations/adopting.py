"""Taking in a data file of ours whose manifest is missing or doubted: it is read wholly, and described anew."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

from vya_backupd.dumpfile.segment import SMALLEST_HEADER, looks_labelled
from vya_backupd.errors import IntegrityError, NotFoundError, VyaError
from vya_backupd.model.backup import Hold, StoredBackup
from vya_backupd.operations.site import Site
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.verify import VerifyTerms, verify


async def adopt(site: Site, path: str) -> StoredBackup:
    """Give a data file its checksum file and manifest, after reading it wholly.

    A hold that was lost with the manifest comes from the catalog, if that still knows it.

    Raises:
        IntegrityError: the file does not prove itself; it stays as it is.
    """
    file = site.store.absolute(path)
    result = await verify(file, site.pool, VerifyTerms()) if await asyncio.to_thread(_is_ours, file) else None
    if result is None or result.manifest is None:
        raise VyaError(
            f"{path} is not a file of ours", code="not_a_dump", hint="Move foreign files out of the backup folder."
        )
    async with site.manifests:
        hold = await _hold_of(site, path, result.manifest.facts.id)
        return await asyncio.to_thread(site.store.adopt, path, replace(result.manifest, hold=hold))


async def _hold_of(site: Site, path: str, backup_id: str) -> Hold | None:
    with contextlib.suppress(NotFoundError, IntegrityError):
        return (await asyncio.to_thread(site.store.read_manifest, path)).hold
    known = await site.catalog.backups.get(backup_id)
    return known.manifest.hold if known else None


def _is_ours(file: Path) -> bool:
    """Whether a file begins as ours do: a foreign one is not read to its end at every start."""
    with open_source(file) as source:
        return looks_labelled(source.read_at(0, SMALLEST_HEADER))
