"""The newest backups of each database as plain rows, without their manifests: for reports that compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database

_B = tables.backups.c


@dataclass(frozen=True, slots=True)
class RecentBackup:
    """A backup, as far as a report needs it. Sizes in bytes, times in UTC."""

    id: str
    instance: str
    database: str
    taken_at: datetime
    finished_at: datetime
    size_bytes: int


class Recency:
    """What each database has of late."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, instances: Sequence[str], each: int = 2) -> list[RecentBackup]:
        """The newest backups of each database of these instances, the newest first within a database."""
        place = sa.func.row_number().over(
            partition_by=(_B.instance, _B.database), order_by=(_B.taken_at.desc(), _B.id.desc())
        )
        wanted = (_B.id, _B.instance, _B.database, _B.taken_at, _B.finished_at, _B.size_bytes)
        ranked = sa.select(*wanted, place.label("place")).where(_B.instance.in_(instances)).subquery()
        columns = [ranked.c[column.name] for column in wanted]
        query = sa.select(*columns).where(ranked.c.place <= each)
        query = query.order_by(ranked.c.instance, ranked.c.database, ranked.c.place)
        async with self._database.reading() as connection:
            return [RecentBackup(**row) for row in (await connection.execute(query)).mappings()]
