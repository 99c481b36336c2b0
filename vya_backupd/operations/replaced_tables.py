"""Tables of MySQL and MariaDB that were put in place of others while they were dumped.

The servers refuse to read a table on a snapshot that is older than the table ("table definition has changed"). They do
not refuse one that is older than the snapshot and got the name of another one afterwards, as tools for changes of large
tables do at their end: while the dump goes on, the new table, so far half filled, becomes the table. A dump that reads
the names in an unlucky order then has the half twice, and nothing of the rest. So we ask for the tables' numbers before
and after: who has a number that belonged to another name was put in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from vya_backupd.engines import mysql_tables
from vya_backupd.engines.stderr import HINT_CHANGED
from vya_backupd.errors import DumpError, ServerError
from vya_backupd.operations.dump_run import DumpRun

Numbers = Mapping[str, int]


async def numbers(run: DumpRun) -> Numbers:
    """The server's numbers of all tables; none for an account without the right to ask (PROCESS)."""
    with suppress(ServerError):
        return await run.site.probe.table_numbers(run.job.instance, run.job.server)
    return {}


async def refuse_replaced(run: DumpRun, before: Numbers) -> None:
    """Compare with the numbers from before the dump.

    Raises:
        DumpError: ``tables_changed``.
    """
    if not before:
        return
    names = mysql_tables.replaced(run.job.database, before, await numbers(run))
    if names:
        message = f"put in the place of other tables during the dump: {', '.join(names[:5])}"
        raise DumpError(message, code="tables_changed", hint=HINT_CHANGED).at(run.job.instance.id, run.job.database)
