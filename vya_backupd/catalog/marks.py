"""Single facts that the catalog keeps by name: how far an observer has read, when something was last done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_M = tables.marks.c


class Marks:
    """Texts by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """The text under this name; None where there is none."""
        async with self._database.reading() as connection:
            return await read_mark(connection, name)

    async def set(self, name: str, value: str) -> None:
        """Put a text under a name, in place of an earlier one."""
        await self._database.write(lambda connection: write_mark(connection, name, value))


async def read_mark(connection: AsyncConnection, name: str) -> str | None:
    """As ``Marks.get``, within a transaction."""
    value: str | None = await connection.scalar(sa.select(_M.value).where(_M.name == name))
    return value


async def write_mark(connection: AsyncConnection, name: str, value: str) -> None:
    """As ``Marks.set``, within a transaction: with the change that the mark belongs to."""
    await connection.execute(sa.delete(tables.marks).where(_M.name == name))
    await connection.execute(sa.insert(tables.marks).values(name=name, value=value))
