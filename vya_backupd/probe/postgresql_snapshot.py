"""The session that leads a dump of several sessions: it holds locks and the snapshot that all of them read from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from vya_backupd.engines.postgresql_pieces import TableFacts, lock
from vya_backupd.engines.stderr import HINT_CHANGED
from vya_backupd.errors import DumpError, ToolError, VyaError
from vya_backupd.model.instance import Instance
from vya_backupd.probe.connect import Row, Session
from vya_backupd.probe.failures import translated

MOST_TABLES = 128
"""Tables that are read apart: each costs an option of pg_dump, and a lock for each session."""
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_NO_SUCH_TABLE = "42P01"
_SIGN_OF_LIFE = 2.0
"""Seconds between two questions to the leading session: it also keeps the connection from being thought idle."""

_TABLES = """
    SELECT c.oid::bigint, n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text,
           pg_catalog.format('%I.%I', n.nspname, c.relname), a.columns,
           pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int,
           pg_catalog.pg_table_size(c.oid)
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
           LATERAL (SELECT pg_catalog.array_agg(pg_catalog.quote_ident(attname) ORDER BY attnum)
                      FROM pg_catalog.pg_attribute
                     WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '') a(columns)
     WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND (c.relpersistence = 'p' OR c.relpersistence = 'u' AND NOT pg_catalog.pg_is_in_recovery())
       AND a.columns IS NOT NULL
       AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.row_security_active(c.oid)
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend
                        WHERE deptype = 'e' AND (classid, objid) IN (('pg_catalog.pg_class'::regclass, c.oid),
                                                                     ('pg_catalog.pg_namespace'::regclass, n.oid)))
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) above(relid)
                         JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = above.relid
                         JOIN pg_catalog.pg_opclass o ON o.oid = ANY (p.partclass)
                         JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
                        WHERE o.opcname = 'enum_ops' AND m.amname = 'hash')
       AND pg_catalog.pg_table_size(c.oid) >= :least
     ORDER BY pg_catalog.pg_table_size(c.oid) DESC, 2, 3 LIMIT :most
"""
"""Plain tables with rows of their own. What pg_dump treats in a way of its own is left to it: rows that policies hide,
extensions' tables, partitions by the hash of an enum (their rows are loaded through the root), unlogged tables of a
standby, tables without a column."""
_FREE = """
    SELECT least(
        pg_catalog.current_setting('max_connections')::int
            - CASE WHEN r.rolsuper THEN 0 ELSE pg_catalog.current_setting('superuser_reserved_connections')::int END
            - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'),
        CASE WHEN r.rolsuper OR r.rolconnlimit < 0 THEN NULL
             ELSE r.rolconnlimit - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user) END,
        CASE WHEN r.rolsuper OR d.datconnlimit < 0 THEN NULL
             ELSE d.datconnlimit - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = d.datname) END)
      FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
     WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()
"""

_ALONE = f"""
    SELECT pg_catalog.pg_export_snapshot(), ({_FREE}),
           pg_catalog.set_config('idle_in_transaction_session_timeout', '0', false),
           CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL
                THEN pg_catalog.set_config('transaction_timeout', '0', false) END
"""
_CHANGED = """
    SELECT n.nspname || '.' || c.relname
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND (pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode
            OR pg_catalog.to_regclass(pg_catalog.format('%I.%I', n.nspname, c.relname))::oid IS DISTINCT FROM c.oid)
     ORDER BY 1
"""
"""The catalog's rows are those of the snapshot, the two functions answer for this moment."""


class Leader:
    """Ask ``tables``, then ``hold`` some of them; from then on everything that is asked, is asked of the snapshot.

    All methods raise what ``Probe`` does.
    """

    def __init__(self, session: Session, instance: Instance, database: str) -> None:
        self._session = session
        self._place = instance, database, "leading the dump"

    async def wait_for_locks(self, seconds: int) -> None:
        """Wait no longer for any lock: also the size of a table is not told while somebody rewrites it."""
        await self._run(f"SET lock_timeout = {seconds * 1000}")

    async def tables(self, least: int) -> list[TableFacts]:
        """The largest tables of at least so many bytes whose rows may be read apart from pg_dump's run."""
        rows = await self._rows(_TABLES, least=least, most=MOST_TABLES)
        return [
            TableFacts(int(oid), schema, name, owner, quoted, tuple(columns), int(pages), int(size))
            for oid, schema, name, owner, quoted, columns, pages, size in rows
        ]

    async def free_connections(self) -> int:
        """How many more sessions the server, the account and the database allow."""
        return int(await self._value(_FREE))

    async def hold(self, tables: Sequence[TableFacts]) -> str:
        """Lock the tables' definitions, then export a snapshot: no such table can have changed between the two.

        Both last as long as the session.

        Raises:
            ServerError: ``lock_timeout``, and whatever else the server says.
            DumpError: ``tables_changed``: one of them is gone already.
        """
        await self._run("SET idle_in_transaction_session_timeout = 0")
        if await self._value("SELECT pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL"):
            await self._run("SET transaction_timeout = 0")
        await self._run(_BEGIN)
        if tables:
            await self._lock(tables)
        return str(await self._value("SELECT pg_catalog.pg_export_snapshot()"))

    async def hold_alone(self) -> str:
        """What ``hold`` does without any table, in one question.

        Raises:
            ToolError: there is no connection left for pg_dump.
        """
        with translated(*self._place):
            _, ((snapshot, free, *_),) = await self._session.script((_BEGIN, _ALONE))
        if int(free) < 1:
            raise ToolError("the server allows this account one connection only")
        return str(snapshot)

    async def _lock(self, tables: Sequence[TableFacts]) -> None:
        try:
            await self._run(lock(tables))
        except VyaError as error:
            if getattr(error.__cause__, "sqlstate", None) != _NO_SUCH_TABLE:
                raise
            raise DumpError(error.message, code="tables_changed", hint=HINT_CHANGED) from error.__cause__

    async def changed(self) -> list[str]:
        """Tables whose rows were thrown away or written anew since the snapshot, or whose name is another's or nobody's.

        What reads such a table on the snapshot finds it empty, or finds another one (chapter "Caveats" of PostgreSQL's
        "Concurrency Control"). One that was only packed (VACUUM FULL, CLUSTER) is among them.
        """
        return [str(name) for (name,) in await self._rows(_CHANGED)]

    async def stay(self, over: asyncio.Event) -> None:
        """Return when ``over`` is set, after a last sign of life; raise when the session is gone."""
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SIGN_OF_LIFE):
                    await over.wait()
            await self._run("SELECT 1")

    async def _rows(self, sql: str, **values: Any) -> list[Row]:
        with translated(*self._place):
            return await self._session.rows(sql, **values)

    async def _run(self, statement: str) -> list[Row]:
        with translated(*self._place):
            return await self._session.run(statement)

    async def _value(self, sql: str) -> Any:
        return (await self._rows(sql))[0][0]
