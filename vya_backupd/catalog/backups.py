"""The index of backups. Every row is made from a manifest, and holds it, but for its extents."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.ledger import Count, Ledger
from vya_backupd.catalog.marks import read_mark, write_mark
from vya_backupd.dumpfile.manifest import manifest_from_json, manifest_to_json
from vya_backupd.errors import UsageError
from vya_backupd.model.backup import BackupType, Outline, Proof, StoredBackup
from vya_backupd.model.event import Event

_B = tables.backups.c
_BATCH = 500
_INDEXED = "indexed"
_TYPES = {each.value: each for each in BackupType}
_UNPROVEN = Proof.NONE.value


class LastSize(NamedTuple):
    """How big the last backup was: the file, and the dump in it."""

    size_bytes: int
    raw_size_bytes: int


class Sum(NamedTuple):
    """How many backups, and the size of their files together."""

    backups: int
    size_bytes: int


class BackupIndex:
    """Backups by database and age. Manifests come back without extents: the store has these."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def record(self, stored: StoredBackup, event: Event | None, counts: Iterable[Count] = ()) -> None:
        """Enter a backup, or what became of it: a row of the same id or path gives way."""

        async def change(connection: AsyncConnection) -> None:
            same = sa.or_(_B.id == stored.id, _B.path == stored.path)
            await connection.execute(sa.delete(tables.backups).where(same))
            await connection.execute(sa.insert(tables.backups).values(_row(stored)))

        await self._ledger.write(change, _events(event), counts)

    async def set_manifest(self, stored: StoredBackup, event: Event | None, counts: Iterable[Count] = ()) -> bool:
        """Follow a manifest that was rewritten. False, and no event, when the backup is no longer listed."""

        async def change(connection: AsyncConnection) -> bool:
            done = await connection.execute(sa.update(tables.backups).where(_B.id == stored.id).values(_row(stored)))
            return done.rowcount > 0

        return await self._ledger.write(change, lambda found: _events(event) if found else (), counts)

    async def remove(self, backup_id: str, event: Event | None, counts: Iterable[Count] = ()) -> bool:
        """Strike a backup off. False, and no event, when it was not listed."""

        async def change(connection: AsyncConnection) -> bool:
            done = await connection.execute(sa.delete(tables.backups).where(_B.id == backup_id))
            return done.rowcount > 0

        return await self._ledger.write(change, lambda found: _events(event) if found else (), counts)

    async def replace_all(self, stored: Iterable[StoredBackup], event: Event | None = None) -> int:
        """Make the index anew from what the store has. Returns how many backups that is."""
        rows = [_row(each) for each in stored]

        async def change(connection: AsyncConnection) -> int:
            await connection.execute(sa.delete(tables.backups))
            for start in range(0, len(rows), _BATCH):
                await connection.execute(sa.insert(tables.backups), rows[start : start + _BATCH])
            await write_mark(connection, _INDEXED, "")
            return len(rows)

        return await self._ledger.write(change, _events(event))

    async def is_indexed(self) -> bool:
        """Whether ``replace_all`` has ever been through: a catalog that was just made knows no backups yet."""
        async with self._database.reading() as connection:
            return await read_mark(connection, _INDEXED) is not None

    async def get(self, backup_id: str) -> StoredBackup | None:
        """The backup of this id, or of the only id that begins so.

        Raises:
            UsageError: several begin so.
        """
        query = sa.select(tables.backups).where(_B.id == backup_id)
        begins = sa.select(tables.backups).where(_B.id.startswith(backup_id, autoescape=True)).limit(2)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
            if not rows and backup_id:
                rows = (await connection.execute(begins)).mappings().all()
        if len(rows) > 1:
            raise UsageError(f"several backups have an id that begins with {backup_id}", hint="Give more of the id.")
        return _stored(rows[0]) if rows else None

    async def find(
        self,
        instance: str | None = None,
        database: str | None = None,
        backup_type: BackupType | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> list[StoredBackup]:
        """The backups that fit, newest snapshot first. ``before``: taken then or earlier."""
        query = _chosen(instance, database, backup_type)
        if before is not None:
            query = query.where(_B.taken_at <= before)
        query = query.order_by(_B.taken_at.desc(), _B.id.desc()).limit(limit)
        async with self._database.reading() as connection:
            return [_stored(row) for row in (await connection.execute(query)).mappings()]

    async def latest(self, instance: str, database: str, before: datetime | None = None) -> StoredBackup | None:
        """The newest backup of a database whose snapshot was taken at or before this time."""
        found = await self.find(instance, database, before=before, limit=1)
        return found[0] if found else None

    async def newest_each(self, instance: str | None = None) -> list[StoredBackup]:
        """The newest backup of each database, of one instance or of all."""
        newest = sa.select(_B.instance, _B.database, sa.func.max(_B.taken_at).label("at"))
        if instance is not None:
            newest = newest.where(_B.instance == instance)
        last = newest.group_by(_B.instance, _B.database).subquery()
        matches = (_B.instance == last.c.instance) & (_B.database == last.c.database) & (_B.taken_at == last.c.at)
        query = sa.select(tables.backups).join(last, matches).order_by(_B.instance, _B.database, _B.id.desc())
        async with self._database.reading() as connection:
            found = [_stored(row) for row in (await connection.execute(query)).mappings()]
        # Two of the same microsecond: the one with the higher id, as everywhere.
        places = ((each.manifest.facts.instance, each.manifest.facts.database) for each in reversed(found))
        return list(dict(zip(places, reversed(found), strict=True)).values())[::-1]

    async def earliest(self, instance: str, database: str) -> StoredBackup | None:
        """The oldest backup of a database."""
        query = _chosen(instance, database, None).order_by(_B.taken_at, _B.id).limit(1)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _stored(row)

    async def last_size(self, instance: str, database: str) -> LastSize | None:
        """How big the newest backup of a database is."""
        query = sa.select(_B.size_bytes, _B.raw_size_bytes).where(_B.instance == instance, _B.database == database)
        async with self._database.reading() as connection:
            row = (await connection.execute(query.order_by(_B.taken_at.desc(), _B.id.desc()).limit(1))).first()
        return None if row is None else LastSize(row.size_bytes, row.raw_size_bytes)

    async def outlines(self, instances: Collection[str] | None = None, database: str | None = None) -> list[Outline]:
        """What retention looks at: light rows, of some instances or of all. Only held ones have their manifest read."""
        query = sa.select(*_OUTLINE)
        if instances is not None:
            query = query.where(_B.instance.in_(instances))
        if database is not None:
            query = query.where(_B.database == database)
        async with self._database.reading() as connection:
            return [_outline(row) for row in await connection.execute(query)]

    async def paths(self) -> dict[str, str]:
        """The path of each backup, by id: what is to be compared with the store at start."""
        async with self._database.reading() as connection:
            return {row.id: row.path for row in await connection.execute(sa.select(_B.id, _B.path))}

    async def finished_after(self, moment: datetime | None) -> Sum:
        """The backups that ended later than this; all of them without a moment."""
        query = sa.select(sa.func.count(), sa.func.sum(_B.size_bytes))
        if moment is not None:
            query = query.where(_B.finished_at > moment)
        async with self._database.reading() as connection:
            number, size = (await connection.execute(query)).one()
        return Sum(number, int(size or 0))

    async def count(self) -> int:
        """How many backups are listed."""
        async with self._database.reading() as connection:
            return await connection.scalar(sa.select(sa.func.count()).select_from(tables.backups)) or 0


def _chosen(instance: str | None, database: str | None, backup_type: BackupType | None) -> sa.Select[Any]:
    query = sa.select(tables.backups)
    for column, value in ((_B.instance, instance), (_B.database, database), (_B.type, backup_type)):
        if value is not None:
            query = query.where(column == value)
    return query


def _row(stored: StoredBackup) -> dict[str, Any]:
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
        "manifest": json.dumps(manifest_to_json(replace(manifest, extents=()))),
        "verified_at": manifest.verified_at,
        "held_until": manifest.hold.until if manifest.hold else None,
        "run": facts.run,
    }


_OUTLINE = (
    *(_B.id, _B.path, _B.hostname, _B.instance, _B.database, _B.type, _B.taken_at, _B.size_bytes, _B.proof, _B.run),
    sa.case((_B.held, _B.manifest)).label("held_manifest"),
)


def _outline(row: Any) -> Outline:
    backup_id, path, hostname, instance, database, kind, taken_at, size_bytes, proof, run, held_manifest = row
    return Outline(
        id=backup_id,
        path=path,
        hostname=hostname,
        instance=instance,
        database=database,
        type=_TYPES[kind],
        taken_at=taken_at,
        size_bytes=size_bytes,
        complete=proof != _UNPROVEN,
        hold=manifest_from_json(json.loads(held_manifest)).hold if held_manifest else None,
        run=run or "",
    )


def _stored(row: Any) -> StoredBackup:
    return StoredBackup(manifest_from_json(json.loads(row["manifest"])), row["path"])


def _events(event: Event | None) -> Sequence[Event]:
    return () if event is None else (event,)
