"""One PostgreSQL database dumped by several sessions that read from one snapshot.

The runbook: see which tables are large; lock them, then export a snapshot; let psql sessions take it up, each of which
writes pieces of tables as pg_dump would; let pg_dump, on the same snapshot, write everything else: schema, small tables,
sequences, large objects, indexes, rights. Each session is dealt its next piece while it works on the one before. What
was dealt is counted in the streams, and the session that holds locks and snapshot must have lived to the end.

Whatever is refused before the first byte is in the file leads to one stream, and is said in the manifest.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import termios
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

from vya_backupd import faults
from vya_backupd.engines import postgresql_pieces
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.engines.postgresql_pieces import TableFacts
from vya_backupd.engines.scan_postgresql import PostgresqlScanner
from vya_backupd.engines.scanner import SEGMENT_SIZE
from vya_backupd.errors import DumpError, ToolError, VyaError
from vya_backupd.model.backup import Section
from vya_backupd.operations.dump_run import DumpRun
from vya_backupd.operations.dumping_snapshot import OLDEST, encoding_of, main_command, refuse_changed
from vya_backupd.operations.looking import Dump, Look
from vya_backupd.operations.site import Site
from vya_backupd.pipeline.dump import DumpResult, Stream
from vya_backupd.policy.dump_plan import WORTHWHILE, DumpPlan, TableSize, plan, smallest_table
from vya_backupd.probe.postgresql_snapshot import Leader
from vya_backupd.process import Process

_RANGES = 14
"""Major version from which a range of pages is read without reading the whole table."""
_PATIENCE = 30.0
"""Seconds that a session has to connect and to take the snapshot up."""
_BESIDE = 1
"""Connections that are still to come beside those that read pieces: pg_dump's."""
_FEWEST = 2
"""Sessions below which one stream is as good."""
_DATA = frozenset({Section.DATA})
_AGAIN = frozenset({"lock_timeout", "tables_changed"})
"""Refusals that one stream would meet as well: all of it is tried again."""


async def dump_in_sessions(run: DumpRun) -> DumpResult | None:
    """Dump the run's database by several sessions; None where one stream is better, or the only way.

    Raises:
        VyaError: whatever failed first, once the file was begun; ``lock_timeout`` and ``tables_changed`` also before.
    """
    if not _is_worth_asking(run.site, run.found):
        return None
    instance, database = run.job.instance, run.job.database
    async with AsyncExitStack() as stack:
        try:
            leader = await stack.enter_async_context(run.site.probe.leader(instance, database))
            party = await _Party.gathered(run, leader, stack)
        except VyaError as error:
            if error.code in _AGAIN:
                raise
            run.warnings.append(f"dumped in one stream: {error.message}")
            return None
        if party is None:
            return None
        return await party.dump()


async def plan_of(site: Site, job: Dump, found: Look) -> DumpPlan:
    """How the database would be dumped now.

    Raises:
        VyaError: the server did not answer as it should.
    """
    if not _is_worth_asking(site, found):
        wanted = site.config.backup.parallel_per_database
        return plan([], 1, wanted)
    async with site.probe.leader(job.instance, job.database) as leader:
        await leader.wait_for_locks(int(site.config.backup.lock_wait_timeout.total_seconds()))
        return _planned(site, job, await _tables(site, leader, found))


def _is_worth_asking(site: Site, found: Look) -> bool:
    """Whether several sessions can come out of it: most databases are small, and are not asked anything more."""
    wanted = site.config.backup.parallel_per_database
    size = found.before.size_bytes if found.before else 0
    return wanted != 1 if wanted is not None else size >= WORTHWHILE


async def _tables(site: Site, leader: Leader, found: Look) -> list[TableFacts]:
    """Tables that can be read apart, largest first."""
    encoding = encoding_of(found)
    least = smallest_table(site.config.backup.parallel_piece_size)
    return [table for table in await leader.tables(least) if table.speaks(encoding)]


def _planned(site: Site, job: Dump, tables: Sequence[TableFacts], most: int | None = None) -> DumpPlan:
    """The plan; ``most`` sessions where the server has no room for more."""
    backup, ranges = site.config.backup, job.server.version[0] >= _RANGES
    sizes = [TableSize(table.key, table.size, table.pages if ranges else 0) for table in tables]
    cores = len(os.sched_getaffinity(0))
    made = plan(sizes, cores, backup.parallel_per_database, backup.parallel_piece_size)
    if most is not None and most < made.sessions:
        return plan(sizes, cores, most, backup.parallel_piece_size)
    return made


class _Session:
    """One psql, and what it was dealt."""

    def __init__(self, process: Process, scripts: deque[bytes]) -> None:
        self.process = process
        self.scanner = PostgresqlScanner(SEGMENT_SIZE, want_hash=False)
        self.stream = Stream(process.take_stdout(), self.scanner, _DATA, self.deal)
        self._scripts = scripts
        self._dealt = 0

    def say(self, text: bytes) -> None:
        """Feed psql. One that has ended says why by its exit."""
        if self.process.stdin_fd is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self.process.stdin_fd, text)

    def deal(self) -> None:
        """Deal the next piece when the last one has begun; the end when there is none. Called from one thread."""
        if self.scanner.blocks.total() < self._dealt or self.process.stdin_fd is None:
            return
        try:
            self.say(self._scripts.popleft())
        except IndexError:
            self.say(postgresql_pieces.closing())
            self.process.close_stdin()
        self._dealt += 1


@dataclass(frozen=True, slots=True)
class _Work:
    """What the sessions are to do: the tables that they read, and the scripts of all pieces in their order."""

    sessions: int
    tables: Sequence[TableFacts]
    scripts: deque[bytes]

    @classmethod
    def of(cls, made: DumpPlan, tables: Sequence[TableFacts]) -> _Work:
        """The work of a plan."""
        by_key = {table.key: table for table in tables}
        scripts = [postgresql_pieces.script(by_key[each.table], each.first, each.end) for each in made.pieces]
        cut = [by_key[key] for key in dict.fromkeys(piece.table for piece in made.pieces)]
        return cls(min(made.sessions, len(scripts)), cut, deque(scripts))


@dataclass(frozen=True, slots=True)
class _Party:
    """A leader, some sessions, and pg_dump, all of them on one snapshot."""

    run: DumpRun
    leader: Leader
    main: Process
    sessions: Sequence[_Session]
    tables: Sequence[TableFacts]
    pieces: int
    taken_at: datetime

    @classmethod
    async def gathered(cls, run: DumpRun, leader: Leader, stack: AsyncExitStack) -> _Party | None:
        """Locks, snapshot, sessions; None where the plan says that one is enough."""
        _refuse_old(run.job)
        await leader.wait_for_locks(run.lock_wait)
        tables = await _tables(run.site, leader, run.found)
        if _planned(run.site, run.job, tables).sessions == 1:
            return None
        free = await leader.free_connections() - _BESIDE
        if free < _FEWEST:
            raise ToolError("the server has no free connections for more sessions")
        snapshot = await leader.hold(tables)
        taken_at = run.site.now()
        locked = {(table.oid, table.quoted) for table in tables}
        tables = [each for each in await _tables(run.site, leader, run.found) if (each.oid, each.quoted) in locked]
        work = _Work.of(_planned(run.site, run.job, tables, free), tables)
        if not work.scripts:
            return None
        pieces = len(work.scripts)
        sessions = [await _session(run, stack, work.scripts) for _ in range(work.sessions)]
        for session in sessions:
            session.say(postgresql_pieces.opening(snapshot, encoding_of(run.found), work.tables))
        for session in sessions:
            await _ready(run, session)
        command = main_command(run, snapshot, work.tables)
        main = await stack.enter_async_context(run.site.spawner.start(command, stdout="pipe"))
        await refuse_changed(run, leader, main)
        return cls(run, leader, main, sessions, work.tables, pieces, taken_at)

    async def dump(self) -> DumpResult:
        """From the first byte in the file to the proof that every piece is there."""
        faults.point("backup.dumping")
        for session in self.sessions:
            session.deal()
        want_hash = self.run.site.config.storage.metadata.include_schema_hash
        scanner = PostgresqlScanner(SEGMENT_SIZE, want_hash=want_hash)
        streams = [Stream(self.main.take_stdout(), scanner), *(session.stream for session in self.sessions)]
        processes = [self.main, *(session.process for session in self.sessions)]
        result = await self._led(self.run.of_processes(processes, streams, taken_at=self.taken_at))
        self._refuse_wrong_pieces(scanner)
        return result

    async def _led(self, dumping: Coroutine[None, None, DumpResult]) -> DumpResult:
        """Carry on as long as the leading session lives; it must live to the end."""
        over = asyncio.Event()
        carrying = asyncio.ensure_future(dumping)
        staying = asyncio.ensure_future(self.leader.stay(over))
        try:
            await asyncio.wait({carrying, staying}, return_when=asyncio.FIRST_COMPLETED)
            over.set()
            if not carrying.done():
                carrying.cancel()
            await asyncio.wait({carrying, staying})
        finally:
            for each in (carrying, staying):
                each.cancel()
            await asyncio.wait({carrying, staying})
        if not carrying.cancelled():
            carrying.result()
        staying.result()
        return carrying.result()

    def _refuse_wrong_pieces(self, scanner: PostgresqlScanner) -> None:
        """No row may be there twice, none may be missing: pg_dump left the tables out, the sessions read them all."""
        twice = {table.key for table in self.tables} & set(scanner.blocks)
        found = sum(session.scanner.blocks.total() for session in self.sessions)
        if twice or found != self.pieces:
            message = f"the sessions wrote {found} of {self.pieces} pieces; pg_dump also wrote {sorted(twice)}"
            raise DumpError(message).at(self.run.job.instance.id, self.run.job.database)


def _refuse_old(job: Dump) -> None:
    if job.server.version[0] < OLDEST:
        message = f"servers before PostgreSQL {OLDEST} are dumped by one session"
        raise ToolError(message)


async def _session(run: DumpRun, stack: AsyncExitStack, scripts: deque[bytes]) -> _Session:
    job = run.job
    command = PostgreSQL().pieces_command(job.instance, job.database, run.found.tools, job.server)
    process = await stack.enter_async_context(run.site.spawner.start(command, stdin="pipe", stdout="pipe"))
    faults.point("backup.session")
    return _Session(process, scripts)


async def _ready(run: DumpRun, session: _Session) -> None:
    """Wait until a session has the snapshot: it writes something then.

    Raises:
        VyaError: it could not, in its own words.
    """
    fd, loop = session.stream.fd, asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        async with asyncio.timeout(_PATIENCE):
            await readable.wait()
    except TimeoutError:
        raise ToolError(f"{session.process.name} did not begin within {_PATIENCE:g} s", code="stalled") from None
    finally:
        loop.remove_reader(fd)
    waiting = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, waiting)
    if not waiting[0]:
        ended = await session.process.wait()
        raise run.job.engine.classify(session.process.name, ended.returncode, ended.signal, ended.stderr)
