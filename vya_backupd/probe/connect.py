"""Connections to servers: where, as whom, how protected, and for how long one waits.

There is no pool: a probe connects, asks, and is gone. The drivers are spoken to directly: SQLAlchemy would ask each new
connection three to five questions of its own before ours, and bring megabytes of dialects for the little SQL there is.

A driver is loaded when the first server of its kind is asked: the two take a third of a second and many megabytes.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from vya_backupd.engines import conninfo
from vya_backupd.errors import ServerError
from vya_backupd.model.instance import EngineKind, Instance, TlsMode
from vya_backupd.probe import pulse
from vya_backupd.probe.bounded import bounded, cut_postgresql
from vya_backupd.probe.cancelling import cancellable
from vya_backupd.probe.failures import translated

T = TypeVar("T")
Row = tuple[Any, ...]
# The driver logs every note of a server ("database doesn't exist" after DROP IF EXISTS) as a warning.
logging.getLogger("asyncmy").setLevel(logging.ERROR)
_APPLICATION = "vya-backupd probe"
_NAMED = re.compile(r"(?<!:):([a-z]\w*)")
"""A parameter of our queries; ``::`` is PostgreSQL's cast."""


class Session:
    """One connection of one driver or the other. Statements commit by themselves."""

    def __init__(self, connection: Any, is_worked_on: Callable[[int], Awaitable[bool]], patience: float | None) -> None:
        self._connection = connection
        self._is_worked_on = is_worked_on
        self._patience = patience
        self._in_talk = False
        self._answers = 0

    async def talk(self, questions: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Several questions in a row, watched over as one: to watch a tiny question costs more than to ask it.

        An answer may still take as long as the server works on it, and the talk as long as there are answers.
        """
        if self._in_talk:
            return await questions(self)
        self._in_talk = True
        try:
            return await self._watched(questions(self))
        finally:
            self._in_talk = False

    async def rows(self, sql: str, **values: Any) -> list[Row]:
        """The rows of a query of ours, with ``:name`` parameters."""
        if not values:
            return await self.run(sql)
        return await self._execute(_NAMED.sub(r"%(\1)s", sql.replace("%", "%%")), values)

    async def value(self, sql: str, **values: Any) -> Any:
        """The first column of the first row."""
        return (await self.rows(sql, **values))[0][0]

    async def run(self, statement: str) -> list[Row]:
        """Run a statement exactly as it is: percent signs and colons mean nothing. Its rows, if it has any."""
        return await self._execute(statement, None)

    async def script(self, statements: Sequence[str]) -> list[list[Row]]:
        """PostgreSQL alone: the rows of each statement, all of them sent at once and run in one transaction."""
        work = self._scripted("; ".join(statements))
        return await (work if self._in_talk else self._watched(work))

    @property
    def server_version(self) -> int:
        """PostgreSQL alone: the version that the server told us at the beginning, 150004 for 15.4."""
        return int(self._connection.info.server_version)

    async def _execute(self, sql: str, values: dict[str, Any] | None) -> list[Row]:
        work = self._executed(sql, values)
        return await (work if self._in_talk else self._watched(work))

    async def _watched(self, work: Coroutine[Any, Any, T]) -> T:
        guarded = bounded(cancellable(work, lambda _: None), self._cut)
        return await pulse.answer(guarded, self._lives, self._patience)

    async def _lives(self) -> bool:
        """Whether answers have come since the last time, or one is being worked on."""
        answers, self._answers = self._answers, 0
        return answers > 0 or await self._is_worked_on(self._number())

    def _cut(self) -> None:
        connection = self._connection
        cut_postgresql(connection) if hasattr(connection, "pgconn") else connection.close()

    def _number(self) -> int:
        """The session's number on its server."""
        connection = self._connection
        return int(connection.thread_id() if hasattr(connection, "thread_id") else connection.info.backend_pid)

    async def _executed(self, sql: str, values: dict[str, Any] | None) -> list[Row]:
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql, values)
            found = [] if cursor.description is None else [tuple(row) for row in await cursor.fetchall()]
        self._answers += 1
        return found

    async def _scripted(self, sql: str) -> list[list[Row]]:
        found: list[list[Row]] = []
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql)
            more = True
            while more:
                found.append([] if cursor.description is None else await cursor.fetchall())
                more = cursor.nextset()
        self._answers += 1
        return found


@asynccontextmanager
async def session(
    instance: Instance, database: str | None, what: str, patience: float | None = None
) -> AsyncIterator[Session]:
    """A connection to an instance for as long as the context lasts; failures become errors of ours.

    ``patience``: after so many seconds without an answer the server is asked whether it works on it (``pulse``).

    Raises:
        ServerError: ``login_refused``, ``connection_refused``, ``tls_failed``, ``server_lost``, ...
        NotFoundError: ``unknown_database``.
    """
    postgresql = instance.kind is EngineKind.POSTGRESQL
    with translated(instance, database, what):
        driver = "psycopg" if postgresql else "asyncmy"
        if driver not in sys.modules:
            await asyncio.to_thread(importlib.import_module, driver)
        async with asyncio.timeout(conninfo.CONNECT_TIMEOUT):
            connection = await (_postgresql if postgresql else _mysql_family)(instance, database)
        try:
            yield Session(connection, lambda number: _is_worked_on(instance, database, number), patience)
        except BaseException:
            # Perhaps in the midst of an answer: no goodbye, which would wait for the rest of it.
            closed = connection.close()
            if postgresql:
                await closed
            raise
        await (connection.close() if postgresql else connection.ensure_closed())


async def _is_worked_on(instance: Instance, database: str | None, number: int) -> bool:
    return any(each == number for each, _ in await activity(instance, database))


async def activity(instance: Instance, database: str | None) -> list[tuple[int, str]]:
    """The sessions of a server that work just now, each by its number and its database.

    Raises:
        ServerError, NotFoundError: as ``session``; ``connection_refused`` also where no answer comes in time.
    """
    query = pulse.POSTGRESQL_ACTIVITY if instance.kind is EngineKind.POSTGRESQL else pulse.MYSQL_ACTIVITY
    async with session(instance, database, "asking what the server works on") as other:
        async with asyncio.timeout(conninfo.CONNECT_TIMEOUT):
            rows = await other.run(query)
    return pulse.working(instance.kind, rows)


async def _postgresql(instance: Instance, database: str | None) -> Any:
    given = conninfo.parameters(instance, database or "postgres", _APPLICATION, "-c statement_timeout=0")
    # Databases in SQL_ASCII would give bytes otherwise.
    given["client_encoding"] = "UTF8"
    import psycopg

    password = instance.password.reveal() or None
    opening = psycopg.AsyncConnection.connect(conninfo.conninfo(given), password=password, autocommit=True)
    return await cancellable(opening, lambda opened: opened and opened.pgconn.finish())


async def _mysql_family(instance: Instance, database: str | None) -> Any:
    import asyncmy

    first, *rest = _attempts(instance)
    try:
        return await _mysql_connect(instance, database, first)
    except (OSError, asyncmy.errors.Error, asyncio.IncompleteReadError) as error:
        if not rest or _is_answer(error):
            raise
    return await _mysql_connect(instance, database, rest[0])


async def _mysql_connect(instance: Instance, database: str | None, context: ssl.SSLContext | None) -> Any:
    from asyncmy.connection import Connection

    connection = Connection(  # type: ignore[no-untyped-call]
        host=instance.host or "localhost",
        port=instance.port,
        unix_socket=instance.socket,
        user=instance.username,
        # As bytes: the driver would take text for Latin-1.
        password=instance.password.reveal().encode("utf-8"),
        db=database,
        charset="utf8mb4",
        connect_timeout=conninfo.CONNECT_TIMEOUT,
        autocommit=True,
        ssl=context,
        auth_plugin_map=None if context is not None or instance.socket is not None else _NOTHING_IN_CLEAR,
    )
    # Without its socket the driver cannot wait for a server that says nothing.
    await cancellable(connection.connect(), lambda _: connection.close())
    return connection


class _InClear:
    """What the driver asks when a server wants the password as it is, on a connection that anybody can read."""

    def __init__(self, _: Any) -> None:
        pass

    def authenticate(self, _: Any) -> bytes:
        """Refuse. Raises ServerError ``login_refused``."""
        raise ServerError(
            "the server asks for the password in clear, on a connection without TLS",
            code="login_refused",
            hint="Set ssl.mode to verify-full. If the server never asked for it before, somebody may be in its place.",
        )


_NOTHING_IN_CLEAR = {"mysql_clear_password": _InClear, "dialog": _InClear}


def _is_answer(error: BaseException) -> bool:
    """Whether the server was reached and said no: another attempt without TLS must not follow."""
    return bool(error.args) and error.args[0] in (1045, 1049, 1044, 1698, 3159)


def _attempts(instance: Instance) -> Sequence[ssl.SSLContext | None]:
    """The TLS contexts to try in turn; None is a plain connection. A Unix socket needs no TLS."""
    mode = instance.tls.mode
    if instance.socket is not None or mode is TlsMode.DISABLE:
        return (None,)
    ca = instance.tls.ca_cert
    if mode in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL):
        context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
        context.check_hostname = mode is TlsMode.VERIFY_FULL
    else:
        # Nothing is verified: reading all authorities of the machine would take longer than everything else we ask.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if instance.tls.client_cert is not None:
        key = instance.tls.client_key
        context.load_cert_chain(str(instance.tls.client_cert), str(key) if key is not None else None)
    return (context, None) if mode is TlsMode.PREFER else (context,)
