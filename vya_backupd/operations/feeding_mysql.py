"""Feeding MySQL and MariaDB over several clients at once.

Definitions come first, in one session and in the order of the file; then the rows of all tables, segment by segment,
over all sessions, and each table over as few as get it done in time; and as soon as the last rows of a large table are in, the keys that were held back
(``engines.cut_mysql``). Foreign keys are made when all other keys are; as in the dump they are not checked again, since
checks are off. The rest (triggers, views, routines, events) has its order: one session, as it stands in the file.
"""

from __future__ import annotations

import asyncio
import contextlib

from vya_backupd.engines import mysql_sessions
from vya_backupd.errors import VyaError
from vya_backupd.operations.feeding import Fed, Feeding
from vya_backupd.operations.feeding_lanes import run_clients
from vya_backupd.operations.feeding_mysql_jobs import MysqlJobs
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.stop import Stop, run_in_thread


class MysqlFeeder:
    """Several sessions: what large files of ours get."""

    def __init__(self, sessions: int) -> None:
        self._sessions = sessions

    async def feed(self, feeding: Feeding) -> Fed:
        """See ``Feeder.feed``."""
        with open_source(feeding.source.path) as source:
            jobs = MysqlJobs(source, feeding, self._sessions)
            await run_in_thread("survey", jobs.read, Stop())
            try:
                await self._run(feeding, jobs)
            except BaseException:
                await asyncio.shield(asyncio.ensure_future(_end_sessions(feeding)))
                raise
        return Fed(jobs.raw_size, self._sessions)

    async def _run(self, feeding: Feeding, jobs: MysqlJobs) -> None:
        target = feeding.target
        command = target.engine.client_command(target.instance, feeding.database, target.tools, target.server)
        opening = jobs.opening(mysql_sessions.opening(target.instance.kind, binlog=not feeding.skip_binlog))
        await run_clients(
            feeding,
            mysql_sessions.answering(command),
            self._sessions,
            jobs.batches(),
            opening,
            mysql_sessions.mark,
        )


async def _end_sessions(feeding: Feeding) -> None:
    """End what the server still does for clients that are gone.

    It would go on building keys to the end, and nobody could drop the database meanwhile. What fails here is not what
    failed first.
    """
    probe, instance = feeding.site.probe, feeding.target.instance
    with contextlib.suppress(VyaError):
        for (number,) in await probe.fetch(instance, mysql_sessions.own_sessions(feeding.database, instance.kind)):
            with contextlib.suppress(VyaError):
                await probe.execute(instance, [mysql_sessions.end_session(int(str(number)))])
