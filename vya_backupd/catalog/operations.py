"""The record of operations. ``model.operation`` says which moves are allowed; this writes them down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.ledger import Count, Ledger
from vya_backupd.errors import NotFoundError, UsageError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import MOVES, Operation, OperationKind, State, Step, advance, is_final

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_O = tables.operations.c
_S = tables.steps.c
_BATCH = 500
_UNFINISHED = tuple(state for state in State if not is_final(state))

Report = Callable[[Operation], Event]
"""Makes the event of an operation that ended without being asked."""


class OperationLog:
    """Operations with their steps, from submission to their end."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def submit(
        self,
        operation: Operation,
        event: Event | None = None,
        counts: Iterable[Count] = (),
        *,
        also: Sequence[Event] = (),
    ) -> Operation:
        """Enter an operation, with its event and what else is to be said of it.

        When its key and attempt are there already, that one is the answer, and nothing is new.
        """

        async def change(connection: AsyncConnection) -> Operation:
            if operation.key is not None:
                slot = sa.and_(_O.key == operation.key, _O.attempt == operation.attempt)
                if existing := await read_operations(connection, sa.select(tables.operations).where(slot)):
                    return existing[0]
            await connection.execute(sa.insert(tables.operations).values(_row(operation)))
            await _append_steps(connection, operation.id, 0, operation.steps)
            return operation

        def events(answer: Operation) -> Sequence[Event]:
            return (*_events(event), *also) if answer is operation else ()

        return await self._ledger.write(change, events, counts)

    async def advance(
        self,
        operation_id: str,
        to: State,
        *,
        event: Event,
        error: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
        unfinished: State | None = None,
        counts: Iterable[Count] = (),
    ) -> Operation:
        """Move an operation; ``event.at`` is when. ``unfinished``: where its steps that have not ended go, with ``error``.

        Raises:
            NotFoundError: there is no such operation.
            ValueError: the move is not allowed; nothing is written.
        """

        async def change(connection: AsyncConnection) -> Operation:
            now = await _one(connection, operation_id)
            values: dict[str, Any] = {"state": advance(now.state, to).value}
            values["started_at" if to is State.RUNNING else "finished_at"] = event.at
            if error is not None:
                values["error"] = json.dumps(error)
            if result is not None:
                values["result"] = json.dumps(result, default=str)
            await connection.execute(sa.update(tables.operations).where(_O.id == operation_id).values(values))
            if unfinished is not None:
                await _end_steps(connection, [operation_id], unfinished, error)
            return await _one(connection, operation_id)

        return await self._ledger.write(change, (event,), counts)

    async def plan_steps(self, operation_id: str, steps: Sequence[Step]) -> None:
        """Append steps; those that are planned already stay as they are."""

        async def change(connection: AsyncConnection) -> None:
            now = await _one(connection, operation_id)
            planned = {(step.instance, step.database) for step in now.steps}
            fresh = {(step.instance, step.database): step for step in steps}
            await _append_steps(
                connection, operation_id, len(now.steps), [fresh[place] for place in fresh if place not in planned]
            )

        await self._ledger.write(change)

    async def update_step(
        self, operation_id: str, step: Step, event: Event | None = None, counts: Iterable[Count] = ()
    ) -> None:
        """Replace the step of this instance and database.

        Raises:
            NotFoundError: the step was not planned.
            ValueError: its state cannot move so; nothing is written.
        """
        here = sa.and_(_S.operation_id == operation_id, _S.instance == step.instance, _S.database == step.database)
        before = [state.value for state in State if state is step.state or step.state in MOVES[state]]
        moved = sa.update(tables.steps).where(here, _S.state.in_(before)).values(_step_values(step))

        async def change(connection: AsyncConnection) -> None:
            if (await connection.execute(moved)).rowcount:
                return
            now = await connection.scalar(sa.select(_S.state).where(here))
            if now is None:
                raise _unknown(f"operation {operation_id} has no step for {step.instance}/{step.database}")
            advance(State(now), step.state)

        await self._ledger.write(change, _events(event), counts)

    async def interrupt_running(self, error: dict[str, Any], report: Report) -> list[Operation]:
        """Close what a dead process left running; ``report`` makes each one's event, whose time is its end."""

        async def change(connection: AsyncConnection) -> list[tuple[Operation, Event]]:
            found = await read_operations(
                connection, sa.select(tables.operations).where(_O.state == State.RUNNING.value)
            )
            reports = [(operation, report(operation)) for operation in found]
            for operation, event in reports:
                state = advance(operation.state, State.INTERRUPTED).value
                values = {"state": state, "finished_at": event.at, "error": json.dumps(error)}
                await connection.execute(sa.update(tables.operations).where(_O.id == operation.id).values(values))
            await _end_steps(connection, [operation.id for operation in found], State.INTERRUPTED, error)
            return [(await _one(connection, operation.id), event) for operation, event in reports]

        ended = await self._ledger.write(change, lambda answer: [event for _, event in answer])
        return [operation for operation, _ in ended]

    async def get(self, operation_id: str) -> Operation | None:
        """The operation of this id, or of the only id that begins so.

        Raises:
            UsageError: several begin so.
        """
        query = sa.select(tables.operations)
        async with self._database.reading() as connection:
            found = await read_operations(connection, query.where(_O.id == operation_id))
            if not found and operation_id:
                begins = _O.id.startswith(operation_id, autoescape=True)
                found = await read_operations(connection, query.where(begins).limit(2))
        if len(found) > 1:
            raise UsageError(f"several operations have an id that begins with {operation_id}", hint="Give more of it.")
        return found[0] if found else None

    async def list(
        self, limit: int | None = None, state: State | None = None, kind: OperationKind | None = None
    ) -> list[Operation]:
        """Operations, the last submitted first."""
        query = sa.select(tables.operations).order_by(_O.submitted_at.desc(), _O.id.desc()).limit(limit)
        if state is not None:
            query = query.where(_O.state == state.value)
        if kind is not None:
            query = query.where(_O.kind == kind.value)
        async with self._database.reading() as connection:
            return await read_operations(connection, query)

    async def running_steps(self, kind: OperationKind) -> tuple[tuple[str, str], ...]:
        """Instance and database of every step that runs, or ran when the process died, in operations of this kind."""
        running = sa.and_(_O.state == State.RUNNING.value, _O.kind == kind.value)
        query = sa.select(_S.instance, _S.database).join(tables.operations, _S.operation_id == _O.id)
        async with self._database.reading() as connection:
            rows = await connection.execute(query.where(running, _S.state == State.RUNNING.value))
            return tuple((row.instance, row.database) for row in rows)

    async def queued(self) -> tuple[Operation, ...]:
        """What waits to be run, the first submitted first."""
        return tuple(reversed(await self.list(state=State.QUEUED)))


async def _one(connection: AsyncConnection, operation_id: str) -> Operation:
    found = await read_operations(connection, sa.select(tables.operations).where(_O.id == operation_id))
    if not found:
        raise _unknown(f"no operation has the id {operation_id}")
    return found[0]


async def read_operations(connection: AsyncConnection, query: sa.Select[Any]) -> list[Operation]:
    """The operations of a query on their table, with their steps, within a transaction."""
    rows = (await connection.execute(query)).mappings().all()
    steps: dict[str, list[Step]] = {row["id"]: [] for row in rows}
    ids = list(steps)
    for start in range(0, len(ids), _BATCH):
        chosen = sa.select(tables.steps).where(_S.operation_id.in_(ids[start : start + _BATCH]))
        ordered = chosen.order_by(_S.operation_id, _S.position)
        for row in (await connection.execute(ordered)).mappings():
            steps[row["operation_id"]].append(_step(row))
    return [_operation(row, steps[row["id"]]) for row in rows]


async def _append_steps(connection: AsyncConnection, operation_id: str, first: int, steps: Sequence[Step]) -> None:
    if steps:
        rows = [
            {
                "operation_id": operation_id,
                "position": position,
                "instance": step.instance,
                "database": step.database,
                **_step_values(step),
            }
            for position, step in enumerate(steps, first)
        ]
        await connection.execute(sa.insert(tables.steps), rows)


async def _end_steps(
    connection: AsyncConnection, operation_ids: Sequence[str], state: State, error: dict[str, Any] | None
) -> None:
    """Move the steps that have not ended; an error that a step has of its own stays."""
    text = None if error is None else json.dumps(error)
    for start in range(0, len(operation_ids), _BATCH):
        of_these = _S.operation_id.in_(operation_ids[start : start + _BATCH])
        unfinished = _S.state.in_([each.value for each in _UNFINISHED])
        values = {"state": state.value, "error": sa.func.coalesce(_S.error, text)}
        await connection.execute(sa.update(tables.steps).where(of_these, unfinished).values(values))


def _row(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "kind": operation.kind.value,
        "state": operation.state.value,
        "request": json.dumps(operation.request, default=str),
        "submitted_at": operation.submitted_at,
        "submitted_by": operation.submitted_by,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
        "error": _json(operation.error),
        "result": json.dumps(operation.result, default=str),
        "key": operation.key,
        "attempt": operation.attempt,
    }


def _operation(row: Any, steps: Sequence[Step]) -> Operation:
    fields = dict(row) | {
        "kind": OperationKind(row["kind"]),
        "state": State(row["state"]),
        "request": json.loads(row["request"]),
        "error": _value(row["error"]),
        "result": json.loads(row["result"]),
        "steps": tuple(steps),
    }
    return Operation(**fields)


def _step_values(step: Step) -> dict[str, Any]:
    return {
        "state": step.state.value,
        "backup_id": step.backup_id,
        "error": _json(step.error),
        "detail": json.dumps(step.detail, default=str),
    }


def _step(row: Any) -> Step:
    return Step(
        instance=row["instance"],
        database=row["database"],
        state=State(row["state"]),
        backup_id=row["backup_id"],
        error=_value(row["error"]),
        detail=json.loads(row["detail"]),
    )


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, default=str)


def _value(text: str | None) -> dict[str, Any] | None:
    return None if text is None else json.loads(text)


def _events(event: Event | None) -> Sequence[Event]:
    return () if event is None else (event,)


def _unknown(message: str) -> NotFoundError:
    return NotFoundError(message, code="unknown_operation", hint="`vyactl operations list` shows those on record.")
