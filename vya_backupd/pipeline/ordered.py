"""The file under way: reading threads hand segments in, a pool compresses, one thread writes in the order of handing in.

A bounded number of segments is in flight (``pipeline.slots``), so a slow disk or a busy pool holds the readers back. Whoever hands in has a
``Turn``: a unit that spans several segments keeps it, so that nobody else's segment comes between its parts.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from vya_backupd.dumpfile.chooser import Chooser
from vya_backupd.dumpfile.codec import Codec, Deflated, deflate
from vya_backupd.dumpfile.seal import Closing
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.model.backup import BackupFacts
from vya_backupd.pipeline.files import FileSink
from vya_backupd.pipeline.pool import CodecPool
from vya_backupd.pipeline.stop import Stop

_USUAL = 3 << 20
"""Bytes of dump that take one slot."""


@dataclass(slots=True)
class _Promise:
    """A segment on its way through the pool."""

    segment: RawSegment
    deflated: Future[Deflated]


class Turn:
    """One thread's right to the next place in the file."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False

    def take(self) -> None:
        """Wait for it; at once where it was kept."""
        if not self._held:
            self._lock.acquire()
            self._held = True

    def give_back(self) -> None:
        """Let others go on. Safe to call without having it."""
        if self._held:
            self._held = False
            self._lock.release()


class OrderedFile:
    """One backup file while it is written. ``slots`` segments are in flight at most."""

    def __init__(
        self, sink: FileSink, file: FileWriter, codec: Chooser, pool: CodecPool, stop: Stop, slots: int
    ) -> None:
        self._sink = sink
        self._file = file
        self._codec = codec
        self._pool = pool
        self._stop = stop
        self._slots = pool.slots.share(slots)
        self._order = threading.Lock()
        self._queue: queue.SimpleQueue[BackupFacts | _Promise | Closing | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="dump-writer")

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    def end(self) -> None:
        """Wait until everything is written, or given up after a failure."""
        self._queue.put(None)
        self._writer.join()

    def turn(self) -> Turn:
        """The turn of a thread that wants to hand in."""
        return Turn(self._order)

    def open(self, facts: BackupFacts) -> None:
        """The beginning of the file: before every segment."""
        self._queue.put(facts)

    def seal(self, closing: Closing) -> None:
        """The end of the file: after every segment."""
        self._queue.put(closing)

    def add(self, segment: RawSegment, turn: Turn) -> None:
        """Give a segment the next place. Waits for a slot.

        Raises:
            BaseException: the job's failure.
        """
        turn.take()
        self._take_slots(segment)
        self._queue.put(_Promise(segment, self._pool.submit(_pack, segment, self._codec.choose(segment))))
        if not segment.continues:
            turn.give_back()

    def pack(self, segment: RawSegment, turn: Turn) -> Deflated:
        """Compress a segment in this thread, for a place that it gets later."""
        turn.take()
        codec = self._codec.choose(segment)
        turn.give_back()
        return _pack(segment, codec)

    def add_packed(self, segment: RawSegment, deflated: Deflated) -> None:
        """Give the next place to a segment that was packed before. Raises as ``add`` does."""
        self._take_slots(segment)
        done: Future[Deflated] = Future()
        done.set_result(deflated)
        self._queue.put(_Promise(segment, done))

    def _take_slots(self, segment: RawSegment) -> None:
        """Wait for them. Nobody else takes slots meanwhile, so it can wait for the second with the first in hand."""
        for _ in range(_slots_of(segment)):
            self._slots.take()
        self._stop.check()

    # the writing thread

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._stop.error is None:
                    self._sink.write(self._member(item))
                elif isinstance(item, _Promise) and not item.deflated.cancel():
                    item.deflated.exception()
            except BaseException as error:  # noqa: BLE001 -- the job's failure, which its reader raises
                self._stop.fail(error)
            finally:
                if isinstance(item, _Promise):
                    self._slots.give(_slots_of(item.segment))

    def _member(self, item: BackupFacts | _Promise | Closing) -> bytes:
        if isinstance(item, _Promise):
            return self._file.add(item.segment, item.deflated.result())
        if isinstance(item, BackupFacts):
            return self._file.first(item)
        return self._file.last(item)


def _slots_of(segment: RawSegment) -> int:
    """How many it takes: parts of a row that is larger than a segment are twice as large as segments are."""
    return 2 if segment.raw_size > _USUAL else 1


def _pack(segment: RawSegment, codec: Codec) -> Deflated:
    """Compress, and let go of the text."""
    deflated = deflate(segment, codec)
    segment.parts.clear()
    return deflated
