"""Tables of MySQL and MariaDB that were put in place of others while they were dumped.

The servers refuse to read a table on a snapshot that is older than the table ("table definition has changed"). They do
not refuse one that is older than the snapshot and got the name of another one afterwards, as tools for changes of large
tables do at their end: while the dump goes on, the new table, so far half filled, becomes the table. A dump that reads
the names in an unlucky order then has the half twice, and nothing of the rest. So we ask for marks of the tables
(``engines.mysql_tables``) before and after: who has another one, and not a new one, was put in its place.
"""

from __future__ import annotations

from contextlib import suppress

from vya_backupd.engines import mysql_tables
from vya_backupd.engines.mysql_tables import Marks
from vya_backupd.engines.stderr import HINT_CHANGED
from vya_backupd.errors import DumpError, ServerError
from vya_backupd.operations.dump_run import DumpRun


async def marks(run: DumpRun) -> Marks:
    """The marks of the database's tables; none for an account without the right to ask."""
    job = run.job
    sql = mysql_tables.marks_sql(job.database, job.server)
    rows = []
    with suppress(ServerError):
        rows = await run.visit.ask("asking for marks of tables", lambda talk: talk.run(sql)) if sql else []
    return Marks.read(job.database, job.server, rows)


async def refuse_replaced(run: DumpRun, before: Marks) -> None:
    """Compare with the marks from before the dump.

    Raises:
        DumpError: ``tables_changed``.
    """
    if not before.of:
        return
    names = before.replaced(await marks(run))
    if names:
        message = f"put in the place of other tables during the dump: {', '.join(names[:5])}"
        raise DumpError(message, code="tables_changed", hint=HINT_CHANGED).at(run.job.instance.id, run.job.database)
