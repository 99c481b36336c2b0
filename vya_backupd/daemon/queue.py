"""The one queue: what may run now, what waits, how work is ended, and that every end is on record.

An operation starts when no running one, and none that waits longer, holds one of its resource keys, and fewer than
``concurrency`` run. So each key is first come, first served, and a wide operation is not starved by narrow ones.

How one operation is run and its outcome recorded is in ``daemon.keeper``; this module decides when.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from vya_backupd.daemon.keeper import interrupted, see_through
from vya_backupd.daemon.late_ends import LateEnds, close_left_behind
from vya_backupd.daemon.ledger import Ledger
from vya_backupd.daemon.running import Ending, RunningOperation
from vya_backupd.daemon.watching import Update
from vya_backupd.errors import BusyError, InterruptedWorkError, NotFoundError, UsageError, VyaError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, Progress, State
from vya_backupd.operations.work import Handler
from vya_backupd.unbroken import to_its_end


class OperationQueue:
    """Takes operations in, runs them, keeps them watchable. ``run`` must be running for anything to start.

    ``engine_of`` names the kind of an instance for events; ``now`` is the wall clock in UTC.
    """

    def __init__(
        self,
        ledger: Ledger,
        handlers: Mapping[OperationKind, Handler],
        *,
        concurrency: int,
        now: Callable[[], datetime],
        engine_of: Callable[[str], str] = lambda _: "unknown",
        max_queued: int = 1000,
    ) -> None:
        self._ledger = ledger
        self._handlers = dict(handlers)
        self.concurrency = concurrency
        self._now = now
        self._engine_of = engine_of
        self._max_queued = max_queued
        self._waiting: list[RunningOperation] = []
        self._active: dict[str, RunningOperation] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._intake = asyncio.Lock()
        self._late_ends = LateEnds()
        self._open = True

    # asking for work

    async def submit(
        self,
        kind: OperationKind,
        request: dict[str, Any],
        actor: str,
        *,
        key: str | None = None,
        attempt: int = 1,
        also: Sequence[Event] = (),
    ) -> Operation:
        """Queue an operation. With a ``key`` that was submitted before, that operation comes back and nothing is queued.

        ``also``: events that are written if it is queued, in the same transaction.

        Raises:
            VyaError: the handler refuses the request.
            UsageError: nobody does this kind of work here.
            BusyError: the daemon is stopping, or the queue is full.
        """
        handler = self._handlers.get(kind)
        if handler is None:
            raise UsageError(f"this daemon does not do {kind}")
        keys = handler.resources(request)
        async with self._intake:
            self._check_intake()
            wanted = Operation(
                _new_id(self._now()), kind, State.QUEUED, request, self._now(), actor, key=key, attempt=attempt
            )
            facts = {
                "kind": str(kind),
                "request": {name: value for name, value in request.items() if value is not None},
            }
            event = Event("operation.submitted", self._now(), wanted.id, actor=actor, data=facts)
            recorded = await self._ledger.submit(wanted, event, also=also)
            if recorded.id != wanted.id:
                return recorded
            entry = RunningOperation(recorded, handler, keys, self._ledger, self._now, self._engine_of)
            self._waiting.append(entry)
        if not self._open:
            await self._interrupt_waiting("the daemon is stopping")
        self._wake.set()
        return entry.current()

    async def cancel(self, operation_id: str, actor: str) -> Operation:
        """Ask an operation to end. It may take a moment; one that has ended already is returned as it is.

        Raises:
            NotFoundError: no operation has this id.
        """
        error = InterruptedWorkError(f"cancelled by {actor}")
        entry = self._find(operation_id)
        if entry is None:
            return await self._recorded(operation_id)
        await self._end(entry, Ending(State.CANCELLED, error, actor))
        return entry.current()

    async def operation(self, operation_id: str) -> Operation:
        """The operation as it is now.

        Raises:
            NotFoundError: no operation has this id.
        """
        entry = self._find(operation_id)
        return entry.current() if entry else await self._recorded(operation_id)

    async def watch(self, operation_id: str) -> AsyncIterator[Update]:
        """First the operation as it is, then what changes, at last the operation in its final state.

        Raises:
            NotFoundError: no operation has this id.
        """
        entry = self._find(operation_id)
        if entry is None:
            ended = await self._recorded(operation_id)
            yield ended
            yield ended
            return
        watch = entry.watch()
        try:
            async for update in watch.updates():
                yield update
        finally:
            entry.forget(watch)

    @property
    def running(self) -> tuple[Operation, ...]:
        """Operations that run now."""
        return tuple(entry.current() for entry in self._active.values())

    @property
    def waiting(self) -> tuple[Operation, ...]:
        """Operations that wait, in order."""
        return tuple(entry.current() for entry in self._waiting)

    def ahead_of(self, operation_id: str) -> tuple[Operation, ...]:
        """For whose end one that waits is waiting: none where it is about to start, or has started.

        They are those before it that need what it needs; or all that run, where no place is free.
        """
        entry = next((each for each in self._waiting if each.operation.id == operation_id), None)
        if entry is None:
            return ()
        before = [*self._active.values(), *self._waiting[: self._waiting.index(entry)]]
        rivals = [each for each in before if not entry.keys.isdisjoint(each.keys)]
        if not rivals and len(self._active) >= self.concurrency:
            rivals = list(self._active.values())
        return tuple(each.current() for each in rivals)

    @property
    def progress(self) -> tuple[Progress, ...]:
        """The newest progress of every running step."""
        return tuple(progress for entry in self._active.values() for progress in entry.latest_progress)

    # running and stopping

    async def recover(self) -> list[Operation]:
        """Close what an earlier daemon left behind; call it once, before ``run``. Returns what was interrupted."""
        return await close_left_behind(self._ledger, self._now, self._keys_of, self._engine_of)

    async def record_late_ends(self) -> None:
        """Offer the catalog the ends that it did not take in their time.

        Raises:
            StorageError: it still refuses.
        """
        await self._late_ends.settle()

    async def run(self) -> None:
        """Run what is submitted, until ``close`` was called and the last operation is on record."""
        async with asyncio.TaskGroup() as group:
            while self._open or self._active:
                self._start_ready(group)
                await self._wake.wait()
                self._wake.clear()

    async def close(self, reason: str = "the daemon is stopping") -> None:
        """Phase one of a stop: nothing new is taken, what waits is recorded as interrupted, what runs goes on."""
        self._open = False
        await self._interrupt_waiting(reason)
        self._wake.set()

    async def drain(self, seconds: float) -> bool:
        """Phase two: wait until nothing runs, at most so long. Returns whether that was enough."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def abort(self, reason: str) -> None:
        """Phase three: end what runs, with the reason on record, and wait until it is."""
        for entry in list(self._active.values()):
            await self._end(entry, Ending(State.INTERRUPTED, interrupted(reason), "daemon"))
        await self._idle.wait()

    # inside

    def _check_intake(self) -> None:
        if not self._open:
            raise BusyError(
                "the daemon is stopping and takes no new work", code="daemon_stopping", hint="try again when it is back"
            )
        if len(self._waiting) >= self._max_queued:
            raise BusyError(
                f"{len(self._waiting)} operations wait already", code="queue_full", hint="see 'vyactl operations list'"
            )

    def _keys_of(self, operation: Operation) -> frozenset[str]:
        """The keys of an operation on record; none where what it asked for is not to be had any more."""
        with contextlib.suppress(VyaError, KeyError):
            return self._handlers[operation.kind].resources(operation.request)
        return frozenset()

    def _find(self, operation_id: str) -> RunningOperation | None:
        if operation_id in self._active:
            return self._active[operation_id]
        return next((entry for entry in self._waiting if entry.operation.id == operation_id), None)

    async def _recorded(self, operation_id: str) -> Operation:
        operation = self._late_ends.shown(operation_id) or await self._ledger.get(operation_id)
        if operation is None:
            raise NotFoundError(
                f"no operation has the id {operation_id!r}",
                code="unknown_operation",
                hint="see 'vyactl operations list'",
            )
        return operation

    def _start_ready(self, group: asyncio.TaskGroup) -> None:
        taken = {key for entry in self._active.values() for key in entry.keys}
        for entry in list(self._waiting):
            if len(self._active) >= self.concurrency or not self._open:
                return
            if taken.isdisjoint(entry.keys):
                self._waiting.remove(entry)
                self._active[entry.operation.id] = entry
                self._idle.clear()
                group.create_task(self._keep(entry, group), name=f"keeper {entry.operation.id}")
            taken |= entry.keys

    async def _keep(self, entry: RunningOperation, group: asyncio.TaskGroup) -> None:
        """See one operation through to its recorded end."""
        try:
            if not await see_through(entry, group, self._now):
                self._late_ends.add(entry)
        finally:
            del self._active[entry.operation.id]
            entry.close()
            if not self._active:
                self._idle.set()
            self._wake.set()

    async def _end(self, entry: RunningOperation, ending: Ending) -> None:
        """Ask for the end of an operation. The first reason given stays."""
        if entry.ending is not None:
            return
        entry.ending = ending
        if entry in self._waiting:
            self._waiting.remove(entry)
            try:
                await to_its_end(entry.move(ending.state, error=ending.error))
            finally:
                entry.close()
        elif entry.task is not None:
            entry.task.cancel()

    async def _interrupt_waiting(self, reason: str) -> None:
        for entry in list(self._waiting):
            await self._end(entry, Ending(State.INTERRUPTED, interrupted(f"{reason}; not begun"), "daemon"))


def _new_id(now: datetime) -> str:
    """Sorts by time, and is short enough to type."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
