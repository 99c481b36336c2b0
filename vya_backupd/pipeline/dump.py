"""Dumping: one thread reads and scans, a shared pool compresses, one thread writes in order.

Bytes pass through few hands. The reading thread blocks on the tool's pipe and lets the scanner cut what comes; every
segment goes to the pool and, as a promise, into a queue; the writing thread takes promises in order. A bounded number
of segments is in flight, so a slow disk or a busy pool holds the reader back, and the pipe holds the tool back.

The first failure of any thread is the failure of the job. It reaches the others through ``Stop``: the reader by its
poll, the writer by giving up what it is handed from then on.

What this module does not know: whether the tool exited well. End of file is not success; the caller asks the process.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vya_backupd.dumpfile.codec import Codec, Deflated, deflate
from vya_backupd.dumpfile.codec_choice import CodecChooser
from vya_backupd.dumpfile.seal import Closing
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.model.backup import BackupFacts, Extent, Manifest, SchemaInfo
from vya_backupd.pipeline.files import FileSink
from vya_backupd.pipeline.pipes import PipeReader
from vya_backupd.pipeline.stop import Stop, run_in_thread

Watch = Callable[[int, int], None]
"""``watch(raw_bytes, file_bytes)``: how far it is; called from a thread, a few times per second."""
_WATCH_INTERVAL = 0.1
_IN_FLIGHT = 5
"""Segments of one dump between scanner and file. More would only wait: the pool has a thread for each core."""
_LARGEST_HEADER = 16 << 20
"""Bytes. A dump that has not ended its header by then has none; its facts are stamped, and memory stays bounded."""


class Scanner(Protocol):
    """What the pump asks of an engine's scanner."""

    @property
    def header_done(self) -> bool:
        """The dump's header is over: the snapshot exists."""

    @property
    def tables(self) -> set[str]:
        """Tables that the dump holds."""

    @property
    def summary(self) -> SchemaInfo:
        """Counts and digest of the schema; final after ``finish``."""

    def feed(self, chunk: bytes) -> list[RawSegment]:
        """Take the next bytes; give back segments that are complete."""

    def finish(self) -> list[RawSegment]:
        """The rest. Raises ``DumpError`` when this was no whole dump."""


@dataclass(frozen=True, slots=True)
class DumpTerms:
    """What a dump is told beforehand.

    ``header`` is called once, from a thread, when the dump's header is complete: it stamps the snapshot's time.
    ``warnings`` is called at the end, for what the manifest shall say; ``now`` for the finishing time (UTC).
    ``level`` is 1-9, ``algorithm`` sha256 or md5, ``stall_timeout`` seconds, ``expected_size`` what the file will likely
    have in bytes, 0 where nobody knows.
    """

    header: Callable[[], BackupFacts]
    now: Callable[[], datetime]
    level: int = 6
    expected_size: int = 0
    warnings: Callable[[], Sequence[str]] = tuple
    algorithm: str = "sha256"
    watch: Watch | None = None
    stall_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class DumpResult:
    """A file that was written and sealed; everything that its manifest needs."""

    facts: BackupFacts
    size: int
    raw_size: int
    members: int
    checksum_algorithm: str
    checksum: str
    extents: tuple[Extent, ...]
    rows: int | None
    tables: frozenset[str]
    schema_info: SchemaInfo
    finished_at: datetime
    duration_seconds: float
    warnings: tuple[str, ...]

    def manifest(self, filename: str) -> Manifest:
        """The manifest of the file under the name that it will be published with."""
        return Manifest(
            facts=self.facts,
            filename=filename,
            size_bytes=self.size,
            raw_size_bytes=self.raw_size,
            members=self.members,
            checksum_algorithm=self.checksum_algorithm,
            checksum=self.checksum,
            duration_seconds=self.duration_seconds,
            finished_at=self.finished_at,
            schema_info=self.schema_info,
            extents=self.extents,
            warnings=self.warnings,
        )


async def dump(fd: int, sink: int, scanner: Scanner, pool: ThreadPoolExecutor, terms: DumpTerms) -> DumpResult:
    """Carry a dump from the pipe ``fd`` into the open file ``sink``, to its seal. Both stay the caller's to close.

    Cancelling waits for the threads and leaves an unusable partial file, as every failure does.

    Raises:
        DumpError: the scanner found no whole dump. Ask the process first: a tool that died explains it better.
        StorageError: the file could not be written.
        ToolError: ``stalled``.
    """
    stop = Stop()
    job = _Dump(PipeReader(fd, stop, terms.stall_timeout), FileSink(sink), scanner, pool, stop, terms)
    return await run_in_thread("dump", job.run, stop)


@dataclass(slots=True)
class _Promise:
    """A segment on its way through the pool."""

    segment: RawSegment
    deflated: Future[Deflated]


class _Dump:
    def __init__(
        self,
        source: PipeReader,
        sink: FileSink,
        scanner: Scanner,
        pool: ThreadPoolExecutor,
        stop: Stop,
        terms: DumpTerms,
    ) -> None:
        self._source = source
        self._sink = sink
        self._scanner = scanner
        self._pool = pool
        self._stop = stop
        self._terms = terms
        self._codec = CodecChooser(terms.level, terms.expected_size)
        self._file = FileWriter(terms.algorithm)
        self._queue: queue.SimpleQueue[BackupFacts | _Promise | Closing | None] = queue.SimpleQueue()
        self._slots = threading.Semaphore(_IN_FLIGHT)
        self._facts: BackupFacts | None = None
        self._held: list[RawSegment] = []
        self._raw_read = 0
        self._watched_at = 0.0

    def run(self) -> DumpResult:
        """The whole job, in the calling thread and one more."""
        writer = threading.Thread(target=self._write_all, name="dump-writer")
        writer.start()
        try:
            closing = self._read_all()
        except BaseException as error:
            self._stop.fail(error)
            raise
        finally:
            self._queue.put(None)
            writer.join()
            self._stop.check()
        self._report(last=True)
        return self._result(closing)

    def _result(self, closing: Closing) -> DumpResult:
        file = self._file
        return DumpResult(
            facts=self._known(),
            size=file.size,
            raw_size=file.raw_size,
            members=file.members,
            checksum_algorithm=file.algorithm,
            checksum=file.checksum,
            extents=file.extents,
            rows=file.rows,
            tables=closing.tables,
            schema_info=closing.schema_info,
            finished_at=closing.finished_at,
            duration_seconds=closing.duration_seconds,
            warnings=closing.warnings,
        )

    # the reading thread

    def _read_all(self) -> Closing:
        while chunk := self._source.read():
            self._raw_read += len(chunk)
            self._pass_on(self._scanner.feed(chunk))
            self._report()
        self._pass_on(self._scanner.finish())
        facts = self._known()
        self._release_held()
        finished_at = self._terms.now()
        closing = Closing(
            finished_at=finished_at,
            duration_seconds=round((finished_at - facts.started_at).total_seconds(), 3),
            schema_info=self._scanner.summary,
            tables=frozenset(self._scanner.tables),
            warnings=tuple(self._terms.warnings()),
        )
        self._queue.put(closing)
        return closing

    def _known(self) -> BackupFacts:
        """The facts; stamped at the first call."""
        if self._facts is None:
            self._facts = self._terms.header()
            self._queue.put(self._facts)
        return self._facts

    def _pass_on(self, segments: list[RawSegment]) -> None:
        """Send segments on their way. Those of an unfinished header wait: facts come first in the file."""
        self._held += segments
        if self._scanner.header_done or self._raw_read > _LARGEST_HEADER:
            self._known()
        if self._facts is not None:
            self._release_held()

    def _release_held(self) -> None:
        held, self._held = self._held, []
        for segment in held:
            self._slots.acquire()
            self._stop.check()
            self._queue.put(_Promise(segment, self._pool.submit(_pack, segment, self._codec.choose(segment))))

    def _report(self, *, last: bool = False) -> None:
        watch, moment = self._terms.watch, time.monotonic()
        if watch is not None and (last or moment - self._watched_at >= _WATCH_INTERVAL):
            self._watched_at = moment
            watch(self._raw_read, self._file.size)

    # the writing thread

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._stop.error is None:
                    self._sink.write(self._member(item))
                elif isinstance(item, _Promise) and not item.deflated.cancel():
                    item.deflated.exception()
            except BaseException as error:  # noqa: BLE001 -- the job's failure, which run raises
                self._stop.fail(error)
            finally:
                if isinstance(item, _Promise):
                    self._slots.release()

    def _member(self, item: BackupFacts | _Promise | Closing) -> bytes:
        if isinstance(item, _Promise):
            return self._file.add(item.segment, item.deflated.result())
        if isinstance(item, BackupFacts):
            return self._file.first(item)
        return self._file.last(item)


def _pack(segment: RawSegment, codec: Codec) -> Deflated:
    """Compress, and let go of the text."""
    deflated = deflate(segment, codec)
    segment.parts.clear()
    return deflated
