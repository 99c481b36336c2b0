"""PostgreSQL in one stream, on a snapshot that we hold as well: so we know whether pg_dump found its tables as they were.

pg_dump takes its snapshot, and only then locks the tables. In between, or while it waits for a lock, somebody else may
commit a TRUNCATE or an ALTER TABLE that writes a table anew, or give its name to another one. To a snapshot taken before
such a table is *empty*: pg_dump writes no rows, and ends well. Since pg_dump writes its first byte when it has all its
locks, and keeps them to its end, it is enough to compare the tables of the snapshot with those of that moment.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence

from vya_backupd import faults
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.engines.postgresql_pieces import TableFacts
from vya_backupd.engines.stderr import HINT_CHANGED
from vya_backupd.errors import DumpError, ToolError, VyaError
from vya_backupd.model.command import Command
from vya_backupd.operations.dump_run import DumpRun
from vya_backupd.operations.looking import Dump, Look
from vya_backupd.operations.side_by_side import guarded
from vya_backupd.pipeline.dump import DumpResult, Stream
from vya_backupd.pipeline.filled import begun
from vya_backupd.probe.connect import Session
from vya_backupd.probe.postgresql_snapshot import Leader
from vya_backupd.process import Process

OLDEST = 12
"""Major version from which the questions to the catalogs are understood."""
_SHOWN = 5


async def dump_on_snapshot(run: DumpRun) -> DumpResult:
    """Dump the run's database by pg_dump alone. Without a second connection it goes unwatched, which is warned of.

    Raises:
        VyaError: whatever failed first; ``tables_changed``.
    """
    if run.job.server.version[0] < OLDEST:
        return await run.in_one_stream()
    try:
        leader, snapshot = await run.visit.ask("holding the snapshot of the dump", functools.partial(_led, run.job))
    except VyaError as error:
        run.warnings.append(f"whether tables were changed as the dump began is not known: {error.message}")
        return await run.in_one_stream()
    taken_at = run.site.now()
    async with run.site.spawner.start(main_command(run, snapshot), stdout="pipe") as process:
        faults.point("backup.dumping")
        has_locks = await _has_locks(run, process)
        streams = [Stream(process.take_stdout(), run.scanner())]
        dumping = run.of_processes([process], streams, taken_at=taken_at)
        if not has_locks:
            return await dumping
        return await guarded(dumping, _compare(run, leader))


async def _led(job: Dump, session: Session) -> tuple[Leader, str]:
    leader = Leader(session, job.instance, job.database)
    return leader, await leader.hold_alone()


async def _compare(run: DumpRun, leader: Leader) -> None:
    """See that no table was changed; then nobody needs the leader any more."""
    await _refuse(leader)
    await run.visit.leave()


async def refuse_changed(run: DumpRun, leader: Leader, dump: Process) -> None:
    """Wait until pg_dump, on the leader's snapshot, has all its locks; see that no table was changed before.

    Raises:
        DumpError: ``tables_changed``.
        ToolError: ``stalled``.
    """
    if await _has_locks(run, dump):
        await _refuse(leader)


async def _has_locks(run: DumpRun, dump: Process) -> bool:
    """Wait until pg_dump has all its locks; False when it ended instead, and says why. Raises ToolError (``stalled``)."""
    timeout = run.site.config.backup.stall_timeout.total_seconds()
    try:
        async with asyncio.timeout(timeout):
            return dump.stdout_fd is not None and await begun(dump.stdout_fd)
    except TimeoutError:
        raise ToolError(
            f"{dump.name} wrote nothing for {timeout:g} s",
            code="stalled",
            hint="Look for locks on the server, or raise backup.stall_timeout.",
            retryable=True,
        ) from None


async def _refuse(leader: Leader) -> None:
    """Raise DumpError (``tables_changed``) if there are such tables."""
    if changed := await leader.changed():
        shown = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
        message = f"truncated, written anew or replaced as the dump began: {shown}"
        raise DumpError(message, code="tables_changed", hint=HINT_CHANGED)


def main_command(run: DumpRun, snapshot: str, without: Sequence[TableFacts] = ()) -> Command:
    """pg_dump on an exported snapshot, without the rows of tables that others read."""
    job = run.job
    return PostgreSQL().main_command(
        job.instance,
        job.database,
        run.found.tools,
        job.server,
        lock_wait=run.lock_wait,
        snapshot=snapshot,
        encoding=encoding_of(run.found),
        without=without,
    )


def encoding_of(found: Look) -> str:
    """The encoding of the database that was looked at."""
    return found.before.properties.get("encoding", "UTF8") if found.before else "UTF8"
