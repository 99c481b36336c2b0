"""Connections to servers: where, as whom, how protected, and for how long one waits.

There is no pool: a probe connects, asks, and is gone. Drivers are opened by our own functions rather than by URL, so
that a password or a name never passes through URL quoting.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncmy
import psycopg
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from vya_backupd.engines import conninfo
from vya_backupd.model.instance import EngineKind, Instance, TlsMode
from vya_backupd.probe.failures import translated

Row = tuple[Any, ...]
# The driver logs every note of a server ("database doesn't exist" after DROP IF EXISTS) as a warning.
logging.getLogger("asyncmy").setLevel(logging.ERROR)
_APPLICATION = "vya-backupd probe"


class Session:
    """One connection. Statements commit by themselves."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, sql: str, **values: Any) -> list[Row]:
        """The rows of a query of ours, with ``:name`` parameters."""
        result = await self._connection.execute(text(sql), values)
        return [tuple(row) for row in result.all()]

    async def value(self, sql: str, **values: Any) -> Any:
        """The first column of the first row."""
        return (await self.rows(sql, **values))[0][0]

    async def run(self, statement: str) -> list[Row]:
        """Run a statement exactly as it is: percent signs and colons mean nothing. Its rows, if it has any."""
        connection = await self._connection.execution_options(no_parameters=True)
        result = await connection.exec_driver_sql(statement)
        return [tuple(row) for row in result.all()] if result.returns_rows else []


@asynccontextmanager
async def session(instance: Instance, database: str | None, what: str) -> AsyncIterator[Session]:
    """A connection to an instance for as long as the context lasts; failures become errors of ours.

    Raises:
        ServerError: ``login_refused``, ``connection_refused``, ``tls_failed``, ``server_lost``, ...
        NotFoundError: ``unknown_database``.
    """
    if instance.kind is EngineKind.POSTGRESQL:
        dialect, opener = "postgresql+psycopg", _postgresql
    else:
        dialect, opener = "mysql+asyncmy", _mysql_family

    async def create() -> Any:
        async with asyncio.timeout(conninfo.CONNECT_TIMEOUT):
            return await opener(instance, database)

    with translated(instance, database, what):
        engine = create_async_engine(f"{dialect}://", async_creator=create, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                yield Session(await connection.execution_options(isolation_level="AUTOCOMMIT"))
        finally:
            await engine.dispose()


async def _postgresql(instance: Instance, database: str | None) -> Any:
    given = conninfo.parameters(instance, database or "postgres", _APPLICATION, "-c statement_timeout=0")
    # Databases in SQL_ASCII would give bytes otherwise.
    given["client_encoding"] = "UTF8"
    password = instance.password.reveal() or None
    return await psycopg.AsyncConnection.connect(conninfo.conninfo(given), password=password)


async def _mysql_family(instance: Instance, database: str | None) -> Any:
    first, *rest = _attempts(instance)
    try:
        return await _mysql_connect(instance, database, first)
    except (OSError, asyncmy.errors.Error, asyncio.IncompleteReadError) as error:
        if not rest or _is_answer(error):
            raise
    return await _mysql_connect(instance, database, rest[0])


async def _mysql_connect(instance: Instance, database: str | None, context: ssl.SSLContext | None) -> Any:
    return await asyncmy.connect(
        host=instance.host or "localhost",
        port=instance.port,
        unix_socket=instance.socket,
        user=instance.username,
        # As bytes: the driver would take text for Latin-1.
        password=instance.password.reveal().encode("utf-8"),
        db=database,
        charset="utf8mb4",
        connect_timeout=conninfo.CONNECT_TIMEOUT,
        ssl=context,
    )


def _is_answer(error: BaseException) -> bool:
    """Whether the server was reached and said no: another attempt without TLS must not follow."""
    return bool(error.args) and error.args[0] in (1045, 1049, 1044, 1698, 3159)


def _attempts(instance: Instance) -> Sequence[ssl.SSLContext | None]:
    """The TLS contexts to try in turn; None is a plain connection. A Unix socket needs no TLS."""
    mode = instance.tls.mode
    if instance.socket is not None or mode is TlsMode.DISABLE:
        return (None,)
    ca = instance.tls.ca_cert
    context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
    context.check_hostname = mode is TlsMode.VERIFY_FULL
    context.verify_mode = ssl.CERT_REQUIRED if mode in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL) else ssl.CERT_NONE
    if instance.tls.client_cert is not None:
        key = instance.tls.client_key
        context.load_cert_chain(str(instance.tls.client_cert), str(key) if key is not None else None)
    return (context, None) if mode is TlsMode.PREFER else (context,)
