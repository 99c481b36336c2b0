"""One dump while it runs: what every way of dumping is given, and what all of them do alike.

A way (``dumping_parallel`` chooses) starts tools and says which streams they are; this module carries the streams into
the partial file, and asks how the tools ended. How a tool ended explains a broken stream better than the stream does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from vya_backupd import faults
from vya_backupd.dumpfile.foretold import Foretold
from vya_backupd.engines.scanner import SEGMENT_SIZE, Scanner
from vya_backupd.errors import DumpError, StorageError, VyaError
from vya_backupd.model.backup import BackupFacts
from vya_backupd.model.command import Command
from vya_backupd.operations.looking import Dump, Look
from vya_backupd.operations.site import Site
from vya_backupd.pipeline.dump import DumpResult, DumpTerms, Stream, Watch, dump
from vya_backupd.policy.limits import Flow
from vya_backupd.probe import Visit
from vya_backupd.process import Exit, Process

_WORTH_FORETELLING = 8 << 20
"""Bytes of file from which it is worth a question to the catalog how the last one was packed."""
_STILL_THERE = 0.95
"""Of the database's size on the server at the last dump: with less, tables are gone that it told of."""
_LAST_WORDS = 5.0
"""Seconds that tools have to end by themselves after a stream was found wanting."""


@dataclass(frozen=True, slots=True)
class DumpRun:
    """A dump with everything that it needs.

    ``sink`` is the open partial file; ``visit`` is for questions to the database; ``warnings`` go into the manifest.
    """

    site: Site
    job: Dump
    found: Look
    facts: BackupFacts
    sink: int
    watch: Watch
    visit: Visit
    warnings: list[str] = field(default_factory=list)

    @property
    def lock_wait(self) -> int:
        """Seconds to wait for a lock."""
        return int(self.site.config.backup.lock_wait_timeout.total_seconds())

    def scanner(self, *, want_hash: bool | None = None) -> Scanner:
        """A scanner for the text of this database's dump; with a digest of the schema as configured, or as wanted."""
        return self.job.engine.scanner(
            SEGMENT_SIZE,
            want_hash=self.site.config.storage.metadata.include_schema_hash if want_hash is None else want_hash,
            database=self.job.database,
            left_out=self.found.unresolved,
        )

    def dump_command(self) -> Command:
        """The vendor's tool, for the whole database."""
        return self.job.engine.dump_command(
            self.job.instance,
            self.job.database,
            self.found.tools,
            self.job.server,
            lock_wait=self.lock_wait,
            leave_out=[view for view, _ in self.found.unresolved],
        )

    async def in_one_stream(self) -> DumpResult:
        """Dump the database by one run of the vendor's tool."""
        return await self.of_tool(self.dump_command(), self.scanner())

    async def of_tool(self, command: Command, scanner: Scanner) -> DumpResult:
        """Run one tool to its end, whose output is the dump."""
        async with self.site.spawner.start(command, stdout="pipe") as process:
            faults.point("backup.dumping")
            return await self.of_processes([process], [Stream(process.take_stdout(), scanner)])

    async def of_processes(
        self,
        processes: Sequence[Process],
        streams: Sequence[Stream],
        *,
        taken_at: datetime | None = None,
        at_once: int = 64,
    ) -> DumpResult:
        """Carry the streams of running processes into the file; then each of these must have ended well.

        The streams' descriptors are closed here. ``taken_at``, ``at_once`` as in ``pump``.

        Raises:
            VyaError: what the first tool says that ended badly; else what is wrong with a stream or the file.
        """
        try:
            result = await self.pump(streams, taken_at=taken_at, at_once=at_once)
        except DumpError as error:
            # A tool whose text nobody reads any more waits for ever; leaving its context stops it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._raise_first_failure(processes)
            raise self._at(error) from None
        finally:
            for stream in streams:
                os.close(stream.fd)
        await self._raise_first_failure(processes)
        return result

    async def pump(
        self, streams: Sequence[Stream], *, taken_at: datetime | None = None, at_once: int = 64
    ) -> DumpResult:
        """Carry streams into the file; the first is the main one.

        ``taken_at``: when the snapshot was taken, where this is known better than by the end of the dump's header.
        ``at_once``: how many of the others are read at a time.
        """
        facts, site = replace(self.facts, streams=len(streams)), self.site
        large = self.found.likely_size >= _WORTH_FORETELLING
        terms = DumpTerms(
            header=lambda: replace(facts, taken_at=taken_at or site.now()),
            now=site.now,
            codec=self.job.codec,
            level=self.job.level,
            expected_size=self.found.likely_size,
            warnings=lambda: tuple(dict.fromkeys(self.warnings)),
            algorithm=site.config.storage.checksums.algorithm,
            watch=self.watch,
            stall_timeout=site.config.backup.stall_timeout.total_seconds(),
            at_once=at_once,
            throttle=site.limits.throttle(self.job.instance.id, Flow.DUMP),
            foretold=await self._foretold() if large else None,
        )
        result = await dump(streams, self.sink, site.pool, terms)
        if large:
            await self._tell_next(result.learned)
        return result

    async def _tell_next(self, learned: Foretold | None) -> None:
        """Keep for the next dump what this one has learned. That it cannot be kept is no failure of this one."""
        if learned is not None:
            text = replace(learned, server_bytes=self._server_bytes).to_text()
            with contextlib.suppress(StorageError):
                await self.site.catalog.marks.set(self._mark, text)

    @property
    def _mark(self) -> str:
        """Where the catalog keeps what one dump tells the next."""
        return f"packing:{self.job.instance.id}/{self.job.database}"

    @property
    def _server_bytes(self) -> int:
        return self.found.before.size_bytes if self.found.before else 0

    async def _foretold(self) -> Foretold | None:
        """What the last dump told; nothing where so much has gone since that its savings may be among it."""
        text = None
        with contextlib.suppress(StorageError):
            text = await self.site.catalog.marks.get(self._mark)
        told = None if text is None else Foretold.from_text(text)
        return None if told is None or self._server_bytes < _STILL_THERE * told.server_bytes else told

    async def _raise_first_failure(self, processes: Sequence[Process]) -> None:
        """Wait for all to end; raise as soon as one has ended badly."""
        endings = {asyncio.ensure_future(_ending(process)) for process in processes}
        try:
            for ending in asyncio.as_completed(endings):
                process, ended = await ending
                if not ended.ok:
                    raise self._at(self.job.engine.classify(process.name, ended.returncode, ended.signal, ended.stderr))
        finally:
            for ending in endings:
                ending.cancel()

    def _at(self, error: VyaError) -> VyaError:
        return error.at(self.job.instance.id, self.job.database)


async def _ending(process: Process) -> tuple[Process, Exit]:
    return process, await process.wait()
