"""Dump one database and publish the result; or the globals of an instance.

The runbook: look at the database; see that there is room; open a partial file; let the tool dump into it; ask, in this
order, how the tool ended, whether the stream was a whole dump, and whether every table that the server had before and
after is in it; only then publish; then record. Whatever fails first is what is reported, and the partial file goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from vya_backupd import faults
from vya_backupd.config.schema import Config
from vya_backupd.engines.base import Engine
from vya_backupd.engines.registry import engine_for
from vya_backupd.engines.scanner import SEGMENT_SIZE, Scanner
from vya_backupd.engines.tools import Toolset
from vya_backupd.errors import DumpError, ToolError, VyaError
from vya_backupd.model.backup import GLOBALS_NAME, BackupFacts, BackupType, StoredBackup
from vya_backupd.model.command import Command
from vya_backupd.model.event import Event
from vya_backupd.model.instance import DatabaseFacts, EngineKind, Instance, ServerFacts
from vya_backupd.model.operation import Progress
from vya_backupd.operations.room import check_room
from vya_backupd.operations.site import Site
from vya_backupd.operations.work import Work
from vya_backupd.pipeline.dump import DumpResult, DumpTerms, dump
from vya_backupd.policy.naming import Subject
from vya_backupd.process import Exit, Process
from vya_backupd.storage import Partial

_LAST_WORDS = 5.0
"""Seconds that a tool has to end by itself after its stream was found wanting."""


@dataclass(frozen=True, slots=True)
class Dump:
    """One database to dump, or ``GLOBALS_NAME``."""

    instance: Instance
    server: ServerFacts
    database: str
    level: int
    dry_run: bool = False

    @property
    def type(self) -> BackupType:
        """What kind of backup it makes."""
        return BackupType.GLOBALS if self.database == GLOBALS_NAME else BackupType.FULL


@dataclass(frozen=True, slots=True)
class Dumped:
    """How it went: the backup's id (none for a dry run) and what the step's record keeps."""

    backup_id: str | None
    detail: dict[str, Any] = field(default_factory=dict)


class Dumper:
    """One attempt at one dump."""

    def __init__(self, site: Site, work: Work, job: Dump) -> None:
        self._site = site
        self._work = work
        self._job = job
        self._engine: Engine = engine_for(job.instance.kind)
        self._config: Config = site.config
        self._id = new_backup_id(site.now())
        self._expected = 0
        self._phase = "probing"
        self._warnings: list[str] = []
        self._unresolved: tuple[tuple[str, str], ...] = ()

    async def run(self) -> Dumped:
        """Do it.

        Raises:
            VyaError: whatever failed first.
        """
        job = self._job
        tools = self._engine.find_tools(job.server, await self._site.tools.installed_tools())
        before = None if job.type is BackupType.GLOBALS else await self._site.probe.database(job.instance, job.database)
        self._warnings += [*job.server.warnings, *(before.warnings if before else ())]
        self._unresolved = before.unresolved_views if before else ()
        last = await self._site.catalog.backups.last_size(job.instance.id, job.database)
        self._expected = last.raw_size_bytes if last else 0
        room = check_room(self._site, last.size_bytes if last else None, before)
        if job.dry_run:
            return Dumped(None, self._would_do(tools, before, room))
        facts = await self._facts(tools, before)
        faults.point("backup.probed")
        stored = await self._write(tools, before, facts)
        detail = {"size_bytes": stored.manifest.size_bytes, "warnings": list(stored.manifest.warnings)}
        return Dumped(stored.id, detail)

    def _would_do(self, tools: Toolset, before: DatabaseFacts | None, room: int) -> dict[str, Any]:
        return {
            "dry_run": True,
            "tool": tools.dump.label,
            "server": self._job.server.version_text,
            "size_on_server_bytes": before.size_bytes if before else None,
            "tables_count": len(before.tables) if before else None,
            "space_wanted_bytes": room,
            "warnings": list(self._warnings),
        }

    async def _facts(self, tools: Toolset, before: DatabaseFacts | None) -> BackupFacts:
        """Everything but the snapshot's time, which the dump itself tells."""
        job = self._job
        tool = tools.globals_dump if job.type is BackupType.GLOBALS else tools.dump
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
            properties=dict(before.properties) if before else {},
            database_sql=await self._database_sql(tools) if before else (),
            run=self._work.operation.key or self._work.operation.id,
        )

    async def _database_sql(self, tools: Toolset) -> tuple[str, ...]:
        job = self._job
        command = self._engine.properties_command(job.instance, job.database, tools, job.server)
        if command is None:
            if job.instance.kind is EngineKind.POSTGRESQL:
                self._warnings.append(
                    "pg_dump prints no properties of a database whose name has a line break:"
                    " its settings, rights and comment are not in this backup"
                )
            return ()
        done = await self._site.spawner.run(command, timeout=self._config.backup.stall_timeout.total_seconds())
        if not done.exit.ok:
            raise self._classified(command, done.exit)
        return self._engine.database_sql(done.stdout, job.database)

    async def _write(self, tools: Toolset, before: DatabaseFacts | None, facts: BackupFacts) -> StoredBackup:
        """From the partial file to the record in the catalog."""
        partial = await self._site.store.new_partial(self._id)
        try:
            result = await self._dump(tools, facts, partial.fd)
            if before is not None:
                await self._check_tables(before, result)
            faults.point("backup.dumped")
            self._phase = "publishing"
            self._tell(result.raw_size, result.size)
            path = self._path(result.facts)
            return await _to_its_end(self._publish(partial, path, result))
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
        await self._site.catalog.backups.record(stored, event)
        faults.point("backup.recorded")

    def _path(self, facts: BackupFacts) -> str:
        return self._site.naming.path(
            Subject(facts.hostname, facts.instance, facts.database, facts.engine, facts.type, facts.taken_at)
        )

    # the dump itself

    async def _dump(self, tools: Toolset, facts: BackupFacts, sink: int) -> DumpResult:
        self._phase = "dumping"
        if self._job.type is BackupType.FULL:
            lock_wait = int(self._config.backup.lock_wait_timeout.total_seconds())
            job = self._job
            command = self._engine.dump_command(
                job.instance,
                job.database,
                tools,
                job.server,
                lock_wait=lock_wait,
                leave_out=[view for view, _ in self._unresolved],
            )
            want_hash = self._config.storage.metadata.include_schema_hash
            scanner = self._engine.scanner(
                SEGMENT_SIZE, want_hash=want_hash, database=job.database, left_out=self._unresolved
            )
            return await self._run_tool(command, scanner, facts, sink)
        return await self._dump_globals(tools, facts, sink)

    async def _dump_globals(self, tools: Toolset, facts: BackupFacts, sink: int) -> DumpResult:
        if self._job.instance.kind is not EngineKind.POSTGRESQL:
            script = await self._site.probe.globals_script(self._job.instance)
            async with _pipe_of(script) as fd:
                return await self._pump(fd, self._engine.globals_scanner(SEGMENT_SIZE), facts, sink)
        passwords = self._job.server.is_superuser
        if not passwords:
            self._warnings.append("the account may not read password hashes: roles are backed up without passwords")
        command = self._engine.globals_command(self._job.instance, tools, passwords=passwords)
        if command is None:
            raise ToolError("there is no way to dump the globals of this server", code="tool_missing")
        return await self._run_tool(command, self._engine.globals_scanner(SEGMENT_SIZE), facts, sink)

    async def _run_tool(self, command: Command, scanner: Scanner, facts: BackupFacts, sink: int) -> DumpResult:
        """Run the tool to its end. How it ended explains a broken stream better than the stream does."""
        async with self._site.spawner.start(command, stdout="pipe") as process:
            faults.point("backup.dumping")
            fd = process.take_stdout()
            try:
                result = await self._pump(fd, scanner, facts, sink)
            except DumpError as error:
                # A tool whose text nobody reads any more waits for ever; leaving the context stops it.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WORDS):
                        await self._raise_if_tool_failed(command, process)
                raise error.at(self._job.instance.id, self._job.database) from None
            finally:
                os.close(fd)
            await self._raise_if_tool_failed(command, process)
        return result

    async def _raise_if_tool_failed(self, command: Command, process: Process) -> None:
        ended = await process.wait()
        if not ended.ok:
            raise self._classified(command, ended)

    def _classified(self, command: Command, ended: Exit) -> VyaError:
        return self._engine.classify(command.name, ended.returncode, ended.signal, ended.stderr).at(
            self._job.instance.id, self._job.database
        )

    async def _pump(self, fd: int, scanner: Scanner, facts: BackupFacts, sink: int) -> DumpResult:
        terms = DumpTerms(
            header=lambda: _stamped(facts, self._site.now()),
            now=self._site.now,
            level=self._job.level,
            warnings=lambda: tuple(dict.fromkeys(self._warnings)),
            algorithm=self._config.storage.checksums.algorithm,
            watch=self._tell,
            stall_timeout=self._config.backup.stall_timeout.total_seconds(),
        )
        return await dump(fd, sink, scanner, self._site.pool, terms)

    def _tell(self, raw: int, written: int) -> None:
        job = self._job
        self._work.progress(
            Progress(self._work.operation.id, job.instance.id, job.database, self._phase, raw, self._expected, written)
        )

    async def _check_tables(self, before: DatabaseFacts, result: DumpResult) -> None:
        """Every table that was there before and after must be in the dump; one that came or went meanwhile may be."""
        if set(before.tables) <= result.tables:
            return
        after = await self._site.probe.database(self._job.instance, self._job.database)
        missing = sorted((set(before.tables) & set(after.tables)) - result.tables)
        if missing:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise DumpError(
                f"the dump lacks tables that the server has: {shown}",
                code="dump_lacks_tables",
                hint="Can the backup account see them? Grant it SELECT, or leave the database out.",
            )


def _stamped(facts: BackupFacts, taken_at: datetime) -> BackupFacts:
    return replace(facts, taken_at=taken_at)


def new_backup_id(now: datetime) -> str:
    """Sorts by time; short enough to type; no two are alike."""
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


async def _to_its_end(publishing: Coroutine[Any, Any, StoredBackup]) -> StoredBackup:
    """Wait for it even when we are cancelled; then the cancellation goes on, and the backup stands."""
    task = asyncio.ensure_future(publishing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


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
