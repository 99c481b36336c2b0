"""Backups as rows of the catalog, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.dumpfile.manifest import manifest_from_fields, manifest_to_fields
from vya_backupd.model.backup import BackupType, Hold, Outline, Proof, StoredBackup

_B = tables.backups.c
_M = tables.manifests.c
_TYPES = {each.value: each for each in BackupType}
_UNPROVEN = Proof.NONE.value


def whole() -> sa.Select[Any]:
    """What ``as_stored`` takes."""
    return sa.select(_B.path, _M.manifest).join(tables.manifests, _M.backup_id == _B.id)


def as_row(stored: StoredBackup) -> dict[str, Any]:
    """What is asked for, in columns."""
    manifest = stored.manifest
    facts = manifest.facts
    return {
        "id": facts.id,
        "path": stored.path,
        "hostname": facts.hostname,
        "instance": facts.instance,
        "database": facts.database,
        "engine": facts.engine.value,
        "type": facts.type.value,
        "taken_at": facts.taken_at,
        "finished_at": manifest.finished_at,
        "size_bytes": manifest.size_bytes,
        "raw_size_bytes": manifest.raw_size_bytes,
        "proof": manifest.proof.value,
        "held": manifest.hold is not None,
        "verified_at": manifest.verified_at,
        "held_until": manifest.hold.until if manifest.hold else None,
        "run": facts.run,
        "read_at": manifest.verified_at or manifest.finished_at,
    }


def as_text(stored: StoredBackup) -> dict[str, str]:
    """The manifest, but for its extents."""
    fields = manifest_to_fields(replace(stored.manifest, extents=()))
    return {"backup_id": stored.id, "manifest": json.dumps(fields)}


OUTLINE = (
    _B.id,
    _B.path,
    _B.hostname,
    _B.instance,
    _B.database,
    _B.type,
    _B.taken_at,
    _B.size_bytes,
    _B.proof,
    _B.run,
)
"""The columns that retention looks at."""


def as_outline(row: Any, holds: Mapping[str, Hold | None]) -> Outline:
    """From the columns of ``OUTLINE``; the holds of those that are held come from elsewhere, by id."""
    backup_id, path, hostname, instance, database, kind, taken_at, size_bytes, proof, run = row
    hold, is_complete = holds.get(backup_id), proof != _UNPROVEN
    place = (hostname, instance, database, _TYPES[kind])
    return Outline(backup_id, path, *place, taken_at, size_bytes, is_complete, hold, run or "")


def as_stored(row: Any) -> StoredBackup:
    """From a row of ``whole``."""
    path, text = row
    return StoredBackup(manifest_from_fields(json.loads(text)), path)
