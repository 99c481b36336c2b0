from datetime import UTC, datetime, timedelta
from typing import Any

from vya_backupd.model.backup import BackupFacts, BackupType, Extent, Manifest, Section, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.operation import Operation, OperationKind, State, Step

NIGHT = datetime(2026, 1, 9, 2, 0, 0, 123456, tzinfo=UTC)


def backup(
    backup_id: str = "b1",
    *,
    instance: str = "pg-01",
    database: str = "shop",
    hours: float = 0,
    backup_type: BackupType = BackupType.FULL,
    size: int = 1000,
    extents: tuple[Extent, ...] = (),
) -> StoredBackup:
    taken_at = NIGHT + timedelta(hours=hours)
    facts = BackupFacts(
        id=backup_id,
        instance=instance,
        database=database,
        engine=EngineKind.POSTGRESQL,
        type=backup_type,
        hostname="site",
        started_at=taken_at,
        taken_at=taken_at,
        server_version="18.0",
        tool="pg_dump 18.0",
        compression_level=6,
        properties={"encoding": "UTF8"},
    )
    manifest = Manifest(
        facts=facts,
        filename=f"{backup_id}.sql.gz",
        size_bytes=size,
        raw_size_bytes=10 * size,
        members=3,
        checksum_algorithm="sha256",
        checksum="0" * 64,
        duration_seconds=1.5,
        finished_at=taken_at + timedelta(seconds=2),
        extents=extents,
    )
    return StoredBackup(manifest, f"site/{instance}/{backup_id}.sql.gz")


EXTENTS = tuple(Extent(Section.DATA, f"public.t{number}", number, 1, 10) for number in range(3))


def operation(operation_id: str = "op1", *, hours: float = 0, **changes: Any) -> Operation:
    fields: dict[str, Any] = {
        "id": operation_id,
        "kind": OperationKind.BACKUP,
        "state": State.QUEUED,
        "request": {"instances": None, "databases": ["ü"]},
        "submitted_at": NIGHT + timedelta(hours=hours),
        "submitted_by": "anna",
    }
    return Operation(**fields | changes)


def event(name: str = "backup.published", *, seconds: float = 0, **changes: Any) -> Event:
    return Event(name, NIGHT + timedelta(seconds=seconds), **changes)


TWO_STEPS = (Step("pg-01", "shop"), Step("pg-01", "blog"))
