"""One database of MySQL or MariaDB, dumped by several processes that see the same state of it.

Each process opens a snapshot of its own. They are the same when nothing was committed between the first and the last
of them, so commits are held back from before the first process is started until each has its snapshot: for some
hundredths of a second as a rule, and for two seconds at the very most (``probe.mysql_lock``). When that cannot be had,
the database is dumped in one stream, and the manifest says why.

How do we know that a process has its snapshot? It prints its header before it opens it, and rows after. So it has it
when there is more to be read than a header can be, however little the program buffers, or when it has ended.

The structure is not in any snapshot. It is read twice, before commits are held back and after the snapshots exist: when
the two are the same, the one that is written down is that of the rows. What changes later makes the server refuse to
read the rows ("table definition has changed"). The second reading is the main stream. Positions of MariaDB's sequences
are in it, too, never older than the rows: since they stand before the tables, they come from a second look at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

from vya_backupd import faults
from vya_backupd.engines import mysql_rights
from vya_backupd.engines.mysql import MySQL
from vya_backupd.engines.mysql_sql import condition
from vya_backupd.engines.scanner import SEGMENT_SIZE, Scanner
from vya_backupd.errors import DumpError, ServerError, ToolError
from vya_backupd.model.backup import Section
from vya_backupd.model.command import Command
from vya_backupd.operations.dump_run import DumpRun
from vya_backupd.operations.looking import Dump, Look
from vya_backupd.operations.site import Site
from vya_backupd.pipeline.dump import DumpResult, Stream
from vya_backupd.pipeline.files import storage_error
from vya_backupd.pipeline.filled import all_filled, writer_gone
from vya_backupd.policy import dump_plan_mysql as plan
from vya_backupd.policy.dump_plan import WORTHWHILE, DumpPlan
from vya_backupd.process import Process

_BEYOND_HEADERS = 4096
"""Bytes: no header is as long."""
_STRUCTURE_SECONDS = 45.0
"""What reading the structure may take: servers cut off a program of whom nothing is read, MariaDB after a minute."""
_LAST_WORDS = 2.0
"""Seconds that a process has to end after it closed its output."""
_POSITIONS = frozenset({Section.DATA})
_READ = 1 << 20


async def dump_in_sessions(run: DumpRun) -> DumpResult | None:
    """Dump the database by several processes; None where one is better or the only way. See ``dumping_parallel``.

    Raises:
        VyaError: whatever failed first, once rows were being written.
    """
    dump = _Dump(run)
    async with contextlib.AsyncExitStack() as held:
        try:
            shares = await dump.planned()
            if shares is None:
                return None
            await dump.open(shares, held)
        except (ServerError, ToolError, DumpError) as error:
            run.warnings.append(f"dumped in one stream: {error.message}")
            return None
        return await dump.carry()


async def plan_of(site: Site, job: Dump, found: Look) -> DumpPlan:
    """How the database would be dumped now, if commits can be held back.

    Raises:
        VyaError: the server did not answer as it should.
    """
    tables: list[plan.Table] = []
    if _is_worth_asking(site, found):
        tables = await site.probe.table_sizes(job.instance, job.server, job.database)
    count, reason = _sessions(site, tables)
    return DumpPlan(count, (), reason)


def _is_worth_asking(site: Site, found: Look) -> bool:
    """Whether several sessions can come out of it: most databases are small, and are not asked anything more."""
    wanted, size = site.config.backup.parallel_per_database, found.before.size_bytes if found.before else 0
    return wanted != 1 if wanted is not None else size >= WORTHWHILE


def _sessions(site: Site, tables: Sequence[plan.Table]) -> tuple[int, str]:
    backup, cores = site.config.backup, len(os.sched_getaffinity(0))
    return plan.sessions(tables, cores, backup.parallel_per_database, backup.parallel_piece_size)


class _Dump:
    def __init__(self, run: DumpRun) -> None:
        self._run = run
        self._engine = cast("MySQL", run.job.engine)
        self._tables: list[plan.Table] = []
        self._structure: BinaryIO | None = None
        self._has_positions = False
        self._writers: list[Process] = []
        self._taken_at: datetime | None = None

    async def planned(self) -> list[plan.Share] | None:
        """What each process is to write, the rest first; None when one process is enough.

        Raises:
            VyaError: the server did not answer, or does not let this account hold commits back.
        """
        job, probe = self._run.job, self._run.site.probe
        if not _is_worth_asking(self._run.site, self._run.found):
            return None
        self._tables = await probe.table_sizes(job.instance, job.server, job.database)
        count, _ = _sessions(self._run.site, self._tables)
        if count == 1:
            return None
        lacking = mysql_rights.lacking_to_hold_commits(await probe.grants(job.instance))
        if lacking:
            raise ServerError(f"the account lacks {', '.join(lacking)}", code="insufficient_privilege")
        keys = await probe.table_keys(job.instance, job.database, plan.to_cut(self._tables, count))
        return plan.shares(self._tables, count, keys)

    async def open(self, shares: Sequence[plan.Share], held: contextlib.AsyncExitStack) -> None:
        """Start everything, all from one state of the database.

        Raises:
            VyaError: it cannot be had. Nothing was written; what was started ends with ``held``.
        """
        before, after = self._run.scanner(want_hash=True), self._run.scanner(want_hash=True)
        with _spool(self._run.sink) as file:
            await self._read_structure(file, before)
        if before.tables != {table.name for table in self._tables}:
            raise DumpError("tables were made or dropped meanwhile")
        await self._start(shares, held)
        self._structure = held.enter_context(_spool(self._run.sink))
        await self._read_structure(self._structure, after)
        if (after.summary, after.tables) != (before.summary, before.tables):
            raise DumpError("the structure was changed meanwhile")

    async def _start(self, shares: Sequence[plan.Share], held: contextlib.AsyncExitStack) -> None:
        """Start the processes, and see that nothing is committed until each has its snapshot."""
        site, job = self._run.site, self._run.job
        commands = [self._command(share, shares) for share in shares]
        async with site.probe.commits_held(job.instance, job.server) as still:
            faults.point("backup.held")
            self._taken_at = site.now()
            for command in commands:
                self._writers.append(await held.enter_async_context(site.spawner.start(command, stdout="pipe")))
                faults.point("backup.session")
            pipes = [fd for process in self._writers if (fd := process.stdout_fd) is not None]
            if not await all_filled(pipes, _BEYOND_HEADERS, still.left):
                raise ServerError("the dump programs did not begin to read as fast as commits may be held back")
            await still.end()
        for fd, process in zip(pipes, self._writers, strict=True):
            if writer_gone(fd):
                await self._ended_well(process, _LAST_WORDS)

    def _command(self, share: plan.Share, shares: Sequence[plan.Share]) -> Command:
        run, rows = self._run, share.range
        without = [view for view, _ in run.found.unresolved]
        if not share.tables:
            without += sorted({table for other in shares for table in other.tables})
        return self._engine.rows_command(
            run.job.instance,
            run.job.database,
            run.found.tools,
            lock_wait=run.lock_wait,
            tables=share.tables,
            where=condition(rows.column, rows.low, rows.high) if rows else "",
            leave_out=without,
        )

    async def _read_structure(self, file: BinaryIO, scanner: Scanner) -> None:
        run = self._run
        command = self._engine.structure_command(
            run.job.instance,
            run.job.database,
            run.found.tools,
            lock_wait=run.lock_wait,
            leave_out=[view for view, _ in run.found.unresolved],
        )
        async with run.site.spawner.start(command, stdout=file.fileno()) as process:
            await self._ended_well(process, _STRUCTURE_SECONDS)
        self._has_positions = await asyncio.to_thread(_scan, file, scanner)

    async def _ended_well(self, process: Process, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                ended = await process.wait()
        except TimeoutError:
            raise ToolError(f"{process.name} did not end within {seconds:g} s", code="stalled") from None
        if not ended.ok:
            raise self._engine.classify(process.name, ended.returncode, ended.signal, ended.stderr)

    async def carry(self) -> DumpResult:
        """Write the file, from the snapshots that all processes have.

        Raises:
            VyaError: whatever failed first.
        """
        faults.point("backup.dumping")
        scanners = [self._engine.rows_scanner(SEGMENT_SIZE) for _ in self._writers]
        streams = self._structure_streams()
        streams += [
            Stream(process.take_stdout(), scanner, _POSITIONS)
            for process, scanner in zip(self._writers, scanners, strict=True)
        ]
        result = await self._run.of_processes(self._writers, streams, taken_at=self._taken_at)
        missing = {table.name for table in self._tables if table.holds_still}.difference(
            *(scanner.tables for scanner in scanners)
        )
        if missing:
            raise DumpError(f"no process dumped the rows of {', '.join(sorted(missing)[:5])}", code="dump_lacks_tables")
        return result

    def _structure_streams(self) -> list[Stream]:
        """The main stream; and, where sequences stand before tables, their positions by themselves."""
        if self._structure is None:
            return []
        place = f"/proc/self/fd/{self._structure.fileno()}"
        main = Stream(os.open(place, os.O_RDONLY), self._run.scanner(), frozenset(Section) - _POSITIONS)
        if not self._has_positions:
            return [main]
        return [main, Stream(os.open(place, os.O_RDONLY), self._run.scanner(want_hash=False), _POSITIONS)]


def _spool(beside: int) -> contextlib.AbstractContextManager[BinaryIO]:
    """An unnamed file beside an open one. Raises StorageError when the file system refuses."""
    folder = Path(f"/proc/self/fd/{beside}").readlink().parent
    try:
        return cast("contextlib.AbstractContextManager[BinaryIO]", tempfile.TemporaryFile(dir=folder))
    except OSError as error:
        raise storage_error(error, "writing the structure of the dump aside") from error


def _scan(file: BinaryIO, scanner: Scanner) -> bool:
    """Read a whole dump of a structure; whether it has positions of sequences. Raises as the scanner does."""
    file.seek(0)
    found = False
    while chunk := file.read(_READ):
        found |= any(segment.section in _POSITIONS for segment in scanner.feed(chunk))
    return found or any(segment.section in _POSITIONS for segment in scanner.finish())
