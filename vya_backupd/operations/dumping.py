"""Dump one database and publish the result; or the globals of an instance.

The runbook: look at the database; wait for its turn; see that there is room; open a partial file; let the tool dump into
it; ask, in this order, how the tool ended, whether the stream was a whole dump, and whether every table that the server
had before and after is in it; only then, the turn being over, publish; then record. Whatever fails first is what is
reported, and the partial file goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from vya_backupd import faults
from vya_backupd.config.schema import Config
from vya_backupd.engines.mysql_rights import accounts_lack
from vya_backupd.engines.scanner import SEGMENT_SIZE
from vya_backupd.errors import ServerError, ToolError, VyaError
from vya_backupd.model.backup import BackupFacts, BackupType, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.operation import Progress
from vya_backupd.operations.dump_run import DumpRun
from vya_backupd.operations.dumping_parallel import dump_database, planned
from vya_backupd.operations.looking import Dump, InstalledTools, Look, look, refuse_lacking_tables, with_help
from vya_backupd.operations.recording import record
from vya_backupd.operations.site import Site
from vya_backupd.operations.work import Work
from vya_backupd.pipeline.dump import DumpResult, Stream
from vya_backupd.policy.dump_plan import DumpPlan
from vya_backupd.policy.naming import Subject
from vya_backupd.probe import Visit
from vya_backupd.storage import Partial
from vya_backupd.unbroken import to_its_end

Turn = Callable[[], AbstractAsyncContextManager[None]]
"""What is held while the tool runs."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """How it went: the backup's id (none for a dry run) and what the step's record keeps."""

    backup_id: str | None
    detail: dict[str, Any] = field(default_factory=dict)


class Dumper:
    """One attempt at one dump."""

    def __init__(self, site: Site, work: Work, job: Dump, installed: InstalledTools) -> None:
        self._site = site
        self._work = work
        self._job = job
        self._installed = installed
        self._config: Config = site.config
        self._id = new_backup_id(site.now())
        self._expected = 0
        self._phase = "probing"
        self._warnings: list[str] = []

    async def run(self, looking: asyncio.Semaphore, turn: Turn) -> Dumped:
        """Do it.

        Raises:
            VyaError: whatever failed first.
        """
        async with self._site.probe.visit(self._job.instance, self._job.database) as visit:
            return await self._visiting(visit, looking, turn)

    async def _visiting(self, visit: Visit, looking: asyncio.Semaphore, turn: Turn) -> Dumped:
        async with looking:
            found = await look(self._site, self._job, self._installed, visit)
        async with contextlib.AsyncExitStack() as held:
            async with visit.rest():
                await held.enter_async_context(turn())
            if found.is_stale:
                found = await look(self._site, self._job, self._installed, visit)
            if self._job.dry_run:
                made = await planned(self._site, self._job, found)
                return Dumped(None, found.would_do(self._site, self._job) | _told(made))
            found.room(self._site)
            stored = await self._write(found, self._facts(found), visit, held)
        detail = {"size_bytes": stored.manifest.size_bytes, "warnings": list(stored.manifest.warnings)}
        return Dumped(stored.id, detail)

    def _facts(self, found: Look) -> BackupFacts:
        """Everything but the snapshot's time, which the dump itself tells."""
        job = self._job
        self._warnings += found.warnings
        self._expected = found.last.raw_size_bytes if found.last else 0
        tool = found.tools.globals_dump if job.type is BackupType.GLOBALS else found.tools.dump
        started = self._site.now()
        return BackupFacts(
            id=self._id,
            instance=job.instance.id,
            database=job.database,
            engine=job.instance.kind,
            type=job.type,
            hostname=self._config.application.hostname,
            started_at=started,
            taken_at=started,
            server_version=".".join(map(str, job.server.version)),
            tool=tool.label if tool else f"SQL of VYA BackupDB for {job.instance.kind}",
            compression_level=job.level,
            codec=job.codec,
            properties=dict(found.before.properties) if found.before else {},
            database_sql=found.database_sql,
            run=self._work.operation.key or self._work.operation.id,
        )

    async def _write(
        self, found: Look, facts: BackupFacts, visit: Visit, held: contextlib.AsyncExitStack
    ) -> StoredBackup:
        """From the partial file to the record in the catalog; ``held`` is let go between dump and publishing."""
        faults.point("backup.probed")
        partial = await self._site.store.new_partial(self._id)
        try:
            result = await self._dump(found, facts, partial.fd, visit)
            if found.before is not None:
                await refuse_lacking_tables(self._site, self._job, found.before, result.tables)
            faults.point("backup.dumped")
            await held.aclose()
            await visit.leave()
            self._phase = "publishing"
            self._tell(result.raw_size, result.size)
            path = self._path(result.facts)
            return await to_its_end(self._publish(partial, path, result))
        except BaseException:
            # The first failure is what counts; a leftover that cannot be removed now is swept at the next start.
            with contextlib.suppress(VyaError, OSError):
                await asyncio.to_thread(self._site.store.abort, partial)
            raise

    async def _publish(self, partial: Partial, path: str, result: DumpResult) -> StoredBackup:
        """Publish and record as one: a cancellation in between must not leave a backup that nobody knows."""
        stored = await self._site.store.publish(partial, path, result.manifest(PurePosixPath(path).name))
        await self._record(stored)
        return stored

    async def _record(self, stored: StoredBackup) -> None:
        facts = stored.manifest.facts
        event = Event(
            "backup.published",
            self._site.now(),
            self._work.operation.id,
            facts.instance,
            facts.database,
            self._work.operation.submitted_by,
            {"backup_id": facts.id, "path": stored.path, "size_bytes": stored.manifest.size_bytes},
        )
        await record(self._site, stored, event)
        faults.point("backup.recorded")

    def _path(self, facts: BackupFacts) -> str:
        subject = Subject(facts.hostname, facts.instance, facts.database, facts.engine, facts.type, facts.taken_at)
        return self._site.naming.path(subject, facts.codec)

    # the dump itself

    async def _dump(self, found: Look, facts: BackupFacts, sink: int, visit: Visit) -> DumpResult:
        self._phase = "dumping"
        run = DumpRun(self._site, self._job, found, facts, sink, self._tell, visit, self._warnings)
        if self._job.type is BackupType.GLOBALS:
            return await _dump_globals(run)
        try:
            return await dump_database(run)
        except VyaError as error:
            raise with_help(error, found.before.lacks if found.before else ()) from None

    def _tell(self, raw: int, written: int) -> None:
        job = self._job
        self._work.progress(
            Progress(self._work.operation.id, job.instance.id, job.database, self._phase, raw, self._expected, written)
        )


def _told(made: DumpPlan | None) -> dict[str, Any]:
    """A plan, as a dry run tells it."""
    return {} if made is None else {"sessions": made.sessions, "sessions_reason": made.reason}


async def _dump_globals(run: DumpRun) -> DumpResult:
    job, engine = run.job, run.job.engine
    faults.point("backup.globals")
    if job.instance.kind is not EngineKind.POSTGRESQL:
        try:
            script = await run.site.probe.globals_script(job.instance)
        except ServerError as error:
            raise with_help(error, [accounts_lack(await run.site.probe.grants(job.instance))]) from None
        async with _pipe_of(script) as fd:
            return await run.pump([Stream(fd, engine.globals_scanner(SEGMENT_SIZE))])
    passwords = job.server.is_superuser
    if not passwords:
        run.warnings.append("the account may not read password hashes: roles are backed up without passwords")
    command = engine.globals_command(job.instance, run.found.tools, passwords=passwords)
    if command is None:
        raise ToolError("there is no way to dump the globals of this server", code="tool_missing")
    return await run.of_tool(command, engine.globals_scanner(SEGMENT_SIZE))


def new_backup_id(now: datetime) -> str:
    """Sorts by time; short enough to type; no two are alike."""
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


@contextlib.asynccontextmanager
async def _pipe_of(text: bytes) -> AsyncIterator[int]:
    """A descriptor that gives this text and then its end."""
    fd = os.memfd_create("globals", os.MFD_CLOEXEC)
    try:
        os.write(fd, text)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)
