"""The index of backups. Every row is made from a manifest, and holds it, but for its extents."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.backup_rows import OUTLINE, as_outline, as_row, as_stored, as_text, whole
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.ledger import Count, Ledger
from vya_backupd.catalog.marks import read_mark, write_mark
from vya_backupd.dumpfile.manifest import manifest_from_fields
from vya_backupd.errors import UsageError
from vya_backupd.model.backup import BackupType, Outline, StoredBackup
from vya_backupd.model.event import Event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_B = tables.backups.c
_M = tables.manifests.c
_D = tables.deletions.c
_BATCH = 500
_INDEXED = "indexed"
_T = TypeVar("_T")


class LastSize(NamedTuple):
    """How big the last backup was: the file, and the dump in it."""

    size_bytes: int
    raw_size_bytes: int


class Sum(NamedTuple):
    """How many backups, and the size of their files together."""

    backups: int
    size_bytes: int


class Place(NamedTuple):
    """Where in a list of backups, the newest first, one stands; a page of the list begins after it."""

    taken_at: datetime
    id: str


class BackupIndex:
    """Backups by database and age. Manifests come back without extents: the store has these."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def record(self, stored: StoredBackup, event: Event | None, counts: Iterable[Count] = ()) -> None:
        """Enter a backup, or what became of it: a row of the same id or path gives way."""

        async def change(connection: AsyncConnection) -> None:
            previous = await connection.scalar(_previous_size(stored))
            await _enter(connection, [stored])
            if previous is not None:
                row = sa.update(tables.backups).where(_B.id == stored.id)
                await connection.execute(row.values(previous_raw_size_bytes=previous))

        await self._ledger.write(change, _events(event), counts)

    async def set_manifest(self, stored: StoredBackup, event: Event | None, counts: Iterable[Count] = ()) -> bool:
        """Follow a manifest that was rewritten. False, and no event, when the backup is no longer listed."""

        async def change(connection: AsyncConnection) -> bool:
            done = await connection.execute(sa.update(tables.backups).where(_B.id == stored.id).values(as_row(stored)))
            text = sa.update(tables.manifests).where(_M.backup_id == stored.id).values(as_text(stored))
            await connection.execute(text)
            return done.rowcount > 0

        return await self._ledger.write(change, lambda found: _events(event) if found else (), counts)

    async def remove(self, backup_id: str, event: Event | None, counts: Iterable[Count] = ()) -> bool:
        """Strike a backup off. False, and no event, when it was not listed."""

        async def change(connection: AsyncConnection) -> bool:
            await connection.execute(sa.delete(tables.deletions).where(_D.backup_id == backup_id))
            done = await connection.execute(sa.delete(tables.backups).where(_B.id == backup_id))
            return done.rowcount > 0

        return await self._ledger.write(change, lambda found: _events(event) if found else (), counts)

    async def intend(self, deletions: Mapping[str, Event]) -> None:
        """Note that these backups are about to be deleted, by id, with the events that will report it."""
        ids = list(deletions)
        rows = [{"backup_id": each, "event": json.dumps(asdict(deletions[each]), default=str)} for each in ids]

        async def change(connection: AsyncConnection) -> None:
            for batch in _batches(ids):
                await connection.execute(sa.delete(tables.deletions).where(_D.backup_id.in_(batch)))
            await connection.execute(sa.insert(tables.deletions), rows)

        await self._ledger.write(change)

    async def intended(self) -> dict[str, Event]:
        """The deletions that were begun, or about to be, and have not ended."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(sa.select(_D.backup_id, _D.event))).all()
        records = ((backup_id, json.loads(text)) for backup_id, text in rows)
        return {each: Event(**record | {"at": datetime.fromisoformat(record["at"])}) for each, record in records}

    async def desist(self, ids: Sequence[str]) -> None:
        """These backups stay after all."""

        async def change(connection: AsyncConnection) -> None:
            for batch in _batches(ids):
                await connection.execute(sa.delete(tables.deletions).where(_D.backup_id.in_(batch)))

        await self._ledger.write(change)

    async def replace_all(self, stored: Iterable[StoredBackup], event: Event | None = None) -> int:
        """Make the index anew from what the store has. Returns how many backups that is.

        No backup is missing from the list meanwhile that was listed before and is still there.
        """
        ids: set[str] = set()
        for batch in _batches(stored):
            await self.enter(batch)
            ids.update(each.id for each in batch)
        await self.keep_only(ids, event)
        return len(ids)

    async def enter(self, stored: Sequence[StoredBackup]) -> None:
        """Enter backups in one transaction, without an event; rows of their ids or paths give way."""
        await self._ledger.write(lambda connection: _enter(connection, stored))

    async def keep_only(self, ids: AbstractSet[str], event: Event | None = None) -> None:
        """Strike off every backup but these, and take the index as made: everything that there is was entered."""

        async def change(connection: AsyncConnection) -> None:
            listed = (await connection.execute(sa.select(_B.id))).scalars().all()
            strays = [each for each in listed if each not in ids]
            for batch in _batches(strays):
                await connection.execute(sa.delete(tables.backups).where(_B.id.in_(batch)))
            await connection.execute(sa.delete(tables.deletions))
            await write_mark(connection, _INDEXED, "")

        await self._ledger.write(change, _events(event))

    async def is_indexed(self) -> bool:
        """Whether ``replace_all`` has ever been through: a catalog that was just made knows no backups yet."""
        async with self._database.reading() as connection:
            return await read_mark(connection, _INDEXED) is not None

    async def get(self, backup_id: str) -> StoredBackup | None:
        """The backup of this id, or of the only id that begins so.

        Raises:
            UsageError: several begin so.
        """
        query = whole().where(_B.id == backup_id)
        begins = whole().where(_B.id.startswith(backup_id, autoescape=True)).limit(2)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
            if not rows and backup_id:
                rows = (await connection.execute(begins)).all()
        if len(rows) > 1:
            raise UsageError(f"several backups have an id that begins with {backup_id}", hint="Give more of the id.")
        return as_stored(rows[0]) if rows else None

    async def find(
        self,
        instance: str | None = None,
        database: str | None = None,
        backup_type: BackupType | None = None,
        before: datetime | None = None,
        limit: int | None = None,
        after: Place | None = None,
    ) -> list[StoredBackup]:
        """The backups that fit, newest snapshot first. ``before``: taken then or earlier. ``after``: what follows it."""
        query = _chosen(instance, database, backup_type)
        if before is not None:
            query = query.where(_B.taken_at <= before)
        if after is not None:
            here = sa.tuple_(sa.literal(after.taken_at, tables.Moment), sa.literal(after.id))
            query = query.where(sa.tuple_(_B.taken_at, _B.id) < here)
        query = query.order_by(_B.taken_at.desc(), _B.id.desc()).limit(limit)
        async with self._database.reading() as connection:
            return [as_stored(row) for row in await connection.execute(query)]

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
        query = whole().join(last, matches).order_by(_B.instance, _B.database, _B.id.desc())
        async with self._database.reading() as connection:
            found = [as_stored(row) for row in await connection.execute(query)]
        # Two of the same microsecond: the one with the higher id, as everywhere.
        places = ((each.manifest.facts.instance, each.manifest.facts.database) for each in reversed(found))
        return list(dict(zip(places, reversed(found), strict=True)).values())[::-1]

    async def earliest(self, instance: str, database: str) -> StoredBackup | None:
        """The oldest backup of a database."""
        query = _chosen(instance, database, None).order_by(_B.taken_at, _B.id).limit(1)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else as_stored(row)

    async def last_size(self, instance: str, database: str) -> LastSize | None:
        """How big the newest backup of a database is."""
        query = sa.select(_B.size_bytes, _B.raw_size_bytes).where(_B.instance == instance, _B.database == database)
        async with self._database.reading() as connection:
            row = (await connection.execute(query.order_by(_B.taken_at.desc(), _B.id.desc()).limit(1))).first()
        return None if row is None else LastSize(row.size_bytes, row.raw_size_bytes)

    async def outlines(self, instances: Collection[str] | None = None, database: str | None = None) -> list[Outline]:
        """What retention looks at: light rows, of some instances or of all. Only held ones have their manifest read."""
        chosen: sa.ColumnElement[bool] = sa.true()
        if instances is not None:
            chosen = sa.and_(chosen, _B.instance.in_(instances))
        if database is not None:
            chosen = sa.and_(chosen, _B.database == database)
        held = sa.select(_B.id, _M.manifest).join(tables.manifests, _M.backup_id == _B.id).where(_B.held, chosen)
        async with self._database.reading() as connection:
            holds = {each: manifest_from_fields(json.loads(text)).hold for each, text in await connection.execute(held)}
            rows = await connection.execute(sa.select(*OUTLINE).where(chosen))
        return [as_outline(row, holds) for row in rows]

    async def counts(self, instances: Collection[str] | None = None) -> dict[str, int]:
        """How many backups each instance has that has any; of some instances, or of all."""
        query = sa.select(_B.instance, sa.func.count()).group_by(_B.instance)
        if instances is not None:
            query = query.where(_B.instance.in_(instances))
        async with self._database.reading() as connection:
            return dict(tuple(row) for row in await connection.execute(query))

    async def databases(self, instances: Collection[str]) -> set[str]:
        """The names of databases that these instances have backups of."""
        query = sa.select(_B.database).where(_B.instance.in_(instances)).distinct()
        async with self._database.reading() as connection:
            return set((await connection.execute(query)).scalars())

    async def paths(self, after: str = "", limit: int | None = None) -> dict[str, str]:
        """The path of each backup by id, in the order of ids; a page of them: those that follow an id."""
        query = sa.select(_B.id, _B.path).where(_B.id > after).order_by(_B.id).limit(limit)
        async with self._database.reading() as connection:
            return {row.id: row.path for row in await connection.execute(query)}

    async def unlisted(self, paths: Collection[str]) -> set[str]:
        """Of these paths, those at which no backup is listed."""
        found: set[str] = set()
        async with self._database.reading() as connection:
            for batch in _batches(paths):
                found.update((await connection.execute(sa.select(_B.path).where(_B.path.in_(batch)))).scalars())
        return set(paths) - found

    async def of_ids(self, ids: Iterable[str]) -> list[StoredBackup]:
        """The backups of these ids that are listed, in this order."""
        wanted, found = list(ids), dict[str, StoredBackup]()
        async with self._database.reading() as connection:
            for batch in _batches(wanted):
                rows = await connection.execute(whole().where(_B.id.in_(batch)))
                found.update((each.id, each) for each in map(as_stored, rows))
        return [found[each] for each in wanted if each in found]

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


def _previous_size(stored: StoredBackup) -> sa.Select[tuple[int]]:
    """How big the dump was that came before this one."""
    facts = stored.manifest.facts
    here = sa.and_(_B.instance == facts.instance, _B.database == facts.database, _B.taken_at < facts.taken_at)
    return sa.select(_B.raw_size_bytes).where(here).order_by(_B.taken_at.desc(), _B.id.desc()).limit(1)


async def _enter(connection: AsyncConnection, stored: Sequence[StoredBackup]) -> None:
    # A file that somebody copied inside the store has its id twice: the last one stands for it.
    stored = list({each.id: each for each in stored}.values())
    ids, paths = [each.id for each in stored], [each.path for each in stored]
    await connection.execute(sa.delete(tables.backups).where(sa.or_(_B.id.in_(ids), _B.path.in_(paths))))
    await connection.execute(sa.insert(tables.backups), [as_row(each) for each in stored])
    await connection.execute(sa.insert(tables.manifests), [as_text(each) for each in stored])


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    source = iter(items)
    while batch := list(islice(source, _BATCH)):
        yield batch


def _chosen(instance: str | None, database: str | None, backup_type: BackupType | None) -> sa.Select[Any]:
    query = whole()
    for column, value in ((_B.instance, instance), (_B.database, database), (_B.type, backup_type)):
        if value is not None:
            query = query.where(column == value)
    return query


def _events(event: Event | None) -> Sequence[Event]:
    return () if event is None else (event,)
