"""The probe: asks servers and runs the statements around a restore."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from vya_backupd.engines.globals import GlobalsTarget
from vya_backupd.engines.mysql_rights import Grants
from vya_backupd.engines.mysql_swap import DatabaseContent
from vya_backupd.errors import NotFoundError
from vya_backupd.model.instance import DatabaseFacts, EngineKind, Instance, ServerFacts
from vya_backupd.policy import dump_plan_mysql
from vya_backupd.probe import mysql_content, mysql_family, mysql_lock, mysql_sizes, postgresql
from vya_backupd.probe.connect import Row, Session, activity, session
from vya_backupd.probe.postgresql_snapshot import Leader
from vya_backupd.probe.visit import Visit

_ENTRANCES = ("postgres", "template1")
"""Databases of PostgreSQL to connect to when any will do: the first may have been dropped."""


class Probe:
    """Questions to instances. Every call connects anew; nothing is kept but on a ``visit``.

    All methods raise ``ServerError`` (``connection_refused``, ``login_refused``, ``tls_failed``, ``server_lost``,
    ``insufficient_privilege``, ``lock_timeout``, ``server_error``) or ``NotFoundError`` (``unknown_database``), with
    instance and database named.

    ``patience`` says after how many seconds without an answer a server is asked whether it still works on it; a
    question that nobody works on is ``server_lost``. None waits for ever.
    """

    def __init__(self, patience: Callable[[], float | None] = lambda: None) -> None:
        self._patience = patience

    async def server(self, instance: Instance) -> ServerFacts:
        """Vendor, version and rights."""
        async with self._entrance(instance, "asking the server's version") as each:
            if instance.kind is EngineKind.POSTGRESQL:
                return await postgresql.server(each)
            return await mysql_family.server(each)

    async def all_databases(self, instance: Instance) -> list[str]:
        """Every database that the account sees, sorted."""
        async with self._entrance(instance, "listing databases") as each:
            if instance.kind is EngineKind.POSTGRESQL:
                return sorted(await postgresql.databases(each))
            return sorted(await mysql_family.databases(each))

    async def databases(self, instance: Instance) -> list[str]:
        """The databases that we answer for, sorted."""
        return [name for name in await self.all_databases(instance) if instance.covers(name)]

    async def sizes(self, instance: Instance) -> dict[str, int]:
        """Bytes of every database, by the server's own figures, in one question."""
        async with self._entrance(instance, "asking sizes") as each:
            if instance.kind is EngineKind.POSTGRESQL:
                return await postgresql.sizes(each)
            found = await mysql_family.sizes(each)
            return {name: found.get(name, 0) for name in await mysql_family.databases(each)}

    async def database(self, instance: Instance, name: str) -> DatabaseFacts:
        """Tables, counts, size, properties and warnings of one database."""
        async with self.visit(instance, name) as visit:
            return await self.visited(visit, instance, name)

    def visit(self, instance: Instance, database: str) -> Visit:
        """A visit to one database, for several questions to follow. Nothing is connected yet."""
        return Visit(instance, database, self._patience())

    async def visited(self, visit: Visit, instance: Instance, name: str) -> DatabaseFacts:
        """What ``database`` tells, asked on a visit."""
        facts = postgresql.facts if instance.kind is EngineKind.POSTGRESQL else mysql_family.facts
        return await visit.ask("reading the database's facts", lambda talk: facts(talk, name))

    async def execute(self, instance: Instance, statements: Sequence[str], database: str | None = None) -> None:
        """Run statements one by one on one connection, each committed by itself; the first failure ends it.

        ``database`` None: PostgreSQL's maintenance database; none at all for the others.
        """
        async with self._entrance(instance, "running a statement", database) as each:
            for statement in statements:
                await each.run(statement)

    async def fetch(self, instance: Instance, sql: str, database: str | None = None) -> list[Row]:
        """The rows of one statement, taken as it is."""
        async with self._entrance(instance, "asking the server", database) as each:
            return await each.run(sql)

    async def answers(self, instance: Instance, queries: Sequence[str], database: str | None = None) -> list[list[Row]]:
        """The rows of each statement, all asked in one session."""
        async with self._entrance(instance, "asking the server", database) as each:
            return [await each.run(sql) for sql in queries]

    async def grants(self, instance: Instance) -> Grants:
        """What the account may do on a server of MySQL or MariaDB."""
        async with self._session(instance, None, "reading the account's rights") as each:
            return await mysql_family.grants(each)

    async def table_sizes(self, instance: Instance, server: ServerFacts, database: str) -> list[dump_plan_mysql.Table]:
        """What rows are dumped of in a database of MySQL or MariaDB, and how large it is."""
        async with self._session(instance, database, "asking sizes of tables") as each:
            return await mysql_sizes.tables(each, database, server.vendor)

    async def table_keys(
        self, instance: Instance, database: str, tables: Sequence[str]
    ) -> dict[str, dump_plan_mysql.Key]:
        """What these tables of MySQL or MariaDB can be cut by; those that cannot are left out."""
        async with self._session(instance, database, "asking for the keys of tables") as each:
            found = {table: await mysql_sizes.key(each, database, table) for table in tables}
        return {table: key for table, key in found.items() if key is not None}

    @asynccontextmanager
    async def commits_held(self, instance: Instance, server: ServerFacts) -> AsyncIterator[mysql_lock.Stillness]:
        """No transaction of MySQL or MariaDB is committed, until the end of the block or ``Stillness.end``."""
        async with self._session(instance, None, "holding commits back") as each:
            yield await mysql_lock.hold_commits(each, server)

    async def number(self, instance: Instance, sql: str, database: str | None = None) -> int:
        """The one number that a statement gives: counts, and yes or no."""
        value: Any = (await self.fetch(instance, sql, database))[0][0]
        return int(value)

    async def numbers(self, instance: Instance, queries: Sequence[str], database: str | None = None) -> list[int]:
        """The one number of each query, asked one after the other in one session: there may be thousands."""
        async with self._entrance(instance, "counting", database) as each:
            return [int((await each.run(sql))[0][0]) for sql in queries]

    async def globals_script(self, instance: Instance) -> bytes:
        """Users, roles and grants of MySQL or MariaDB as SQL."""
        async with self._session(instance, None, "reading users and grants") as each:
            return await mysql_family.globals_script(each, await mysql_family.server(each))

    async def globals_target(self, instance: Instance) -> GlobalsTarget:
        """What globals would be restored onto."""
        async with self._entrance(instance, "listing accounts") as each:
            if instance.kind is EngineKind.POSTGRESQL:
                return await postgresql.globals_target(each)
            return await mysql_family.globals_target(each)

    @asynccontextmanager
    async def leader(self, instance: Instance, database: str) -> AsyncIterator[Leader]:
        """A session of PostgreSQL that leads a dump, for as long as the context lasts."""
        async with self._session(instance, database, "holding the snapshot of the dump") as each:
            yield Leader(each, instance, database)

    async def content(self, instance: Instance, database: str) -> DatabaseContent:
        """What a database of MySQL or MariaDB is made of: both sides of ``mysql_swap.swap``."""
        async with self._session(instance, database, "reading the database's objects") as each:
            return await mysql_content.content(each, database)

    async def tables_content(self, instance: Instance, database: str, tables: Collection[str]) -> DatabaseContent:
        """The same of some tables alone, with their triggers."""
        async with self._session(instance, database, "reading the tables' triggers") as each:
            return await mysql_content.tables_content(each, database, tables)

    async def busy_sessions(self, instance: Instance, database: str) -> int:
        """In how many sessions the server works on something in a database just now; it has a moment to answer."""
        return sum(name == database for _, name in await activity(instance, database))

    def _session(self, instance: Instance, database: str | None, what: str) -> AbstractAsyncContextManager[Session]:
        return session(instance, database, what, self._patience())

    @asynccontextmanager
    async def _entrance(self, instance: Instance, what: str, database: str | None = None) -> AsyncIterator[Session]:
        """A session in the named database, or in one that any instance has."""
        names: list[str | None] = [database]
        if database is None and instance.kind is EngineKind.POSTGRESQL:
            names = [*_ENTRANCES, *(name for name in instance.databases if not set(name) & set("*?["))]
        async with AsyncExitStack() as stack:
            for number, name in enumerate(names, 1):
                try:
                    found = await stack.enter_async_context(self._session(instance, name, what))
                except NotFoundError:
                    if number == len(names):
                        raise
                else:
                    break
            yield found
