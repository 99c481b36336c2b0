"""Dumping: threads read and scan, a shared pool compresses, one thread writes in order.

Bytes pass through few hands. A reading thread blocks on a tool's pipe and lets the scanner cut what comes; every
segment goes to the pool and, as a promise, into the line for the file (``pipeline.ordered``). A bounded number of
segments is in flight, so a slow disk or a busy pool holds the readers back, and the pipes hold the tools back.

One stream is written as it comes. Of several, the first is the *main* one: the tool's own dump, but for data that the
others bring. It alone gives header, schema, post and footer. The others wait until its schema is in the file; what it
ends with waits, packed, until they are done. Each of them is scanned to an end marker of its own, so that each is
proven whole.

The first failure of any thread is the failure of the job. It reaches the others through ``Stop``: readers by their
poll and by every lock they wait for, the writer by giving up what it is handed from then on.

What this module does not know: whether the tools exited well. End of file is not success; the caller asks the
processes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

from vya_backupd.dumpfile.chooser import new_chooser
from vya_backupd.dumpfile.seal import Closing
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.model.backup import BackupFacts, Section
from vya_backupd.pipeline.dump_terms import DumpResult, DumpTerms, Scanner, Stream, Watch
from vya_backupd.pipeline.files import FileSink
from vya_backupd.pipeline.ordered import OrderedFile, Turn
from vya_backupd.pipeline.pipes import PipeReader
from vya_backupd.pipeline.pool import CodecPool
from vya_backupd.pipeline.shelf import Shelf
from vya_backupd.pipeline.stop import Stop, run_in_thread

__all__ = ["DumpResult", "DumpTerms", "Scanner", "Stream", "Watch", "dump"]

_WATCH_INTERVAL = 0.1
_IN_FLIGHT = 5
"""Segments of one dump between scanner and file. More would only wait: the pool has a thread for each core."""
_MORE_IN_FLIGHT = 2
"""The same, for each further stream that is read at the same time."""
_LARGEST_HEADER = 16 << 20
"""Bytes. A dump that has not ended its header by then has none; its facts are stamped, and memory stays bounded."""
_LAST = frozenset({Section.POST, Section.FOOTER})
"""Sections of the main stream that come after the data of all streams."""


async def dump(streams: Sequence[Stream], sink: int, pool: CodecPool, terms: DumpTerms) -> DumpResult:
    """Carry a dump from its pipes into the open file ``sink``, to its seal. All descriptors stay the caller's to close.

    Cancelling waits for the threads and leaves an unusable partial file, as every failure does.

    Raises:
        DumpError: a scanner found no whole dump. Ask the processes first: a tool that died explains it better.
        StorageError: the file could not be written.
        ToolError: ``stalled``.
    """
    stop = Stop()
    with contextlib.ExitStack() as shelves:
        shelf = shelves.enter_context(Shelf(sink)) if len(streams) > 1 else None
        job = _Dump(streams, FileSink(sink), shelf, pool, stop, terms)
        return await run_in_thread("dump", job.run, stop)


class _Dump:
    def __init__(
        self,
        streams: Sequence[Stream],
        sink: FileSink,
        shelf: Shelf | None,
        pool: CodecPool,
        stop: Stop,
        terms: DumpTerms,
    ) -> None:
        self._main, *others = streams
        self._others = tuple(others)
        self._waiting = deque(others)
        self._at_once = min(terms.at_once, len(others))
        self._shelf = shelf
        self._stop = stop
        self._terms = terms
        self._file = FileWriter(terms.algorithm, terms.codec)
        self._chooser = new_chooser(terms.codec, terms.level, terms.expected_size, terms.foretold)
        self._line = OrderedFile(
            sink,
            self._file,
            self._chooser,
            pool,
            stop,
            _IN_FLIGHT + _MORE_IN_FLIGHT * self._at_once,
        )
        self._schema_done = threading.Event()
        self._facts: BackupFacts | None = None
        self._held: list[RawSegment] = []
        self._raw_lock = threading.Lock()
        self._raw_read = 0
        self._watched_at = 0.0

    def run(self) -> DumpResult:
        """The whole job, in the calling thread, one for each further stream, and one that writes."""
        others = [
            threading.Thread(target=self._read_others, name=f"dump-{number + 1}") for number in range(self._at_once)
        ]
        self._line.start()
        for thread in others:
            thread.start()
        try:
            self._read_main()
            for thread in others:
                thread.join()
            self._stop.check()
            closing = self._close()
        except BaseException as error:
            self._stop.fail(error)
            raise
        finally:
            self._schema_done.set()
            for thread in others:
                thread.join()
            self._line.end()
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
            learned=self._chooser.learned(),
        )

    def _close(self) -> Closing:
        """What the main stream ended with, and the seal."""
        for segment, deflated in self._shelf.all() if self._shelf else ():
            self._line.add_packed(segment, deflated)
        finished_at = self._terms.now()
        passed = (finished_at - self._known().started_at).total_seconds()
        closing = Closing(
            finished_at=finished_at,
            duration_seconds=max(round(passed, 3), 0.0),  # the clock may have been set back meanwhile
            schema_info=self._main.scanner.summary,
            tables=frozenset().union(*(stream.scanner.tables for stream in (self._main, *self._others))),
            warnings=tuple(self._terms.warnings()),
        )
        self._line.seal(closing)
        return closing

    # the thread of the main stream

    def _read_main(self) -> None:
        turn = self._line.turn()
        try:
            for segments in self._segments(self._main):
                self._pass_on(segments, turn)
            self._known()
            self._release_held(turn)
        finally:
            turn.give_back()
        self._schema_done.set()

    def _known(self) -> BackupFacts:
        """The facts; stamped at the first call."""
        if self._facts is None:
            self._facts = self._terms.header()
            self._line.open(self._facts)
        return self._facts

    def _pass_on(self, segments: list[RawSegment], turn: Turn) -> None:
        """Send segments on their way. Those of an unfinished header wait: facts come first in the file."""
        self._held += segments
        if self._main.scanner.header_done or self._raw_read > _LARGEST_HEADER:
            self._known()
        if self._facts is not None:
            self._release_held(turn)

    def _release_held(self, turn: Turn) -> None:
        held, self._held = self._held, []
        for segment in held:
            if self._shelf is not None and segment.section in _LAST:
                self._shelf.put(segment, self._line.pack(segment, turn))
                continue
            if segment.section is Section.DATA:
                self._schema_done.set()
            self._line.add(segment, turn)

    # the threads of the other streams

    def _read_others(self) -> None:
        turn = self._line.turn()
        try:
            self._schema_done.wait()
            while (stream := self._next()) is not None:
                for segments in self._segments(stream):
                    for segment in segments:
                        self._line.add(segment, turn)
        except BaseException as error:  # noqa: BLE001 -- the job's failure, which run raises
            self._stop.fail(error)
        finally:
            turn.give_back()

    def _next(self) -> Stream | None:
        with contextlib.suppress(IndexError):
            return self._waiting.popleft()
        return None

    # every reading thread

    def _segments(self, stream: Stream) -> Iterator[list[RawSegment]]:
        """What a stream gives, to its proven end."""
        source = PipeReader(stream.fd, self._stop, self._terms.stall_timeout, self._terms.throttle)
        while chunk := source.read():
            with self._raw_lock:
                self._raw_read += len(chunk)
            segments = stream.scanner.feed(chunk)
            if stream.after_feed is not None:
                stream.after_feed()
            yield stream.kept(segments)
            self._report()
        yield stream.kept(stream.scanner.finish())

    def _report(self, *, last: bool = False) -> None:
        watch, moment = self._terms.watch, time.monotonic()
        if watch is not None and (last or moment - self._watched_at >= _WATCH_INTERVAL):
            self._watched_at = moment
            watch(self._raw_read, self._file.size)
