"""A ledger in memory with the rules of the real one, for tests of the queue alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, State, Step, advance, is_final


class MemoryLedger:
    """Keeps operations and events in lists; ``broken`` makes every write fail until it is reset."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.events: list[Event] = []
        self.broken: Exception | None = None

    def _write(self, event: Event | None) -> None:
        if self.broken:
            raise self.broken
        if event:
            self.events.append(event)

    async def submit(self, operation: Operation, event: Event, *, also: Sequence[Event] = ()) -> Operation:
        for known in self.operations.values():
            if operation.key is not None and known.key == operation.key:
                return known
        self._write(event)
        self.events += also
        self.operations[operation.id] = operation
        return operation

    async def advance(
        self,
        operation_id: str,
        to: State,
        *,
        event: Event,
        error: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
        unfinished: State | None = None,
    ) -> Operation:
        old = self.operations[operation_id]
        if unfinished is not None:
            ended = (replace(step, state=unfinished, error=step.error or error) for step in old.steps)
            steps = tuple(new if not is_final(now.state) else now for now, new in zip(old.steps, ended, strict=True))
            old = replace(old, steps=steps)
        state = advance(old.state, to)
        self._write(event)
        moved = replace(old, state=state, error=error, result=result or {})
        times = replace(moved, finished_at=event.at) if is_final(to) else replace(moved, started_at=event.at)
        self.operations[operation_id] = times
        return self.operations[operation_id]

    async def plan_steps(self, operation_id: str, steps: Sequence[Step]) -> None:
        self._write(None)
        old = self.operations[operation_id]
        self.operations[operation_id] = replace(old, steps=(*old.steps, *steps))

    async def update_step(self, operation_id: str, step: Step, event: Event | None = None) -> None:
        self._write(event)
        old = self.operations[operation_id]
        place = (step.instance, step.database)
        steps = tuple(step if (known.instance, known.database) == place else known for known in old.steps)
        self.operations[operation_id] = replace(old, steps=steps)

    async def get(self, operation_id: str) -> Operation | None:
        return self.operations.get(operation_id)

    async def interrupt_running(self, error: dict[str, Any], report: Callable[[Operation], Event]) -> list[Operation]:
        running = [operation for operation in self.operations.values() if operation.state is State.RUNNING]
        return [
            await self.advance(
                each.id, State.INTERRUPTED, event=report(each), error=error, unfinished=State.INTERRUPTED
            )
            for each in running
        ]

    async def queued(self) -> list[Operation]:
        return [operation for operation in self.operations.values() if operation.state is State.QUEUED]
