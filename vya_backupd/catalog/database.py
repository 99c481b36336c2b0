"""The connection to the catalog's database: opening, transactions, turns.

Writers of this process take turns at a lock, so that SQLite is asked for one write transaction at a time; a writer of
another process is waited for (``busy_timeout``), then tried again. Readers see one state each and wait for nobody: the
write-ahead log lets them. Every commit is on disk when it returns (``synchronous = FULL``).

SQLite is worked with in threads (``threaded``), a database server over SQLAlchemy's asyncio engine. Whoever asks sees
no difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from vya_backupd import faults
from vya_backupd.catalog.failures import damaged, telling
from vya_backupd.catalog.file_watch import FileWatch
from vya_backupd.catalog.threaded import ThreadedSqlite
from vya_backupd.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_T = TypeVar("_T")
_ATTEMPTS = 5
_WRITES = "vya_writes"
_TRIAL = sa.text("UPDATE alembic_version SET version_num = version_num")
_PRAGMAS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -1000",  # for each connection; the kernel has what was read of the file as well
)


class Database:
    """One database by URL. ``path`` is its file, None where it is no file; ``name`` is how messages call it."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        file = self._url.database
        self.path = Path(file) if self._is_sqlite and file and file != ":memory:" else None
        self.name = str(self.path or self._url.render_as_string(hide_password=True))
        self._engine: AsyncEngine | ThreadedSqlite | None = None
        self._watch: FileWatch | None = None
        self._turn = asyncio.Lock()
        self._blocked = False

    async def connect(self) -> None:
        """Make ready for reading and writing.

        Raises:
            DamagedCatalogError: the file is there and is no whole database.
            StorageError: it cannot be made or reached.
        """
        if self.path is not None:
            _make_private(self.path)
        if not self._is_sqlite:
            # Loaded for a database server alone: it brings the whole object-relational mapper with it.
            from sqlalchemy.ext.asyncio import create_async_engine

            self._engine = create_async_engine(self._url, pool_pre_ping=True)
            return
        engine = sa.create_engine(self._url.set(drivername="sqlite"))
        sa.event.listen(engine, "connect", _on_sqlite_connect)
        sa.event.listen(engine, "begin", _on_sqlite_begin)
        self._engine = ThreadedSqlite(engine, {_WRITES: True})
        await self._check_sqlite()
        self._watch = FileWatch(self.path) if self.path is not None else None

    async def compact(self) -> None:
        """Give back the pages of a file that are free: after a migration that wrote large tables anew. Never fails."""
        if self.path is not None:
            await asyncio.to_thread(_vacuum, self.path)

    async def close(self) -> None:
        """Close all connections. May be repeated."""
        engine, self._engine = self._engine, None
        if isinstance(engine, ThreadedSqlite):
            await asyncio.to_thread(engine.close)
        elif engine is not None:
            await engine.dispose()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that sees one state of the database."""
        with telling(self.name):
            engine = self._ready()
            if isinstance(engine, ThreadedSqlite):
                async with engine.reading() as connection:
                    yield connection
            else:
                async with engine.connect() as connection, connection.begin():
                    yield connection

    async def write(
        self, work: Callable[[AsyncConnection], Awaitable[_T]], committed: Callable[[], None] = lambda: None
    ) -> _T:
        """Run ``work`` in a transaction; again when another writer was in the way, so it must bear to be run again.

        It may run in another thread, and must await nothing but the connection. ``committed`` is called in the event
        loop when it is on disk, also if the caller was cancelled meanwhile.
        """
        async with self._turn:
            # Who comes behind somebody that waited in vain tries once: a queue of patient writers would stand for ever.
            attempts = 1 if self._blocked else _ATTEMPTS
            for attempt in itertools.count(1):
                try:
                    answer = await self._write_once(work, committed)
                except StorageError as error:
                    self._blocked = error.retryable and attempt >= attempts
                    if self._blocked or not error.retryable:
                        raise
                else:
                    self._blocked = False
                    return answer
                await asyncio.sleep(random.uniform(0.05, 0.1) * 2**attempt)  # noqa: S311 - not a secret
            raise AssertionError  # pragma: no cover - the count does not end

    async def prove_writable(self) -> None:
        """Write a row as it is. StorageError when that cannot be done, or would be done where nobody reads."""
        if self._watch is not None:
            await asyncio.to_thread(self._watch.recognise)
        async with self._turn:
            with telling(self.name):
                engine = self._ready()
                if isinstance(engine, ThreadedSqlite):
                    await engine.try_to_write(_TRIAL)
                    return
                async with engine.connect() as connection, connection.begin():
                    await connection.execute(_TRIAL)

    async def _write_once(self, work: Callable[[AsyncConnection], Awaitable[_T]], committed: Callable[[], None]) -> _T:
        with telling(self.name):
            engine = self._ready()
            faults.point("catalog.writing")
            if isinstance(engine, ThreadedSqlite):
                answer = await engine.write(work, committed)
                faults.point("catalog.written")
                return answer
            async with engine.connect() as connection, connection.begin():
                answer = await work(connection)
        committed()
        return answer

    def _ready(self) -> AsyncEngine | ThreadedSqlite:
        if self._engine is None:
            raise StorageError("the catalog is closed", hint="The daemon is starting or stopping: try again.")
        return self._engine

    async def _check_sqlite(self) -> None:
        async with self.reading() as connection:
            verdict = await connection.scalar(sa.text("PRAGMA quick_check(1)"))
        if verdict != "ok":
            raise damaged(self.name, str(verdict))


def _vacuum(path: Path) -> None:
    # A disk too full for a second copy leaves the file as it was: larger than need be, and whole.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("VACUUM")


def _make_private(path: Path) -> None:
    """The folder and the file, for the owner alone: SQLite would make the file readable to all."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StorageError(
            f"cannot create the catalog {path}: {error.strerror}",
            code="storage_unwritable",
            hint=f"Give the daemon's user write permission on {path.parent}.",
        ) from error


def _on_sqlite_connect(connection: Any, _: object) -> None:
    # Transactions are ours alone: the driver would begin them late, and never for a SELECT.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _on_sqlite_begin(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later could fail at once with "locked", whatever the time limit.
    writes = connection.get_execution_options().get(_WRITES)
    # Said to the driver itself: on its way through the toolkit it would cost as much as a real statement.
    driver = connection.connection.driver_connection
    if driver is not None:
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
