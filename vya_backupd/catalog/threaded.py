"""A SQLite file behind SQLAlchemy's synchronous engine, in threads: a transaction is one hop, however much it does.

An asynchronous driver would go to its thread and come back for every statement, and for each begin and commit: most of
what a small transaction costs. So whoever writes hands over the whole transaction, a coroutine that awaits nothing but
its connection; it is run to its end in the thread, where that connection answers at once (``Direct``). Whoever reads
goes there for each question (``Reader``), with the answer's rows fetched before they come back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar, cast

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_T = TypeVar("_T")
_READERS = 4

Work = Callable[["AsyncConnection"], Awaitable[_T]]


class Direct:
    """What a transaction sees of its connection, in the thread that runs it: nothing in it ever waits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """As ``AsyncConnection.execute``."""
        return self._connection.execute(statement, parameters)

    async def scalar(self, statement: Any, parameters: Any = None) -> Any:
        """As ``AsyncConnection.scalar``."""
        return self._connection.scalar(statement, parameters)

    async def exec_driver_sql(self, statement: str) -> Any:
        """As ``AsyncConnection.exec_driver_sql``."""
        return self._connection.exec_driver_sql(statement)

    async def run_sync(self, function: Callable[[sa.Connection], _T]) -> _T:
        """As ``AsyncConnection.run_sync``."""
        return function(self._connection)


class Reader:
    """What a reader sees: one state of the database, from the first question on."""

    def __init__(self, engine: sa.Engine, threads: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._threads = threads
        self._connection: sa.Connection | None = None
        self.dialect = engine.dialect

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """As ``AsyncConnection.execute``."""
        return await self._ask(lambda connection: connection.execute(statement, parameters).freeze()())

    async def scalar(self, statement: Any, parameters: Any = None) -> Any:
        """As ``AsyncConnection.scalar``."""
        return await self._ask(lambda connection: connection.scalar(statement, parameters))

    async def _ask(self, question: Callable[[sa.Connection], _T]) -> _T:
        return await to_its_end(self._threads, lambda: question(self._opened()))

    def _opened(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._connection.begin()
        return self._connection

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._threads.submit(self._connection.close)


class ThreadedSqlite:
    """One file. One thread writes; some read. ``writes`` is the option that marks a connection as a writer's."""

    def __init__(self, engine: sa.Engine, writes: dict[str, Any]) -> None:
        self.sync_engine = engine
        self._writing = engine.execution_options(**writes)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="catalog-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="catalog-reader")

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the database."""
        reader = Reader(self.sync_engine, self._readers)
        try:
            yield cast("AsyncConnection", reader)
        finally:
            reader.close()

    async def write(self, work: Work[_T], committed: Callable[[], None]) -> _T:
        """Run ``work`` in a transaction of its own, and call ``committed`` when it is on disk.

        A caller that is cancelled hears of it when the transaction is over, whichever way it went.
        """

        def transaction() -> _T:
            with self._writing.connect() as connection, connection.begin():
                return _finished(work(cast("AsyncConnection", Direct(connection))))

        return await to_its_end(self._writer, transaction, committed)

    async def try_to_write(self, statement: sa.TextClause) -> None:
        """Run a statement that changes nothing, to the disk: what is taken back again has never met a full one."""

        def attempt() -> None:
            with self._writing.connect() as connection, connection.begin():
                connection.execute(statement)

        await to_its_end(self._writer, attempt)

    def close(self) -> None:
        """Wait for the threads, and close the file."""
        self._writer.shutdown()
        self._readers.shutdown()
        self.sync_engine.dispose()


async def to_its_end(
    threads: ThreadPoolExecutor, work: Callable[[], _T], done: Callable[[], None] = lambda: None
) -> _T:
    """Run ``work`` in a thread, then ``done`` in the event loop if it went well. A cancelled caller waits for both."""
    running = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        answer = await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if running.exception() is None:
            done()
        raise
    done()
    return answer


def _finished(work: Awaitable[_T]) -> _T:
    """What a coroutine returns that has nothing to wait for.

    Raises:
        RuntimeError: it wanted to wait, which a transaction must not.
    """
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return cast("_T", end.value)
    raise RuntimeError("a transaction waits for something other than its connection")
