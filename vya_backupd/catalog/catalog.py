"""The catalog as one thing: open it, ask its parts, close it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from vya_backupd.catalog import migrate, tables
from vya_backupd.catalog.backups import BackupIndex
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.events import EventLog
from vya_backupd.catalog.failures import DamagedCatalogError
from vya_backupd.catalog.figures import FigureQueries
from vya_backupd.catalog.history import History
from vya_backupd.catalog.ledger import Counting, Ledger, Total, count_nothing
from vya_backupd.catalog.marks import Marks, write_mark
from vya_backupd.catalog.operations import OperationLog
from vya_backupd.catalog.outbox import Outbox
from vya_backupd.catalog.recency import Recency
from vya_backupd.catalog.schedules import ScheduleLog
from vya_backupd.model.event import Event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class Catalog:
    """The index of backups, the record of operations and events, and the stored totals.

    ``counting`` says what each event adds to the totals. After ``open``, ``needs_rebuild`` tells that the backups
    are yet to be read from the store (``backups.replace_all``); ``moved_aside`` is where a damaged file went, or None.
    """

    def __init__(self, url: str, *, counting: Counting = count_nothing) -> None:
        self._database = Database(url)
        self.events = EventLog(self._database)
        self._ledger = Ledger(self._database, self.events, counting)
        self.backups = BackupIndex(self._database, self._ledger)
        self.operations = OperationLog(self._database, self._ledger)
        self.marks = Marks(self._database)
        self.outbox = Outbox(self._database, self._ledger)
        self.recency = Recency(self._database)
        self.schedules = ScheduleLog(self._database, self._ledger)
        self.figures = FigureQueries(self._database)
        self.history = History(self._database)
        self.needs_rebuild = False
        self.moved_aside: Path | None = None

    @property
    def revision(self) -> str:
        """Which release's tables these are; an open catalog has those of this one."""
        return tables.REVISION

    async def open(self) -> None:
        """Connect and bring the tables up to date. A damaged SQLite file is moved aside and begun anew.

        Raises:
            StorageError: the database cannot be made, reached or used, or a later release wrote it.
        """
        try:
            await self._open()
        except DamagedCatalogError:
            if self._database.path is None:
                raise
            await self._database.close()
            self.moved_aside = _move_aside(self._database.path)
            await self._open()

    async def close(self) -> None:
        """Close all connections. May be repeated."""
        await self._database.close()

    async def check(self) -> None:
        """Prove that the catalog can be written now; leaves no trace. StorageError when it cannot."""
        await self._database.prove_writable()

    async def record(self, *events: Event) -> None:
        """Write events that report no change of the catalog's own: something happened outside."""
        await self._ledger.write(_nothing, events)

    async def keep(self, name: str, value: str, event: Event) -> None:
        """Put a text under a name (see ``marks``), together with the event that tells of it."""
        await self._ledger.write(lambda connection: write_mark(connection, name, value), (event,))

    async def totals(self) -> list[Total]:
        """The stored totals: they grow only, over restarts and deletions."""
        return await self._ledger.totals()

    async def _open(self) -> None:
        try:
            await self._database.connect()
            if await self._database.write(lambda connection: connection.run_sync(migrate.upgrade)):
                await self._database.compact()
            self.needs_rebuild = not await self.backups.is_indexed()
        except BaseException:
            await self._database.close()
            raise


async def _nothing(_: AsyncConnection) -> None:
    """The change of an event that stands alone."""


def _move_aside(path: Path) -> Path:
    """Give a damaged file, and the logs that belong to it, a name that says since when. Returns the file's new path."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(path.stat().st_mtime))
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}_{number}")
    for suffix in ("-wal", "-shm"):
        log = path.with_name(path.name + suffix)
        if log.exists():
            log.rename(target.with_name(target.name + suffix))
    path.rename(target)
    return target
