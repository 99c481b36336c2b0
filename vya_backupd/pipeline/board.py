"""What several sessions do between them: jobs, in which order they may run, and what excludes what.

A *batch* is a row of jobs that are made when somebody takes them, so a table of a million segments costs no memory. It
belongs to a *group*; a batch that comes *after* a group begins when every job of that group was executed. Among the
batches that may begin, the one with the highest priority gives the next job; one that has as many lanes as do it good
lets the others go first.

Nothing here waits on pipes or servers, and nobody here knows what a job's text means.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that one session executes as a whole: its text, in pieces, and what it is, for errors."""

    what: str
    texts: Callable[[], Iterator[bytes]]


@dataclass(slots=True)
class Batch:
    """``count`` jobs of one group, and of the larger group ``within``, where there is one.

    None of them begins before all groups of ``after`` are done.
    ``exclusive`` are names (of tables) that nothing else may hold while a job of this batch runs; ``shared`` ones may
    be held by others that share them, too. A group that no batch belongs to is done from the beginning. ``quick`` jobs may
    wait in a session behind another quick one. More than ``lanes`` lanes work on a batch only when there is nothing
    else for them to do; None: as many as come.
    """

    group: str
    jobs: Iterator[Job]
    count: int = 1
    priority: int = 0
    within: str = ""
    quick: bool = False
    after: frozenset[str] = frozenset()
    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    lanes: int | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that it belongs to."""
        return (self.group, self.within) if self.within else (self.group,)


@dataclass(order=True, slots=True)
class _Entry:
    rank: tuple[int, int]
    batch: Batch = field(compare=False)
    left: int = field(compare=False)
    blockers: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that a lane runs now; hand it back to ``Board.done``."""

    job: Job
    batch: Batch
    lane: int


class Board:
    """The batches of one restore. Any thread may take and hand back."""

    def __init__(self, batches: list[Batch]) -> None:
        self._changed = threading.Condition()
        self._open: Counter[str] = Counter()
        self._waiting: dict[str, list[_Entry]] = defaultdict(list)
        self._ready: list[_Entry] = []
        self._held: Counter[str] = Counter()
        self._shared: Counter[str] = Counter()
        self._lanes: defaultdict[int, Counter[int]] = defaultdict(Counter)
        """The jobs that each lane runs, by the batch's identity."""
        self._running = 0
        self._closed = False
        self.unfinished = sum(batch.count for batch in batches)
        """Jobs that were not executed yet."""
        for batch in batches:
            for group in batch.groups:
                self._open[group] += batch.count
        for number, batch in enumerate(batches):
            self._enter(_Entry((-batch.priority, number), batch, batch.count))

    def take(self, lane: int = 0) -> Taken | None:
        """The next job for a lane, waiting until one may run; None when nothing is left for it to do."""
        with self._changed:
            while not self._closed:
                entry = self._next(lane)
                if entry is not None:
                    return self._begin(entry, lane)
                if not self._running:
                    break
                self._changed.wait()
            self._changed.notify_all()
            return None

    def take_quick(self, lane: int = 0) -> Taken | None:
        """The next job, if it is a quick one and may run now."""
        with self._changed:
            entry = None if self._closed else self._next(lane)
            if entry is None or entry.batch.quick:
                return None if entry is None else self._begin(entry, lane)
            heapq.heappush(self._ready, entry)
            return None

    def done(self, taken: Taken) -> None:
        """The job was executed."""
        batch = taken.batch
        with self._changed:
            self._running -= 1
            self.unfinished -= 1
            self._held.subtract(batch.exclusive)
            self._shared.subtract(batch.shared)
            self._leave(taken)
            for group in batch.groups:
                self._open[group] -= 1
                if not self._open[group]:
                    self._release(group)
            self._changed.notify_all()

    def close(self) -> None:
        """Give out nothing more; whoever waits gets None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _enter(self, entry: _Entry) -> None:
        groups = [group for group in entry.batch.after if self._open[group] > 0]
        entry.blockers = len(groups)
        for group in groups:
            self._waiting[group].append(entry)
        if not groups and entry.left:
            heapq.heappush(self._ready, entry)

    def _release(self, group: str) -> None:
        for entry in self._waiting.pop(group, ()):
            entry.blockers -= 1
            if not entry.blockers and entry.left:
                heapq.heappush(self._ready, entry)

    def _next(self, lane: int) -> _Entry | None:
        """The best batch whose names are free and that has room for the lane, or else the best whose names are free.

        Those passed over stay where they are.
        """
        passed: list[_Entry] = []
        found = crowded = None
        while self._ready and found is None:
            entry = heapq.heappop(self._ready)
            if not self._is_free(entry.batch):
                passed.append(entry)
            elif self._has_room(entry.batch, lane):
                found = entry
            elif crowded is None:
                crowded = entry
            else:
                passed.append(entry)
        if found is not None and crowded is not None:
            passed.append(crowded)
        for entry in passed:
            heapq.heappush(self._ready, entry)
        return found or crowded

    def _has_room(self, batch: Batch, lane: int) -> bool:
        if batch.lanes is None:
            return True
        lanes = self._lanes.get(id(batch), ())
        return lane in lanes or len(lanes) < batch.lanes

    def _leave(self, taken: Taken) -> None:
        lanes = self._lanes[id(taken.batch)]
        lanes[taken.lane] -= 1
        if not lanes[taken.lane]:
            del lanes[taken.lane]
        if not lanes:
            del self._lanes[id(taken.batch)]

    def _is_free(self, batch: Batch) -> bool:
        if any(self._held[name] > 0 for name in batch.exclusive | batch.shared):
            return False
        return all(self._shared[name] <= 0 for name in batch.exclusive)

    def _begin(self, entry: _Entry, lane: int) -> Taken:
        batch = entry.batch
        job = next(batch.jobs)
        entry.left -= 1
        if entry.left:
            heapq.heappush(self._ready, entry)
        self._running += 1
        self._held.update(batch.exclusive)
        self._shared.update(batch.shared)
        self._lanes[id(batch)][lane] += 1
        return Taken(job, batch, lane)
