"""One operation between its submission and its end: its steps, its watchers, and the ``Work`` that its handler sees."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from vya_backupd.daemon.facts import finished_facts
from vya_backupd.daemon.ledger import Ledger
from vya_backupd.daemon.watching import Update, Watch
from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import MOVES, Operation, Progress, State, Step, advance, is_final
from vya_backupd.operations.work import Handler

PROGRESS_PERIOD = 0.2
"""Seconds between two progress records of one step, as watchers see them."""

StepKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an operation is to be ended before its time: ``CANCELLED`` by somebody, or ``INTERRUPTED`` by a stop."""

    state: State
    error: VyaError
    actor: str


class RunningOperation:
    """State and history of one operation; implements ``operations.work.Work``.

    Everything but ``progress`` belongs to the event loop.
    """

    def __init__(
        self,
        operation: Operation,
        handler: Handler,
        keys: frozenset[str],
        ledger: Ledger,
        now: Callable[[], datetime],
        engine_of: Callable[[str], str],
    ) -> None:
        self.operation = operation
        self.handler = handler
        self.keys = keys
        self.ending: Ending | None = None
        self.task: asyncio.Task[Any] | None = None
        self.done = asyncio.Event()
        self._on_record = operation.state
        self._ledger = ledger
        self._now = now
        self._engine_of = engine_of
        self._loop = asyncio.get_running_loop()
        self._steps: dict[StepKey, Step] = {(step.instance, step.database): step for step in operation.steps}
        self._spans: dict[str, tuple[float, float]] = {}
        self._watches: set[Watch] = set()
        self._progress_lock = threading.Lock()
        self._progress: dict[StepKey, Progress] = {}
        self._scheduled: set[StepKey] = set()
        self._sent_at: dict[StepKey, float] = {}

    # what the handler says

    async def plan_steps(self, steps: Sequence[tuple[str, str]]) -> None:
        """See ``Work``. Steps that are known already keep their state."""
        new = [Step(instance, database) for instance, database in steps if (instance, database) not in self._steps]
        if not new:
            return
        await self._ledger.plan_steps(self.operation.id, new)
        for step in new:
            self._steps[(step.instance, step.database)] = step
            self.publish(step)

    async def step_started(self, instance: str, database: str) -> None:
        """See ``Work``."""
        began = self._loop.time()
        self._spans[instance] = (self._spans.get(instance, (began, began))[0], began)
        await self._move(await self._known(instance, database), State.RUNNING)

    async def step_finished(
        self,
        instance: str,
        database: str,
        state: State,
        *,
        backup_id: str | None = None,
        error: VyaError | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """See ``Work``. A step that was never said to start is started first, where its end asks for that."""
        step = await self._known(instance, database)
        if state not in MOVES[step.state] and step.state is State.QUEUED:
            await self.step_started(instance, database)
            step = self._steps[(instance, database)]
        ended = self._loop.time()
        self._spans[instance] = (self._spans.get(instance, (ended, ended))[0], ended)
        self._flush((instance, database))
        record = error.at(instance, database).to_json() if error else None
        await self._move(step, state, backup_id=backup_id, error=record, detail={**step.detail, **(detail or {})})

    def progress(self, progress: Progress) -> None:
        """See ``Work``. Keeps the newest of each step and wakes the loop at most once per period and step."""
        key = (progress.instance, progress.database)
        with self._progress_lock:
            self._progress[key] = progress
            if key in self._scheduled:
                return
            self._scheduled.add(key)
        try:
            self._loop.call_soon_threadsafe(self._arm, key)
        except RuntimeError:
            # The loop is gone: a thread outlived the daemon's last moments, and nobody watches any more.
            return

    # what the queue does with it

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps as they are now, in planned order."""
        return tuple(self._steps.values())

    @property
    def latest_progress(self) -> tuple[Progress, ...]:
        """The newest progress of each step that runs."""
        with self._progress_lock:
            known = list(self._progress.items())
        return tuple(progress for key, progress in known if not self._ended(key))

    def current(self) -> Operation:
        """The operation with its steps as they are now."""
        return replace(self.operation, steps=self.steps)

    def watch(self) -> Watch:
        """A new watcher, to whom the operation and the latest progress are told at once."""
        watch = Watch()
        watch.put(self.current())
        for progress in self.latest_progress:
            watch.put(progress)
        self._watches.add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """The watcher has gone."""
        self._watches.discard(watch)

    def publish(self, update: Update) -> None:
        """Tell every watcher."""
        for watch in self._watches:
            watch.put(update)

    async def move(self, to: State, *, error: VyaError | None = None, result: dict[str, Any] | None = None) -> None:
        """Move the operation and record it with its event; steps left open end with it, with the same error.

        Raises:
            ValueError: the move is not allowed.
            StorageError: the catalog cannot be written.
        """
        advance(self.operation.state, to)
        record = error.to_json() if error else None
        if not is_final(to):
            event = self._event("operation.started", {"state": str(to)})
            await self._ledger.advance(self.operation.id, to, event=event, error=record, result=result)
        else:
            event = self._event("operation.finished", self._finished(to, record))
            await self._ledger.advance(
                self.operation.id, to, event=event, error=record, result=result, unfinished=_end_of_step(to)
            )
            self._end_open_steps(_end_of_step(to), record)
        self._on_record = to
        self.ended_as(to, event.at, record, result)

    def ended_as(
        self, to: State, at: datetime, error: dict[str, Any] | None = None, result: dict[str, Any] | None = None
    ) -> None:
        """Show this state from now on, whether or not the catalog has it."""
        moved = replace(self.operation, state=to, error=error, result=result or {})
        self.operation = replace(moved, finished_at=at) if is_final(to) else replace(moved, started_at=at)

    async def record_late(self) -> None:
        """Put the end on record that has been shown since ``ended_as``, and that the catalog did not take then.

        Raises:
            StorageError: it does not take it now either.
        """
        shown = self.operation
        if self._on_record is State.QUEUED:
            event = self._event("operation.started", {"state": str(State.RUNNING)})
            await self._ledger.advance(shown.id, State.RUNNING, event=event)
            self._on_record = State.RUNNING
        event = self._event("operation.finished", self._finished(shown.state, shown.error))
        step = _end_of_step(shown.state)
        await self._ledger.advance(shown.id, shown.state, event=event, error=shown.error, unfinished=step)
        self._on_record = shown.state

    def close(self) -> None:
        """Tell the watchers the end and let them go."""
        self.publish(self.current())
        for watch in self._watches:
            watch.close()
        self._watches.clear()
        self.done.set()

    # inside

    async def _known(self, instance: str, database: str) -> Step:
        if (instance, database) not in self._steps:
            await self.plan_steps([(instance, database)])
        return self._steps[(instance, database)]

    async def _move(self, step: Step, to: State, **changes: Any) -> None:
        moved = replace(step, state=advance(step.state, to), **changes)
        facts = {"state": str(to), "engine": self._engine_of(step.instance)}
        if moved.error:
            facts["error_code"] = str(moved.error["code"])
        event = self._event("step.finished" if is_final(to) else "step.started", facts, step)
        await self._ledger.update_step(self.operation.id, moved, event)
        self._steps[(step.instance, step.database)] = moved
        self.publish(moved)

    def _event(self, name: str, data: dict[str, Any], step: Step | None = None) -> Event:
        actor = self.ending.actor if self.ending else self.operation.submitted_by
        instance, database = (step.instance, step.database) if step else (None, None)
        facts = {"kind": str(self.operation.kind), **data}
        return Event(name, self._now(), self.operation.id, instance, database, actor, facts)

    def _finished(self, to: State, error: dict[str, Any] | None) -> dict[str, Any]:
        seconds = {instance: ended - began for instance, (began, ended) in self._spans.items()}
        operation = replace(self.current(), error=error)
        return finished_facts(operation, to, keys=self.keys, engine_of=self._engine_of, seconds=seconds)

    def _end_open_steps(self, state: State, error: dict[str, Any] | None) -> None:
        """Show open steps as the catalog has just ended them: all of them in one transaction."""
        for key, step in list(self._steps.items()):
            if not is_final(step.state):
                self._steps[key] = replace(step, state=state, error=step.error or error)
                self.publish(self._steps[key])

    def _ended(self, key: StepKey) -> bool:
        return self.done.is_set() or (key in self._steps and is_final(self._steps[key].state))

    def _arm(self, key: StepKey) -> None:
        wait = self._sent_at.get(key, float("-inf")) + PROGRESS_PERIOD - self._loop.time()
        self._loop.call_later(max(wait, 0.0), self._flush, key)

    def _flush(self, key: StepKey) -> None:
        with self._progress_lock:
            if key not in self._scheduled:
                return
            self._scheduled.discard(key)
            newest = self._progress[key]
        if not self._ended(key):
            self._sent_at[key] = self._loop.time()
            self.publish(newest)


def _end_of_step(end: State) -> State:
    """How a step that was left open ends with its operation."""
    return end if end in {State.CANCELLED, State.INTERRUPTED} else State.FAILED
