"""What the catalog says of all backups together: the figures behind metrics, health and re-verification.

One reading is one state of the database. Manifests are not touched, so that 100,000 backups are summed in a moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.history import read_last_ends
from vya_backupd.catalog.marks import read_mark
from vya_backupd.model.backup import Proof
from vya_backupd.model.event import Event
from vya_backupd.policy.forecast import Change
from vya_backupd.policy.retention import LAST_SUCCESS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_B = tables.backups.c
_E = tables.events.c
_PAGE = 500
_PAGES_READ = 40
"""How far back the last end of an instance's work is looked for: 20,000 operations."""

_SIGNS = {"backup.published": 1, "backup.expired": -1, "backup.deleted": -1, "backup.vanished": -1}
_MOST_CHANGES = 20_000


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest backup of a database. ``raw_size_bytes``: of its dump; ``previous_raw_size_bytes``: of the one before."""

    engine: str
    instance: str
    database: str
    taken_at: datetime
    finished_at: datetime
    raw_size_bytes: int
    previous_raw_size_bytes: int | None = None


class Stock(NamedTuple):
    """All backups of an instance. ``since``: the end of the one that was made first."""

    engine: str
    instance: str
    backups: int
    size_bytes: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Readings:
    """When files were read wholly, the last time. A file that never was counts from its end.

    ``oldest``, ``newest``: the least and the most recent; None without backups, or before the first reading.
    """

    oldest: datetime | None = None
    newest: datetime | None = None
    never: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages of one channel that wait: how many, and since when the first of them does."""

    channel: str
    messages: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of the backups: worth reading again when one came or went."""

    newest: tuple[Newest, ...] = ()
    stock: tuple[Stock, ...] = ()
    readings: Readings = Readings()


@dataclass(frozen=True, slots=True)
class Errands:
    """What is to be done besides, quickly read.

    ``retention_at``: when retention last came to a good end. ``given_up``: messages that were, since the time asked for.
    """

    waiting: tuple[Waiting, ...] = ()
    given_up: int = 0
    retention_at: datetime | None = None


class LeastRead(NamedTuple):
    """A backup whose turn it is to be read again. ``read_at``: its last reading, or its end."""

    id: str
    instance: str
    database: str
    size_bytes: int
    read_at: datetime


class FigureQueries:
    """Sums over the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, until: datetime) -> Figures:
        """The figures of now. Snapshots later than ``until`` are a wrong clock's: no newest ones."""
        async with self._database.reading() as connection:
            return Figures(
                await _newest(connection, until),
                await _stock(connection),
                await _readings(connection),
            )

    async def errands(self, given_up_since: datetime) -> Errands:
        """What waits, what was given up, and what came round."""
        async with self._database.reading() as connection:
            return Errands(
                await _waiting(connection),
                await _given_up(connection, given_up_since),
                await _retention_at(connection),
            )

    async def last_ends(self, instances: set[str]) -> list[Event]:
        """``operation.finished`` events, newest first, as far back as it takes to see each of these instances."""
        unseen, found, before = set(instances), list[Event](), None
        async with self._database.reading() as connection:
            for _ in range(_PAGES_READ):
                page = await _ends(connection, before)
                for number, event in page:
                    before = number
                    found.append(event)
                    if event.data.get("kind") == "backup" and not event.data.get("dry_run"):
                        unseen -= set(event.data.get("instances", {}))
                if len(page) < _PAGE or not unseen:
                    break
            return found + await read_last_ends(connection, sorted(unseen))

    async def newest_sizes(self, until: datetime) -> dict[tuple[str, str], int]:
        """How big the file of each database's newest backup is; later snapshots than ``until`` are a wrong clock's."""
        newest = sa.select(_B.instance, _B.database, sa.func.max(_B.taken_at).label("at")).where(_B.taken_at <= until)
        last = newest.group_by(_B.instance, _B.database).subquery()
        same = (_B.instance == last.c.instance) & (_B.database == last.c.database) & (_B.taken_at == last.c.at)
        query = sa.select(_B.instance, _B.database, _B.size_bytes).join(last, same)
        async with self._database.reading() as connection:
            return {(row.instance, row.database): row.size_bytes for row in await connection.execute(query)}

    async def changes(self, since: datetime) -> list[Change]:
        """Backups that came and went, by the events of them: the newest ``_MOST_CHANGES`` since this moment."""
        query = sa.select(_E.name, _E.at, _E.data).where(_E.name.in_(_SIGNS), _E.at >= since)
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(_E.id.desc()).limit(_MOST_CHANGES))
            return [Change(at, _SIGNS[name] * int(json.loads(data).get("size_bytes", 0))) for name, at, data in rows]

    async def least_verified(self, before: datetime, limit: int = 1000) -> list[LeastRead]:
        """Backups that were last read, or else made, before this moment; the longest ago first."""
        columns = (_B.id, _B.instance, _B.database, _B.size_bytes, _B.read_at)
        query = sa.select(*columns).where(_B.read_at < before).order_by(_B.read_at, _B.id).limit(limit)
        async with self._database.reading() as connection:
            return [LeastRead(*row) for row in await connection.execute(query)]


async def _newest(connection: AsyncConnection, until: datetime) -> tuple[Newest, ...]:
    # One step through an index for each database, and two look-ups: never a sort of all backups.
    newest, before = tables.backups.alias("newest"), tables.backups.alias("before")
    places = sa.select(_B.instance, _B.database).distinct().subquery("places")
    ranks = (_ranked(places, rank, until).label(f"rank_{rank}") for rank in (1, 2))
    ranked = sa.select(*ranks).select_from(places).subquery("ranked")
    columns = (newest.c.engine, newest.c.instance, newest.c.database, newest.c.taken_at, newest.c.finished_at)
    previous = sa.func.coalesce(before.c.raw_size_bytes, newest.c.previous_raw_size_bytes)
    query = sa.select(*columns, newest.c.raw_size_bytes, previous)
    query = query.join_from(ranked, newest, newest.c.id == ranked.c.rank_1)
    query = query.outerjoin(before, before.c.id == ranked.c.rank_2)
    rows = await connection.execute(query.order_by(newest.c.instance, newest.c.database))
    return tuple(Newest(*row) for row in rows)


def _ranked(places: sa.Subquery, rank: int, until: datetime) -> sa.ScalarSelect[str]:
    """The id of a place's newest complete backup, or of the one before; none where there is none."""
    inner = tables.backups.alias(f"of_rank_{rank}")
    here = sa.and_(inner.c.instance == places.c.instance, inner.c.database == places.c.database)
    here = sa.and_(here, inner.c.proof != Proof.NONE.value)
    query = sa.select(inner.c.id).where(here, inner.c.taken_at <= until)
    return query.order_by(inner.c.taken_at.desc(), inner.c.id.desc()).limit(1).offset(rank - 1).scalar_subquery()


async def _stock(connection: AsyncConnection) -> tuple[Stock, ...]:
    sums = (sa.func.count(), sa.func.sum(_B.size_bytes), sa.func.min(_B.finished_at))
    query = sa.select(_B.engine, _B.instance, *sums).group_by(_B.engine, _B.instance).order_by(_B.instance, _B.engine)
    rows = await connection.execute(query)
    return tuple(Stock(engine, instance, number, int(size), since) for engine, instance, number, size, since in rows)


async def _readings(connection: AsyncConnection) -> Readings:
    unread = sa.select(sa.func.count()).select_from(tables.backups).where(_B.verified_at.is_(None))
    never = await connection.scalar(unread) or 0
    oldest = await connection.scalar(sa.select(sa.func.min(_B.read_at)))
    newest = await connection.scalar(sa.select(sa.func.max(_B.verified_at)))
    return Readings(oldest, newest, never)


async def _waiting(connection: AsyncConnection) -> tuple[Waiting, ...]:
    outbox = tables.outbox.c
    query = sa.select(outbox.channel, sa.func.count(), sa.func.min(outbox.created_at)).where(outbox.state == "waiting")
    rows = await connection.execute(query.group_by(outbox.channel).order_by(outbox.channel))
    return tuple(Waiting(*row) for row in rows)


async def _given_up(connection: AsyncConnection, since: datetime) -> int:
    outbox = tables.outbox.c
    query = sa.select(sa.func.count()).where(outbox.state == "given_up", outbox.ended_at >= since)
    return await connection.scalar(query) or 0


async def _retention_at(connection: AsyncConnection) -> datetime | None:
    """Only a run over everything counts: those after each backup would hide a daily one that keeps failing."""
    at = await read_mark(connection, LAST_SUCCESS)
    return None if at is None else datetime.fromisoformat(at)


async def _ends(connection: AsyncConnection, before: int | None) -> list[tuple[int, Event]]:
    query = sa.select(_E.id, _E.at, _E.operation_id, _E.data).where(_E.name == "operation.finished")
    if before is not None:
        query = query.where(_E.id < before)
    rows = await connection.execute(query.order_by(_E.id.desc()).limit(_PAGE))
    return [(row.id, Event("operation.finished", row.at, row.operation_id, data=json.loads(row.data))) for row in rows]
