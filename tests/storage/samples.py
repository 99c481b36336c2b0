"""Backups to store: any bytes with a manifest that fits them."""

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from vya_backupd.dumpfile.manifest import checksum_line, decode_manifest, encode_manifest
from vya_backupd.model.backup import BackupFacts, BackupType, Manifest, SchemaInfo, StoredBackup
from vya_backupd.model.instance import EngineKind
from vya_backupd.storage.base import ManifestCodec, Store

CODEC = ManifestCodec(encode_manifest, decode_manifest, checksum_line)
NIGHT = datetime(2026, 1, 9, 2, 0, tzinfo=UTC)
PATH = "site/pg-01/shop/2026-01-09/shop_20260109_020000_full.sql.gz"


def manifest_for(
    content: bytes,
    backup_id: str = "b1",
    *,
    database: str = "shop",
    backup_type: BackupType = BackupType.FULL,
    taken_at: datetime = NIGHT,
) -> Manifest:
    facts = BackupFacts(
        id=backup_id,
        instance="pg-01",
        database=database,
        engine=EngineKind.POSTGRESQL,
        type=backup_type,
        hostname="site",
        started_at=taken_at - timedelta(seconds=1),
        taken_at=taken_at,
        server_version="18.0",
        tool="pg_dump 18.0",
        compression_level=6,
    )
    return Manifest(
        facts=facts,
        filename="",
        size_bytes=len(content),
        raw_size_bytes=10 * len(content),
        members=3,
        checksum_algorithm="sha256",
        checksum=hashlib.sha256(content).hexdigest(),
        duration_seconds=1.5,
        finished_at=taken_at + timedelta(seconds=2),
        schema_info=SchemaInfo(tables_count=4),
    )


async def publish(
    store: Store, content: bytes = b"data", path: str = PATH, manifest: Manifest | None = None
) -> StoredBackup:
    manifest = manifest or manifest_for(content)
    partial = await store.new_partial(manifest.facts.id)
    os.write(partial.fd, content)
    return await store.publish(partial, path, manifest)


def renamed(manifest: Manifest, filename: str) -> Manifest:
    return replace(manifest, filename=filename)
