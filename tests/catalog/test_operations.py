from dataclasses import replace
from datetime import timedelta

import pytest

from tests.catalog.samples import NIGHT, TWO_STEPS, event, operation
from vya_backupd.catalog import Catalog, Count
from vya_backupd.errors import NotFoundError, UsageError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, State, Step

ERROR = {"code": "disk_full", "message": "full", "hint": "", "retryable": False, "exit_code": 1}
INTERRUPTED = {"code": "interrupted", "message": "the daemon died", "hint": "", "retryable": True, "exit_code": 130}


async def running(catalog: Catalog, operation_id: str = "op1") -> Operation:
    await catalog.operations.submit(operation(operation_id), event("operation.submitted"))
    await catalog.operations.plan_steps(operation_id, TWO_STEPS)
    return await catalog.operations.advance(operation_id, State.RUNNING, event=event("operation.started", seconds=1))


async def names(catalog: Catalog) -> list[str]:
    return [each.event.name for each in await catalog.events.after()]


async def test_an_operation_comes_back_as_it_was_submitted(catalog: Catalog) -> None:
    submitted = operation(key="pg-01@2026-01-09T02:00Z", attempt=2, steps=TWO_STEPS)
    assert await catalog.operations.submit(submitted, event("operation.submitted")) == submitted
    assert await catalog.operations.get("op1") == submitted
    assert await catalog.operations.get("nope") is None


async def test_a_slot_is_taken_once_and_a_further_attempt_is_another(catalog: Catalog) -> None:
    first = operation("op1", key="slot")
    await catalog.operations.submit(first, event("operation.submitted"))
    again = await catalog.operations.submit(operation("op2", key="slot"), event("operation.submitted"))
    assert again == first
    assert await names(catalog) == ["operation.submitted"]
    other = operation("op3", key="slot", attempt=2)
    assert await catalog.operations.submit(other, event("operation.submitted")) == other
    await catalog.operations.submit(operation("op4"), None)
    await catalog.operations.submit(operation("op5"), None)
    assert len(await catalog.operations.list()) == 4


async def test_it_moves_to_its_end_with_times_error_and_result(catalog: Catalog) -> None:
    started = await running(catalog)
    assert (started.state, started.started_at) == (State.RUNNING, NIGHT + timedelta(seconds=1))
    finished = event("operation.finished", seconds=60)
    ended = await catalog.operations.advance("op1", State.PARTIAL, event=finished, error=ERROR, result={"a": [1]})
    assert (ended.state, ended.finished_at, ended.error, ended.result) == (
        State.PARTIAL,
        finished.at,
        ERROR,
        {"a": [1]},
    )
    assert ended.started_at == started.started_at
    assert await catalog.operations.get("op1") == ended


async def test_an_illegal_move_writes_nothing(catalog: Catalog) -> None:
    await catalog.operations.submit(operation(), event("operation.submitted"))
    with pytest.raises(ValueError, match="cannot move"):
        await catalog.operations.advance("op1", State.SUCCEEDED, event=event("operation.finished"))
    with pytest.raises(NotFoundError):
        await catalog.operations.advance("op2", State.RUNNING, event=event("operation.started"))
    assert await catalog.operations.get("op1") == operation()
    assert await names(catalog) == ["operation.submitted"]


async def test_steps_keep_their_order_and_take_their_ends(catalog: Catalog) -> None:
    await running(catalog)
    await catalog.operations.plan_steps("op1", [TWO_STEPS[1], Step("a", "a")])
    begun = replace(TWO_STEPS[1], state=State.RUNNING)
    await catalog.operations.update_step("op1", begun, event("step.started"))
    done = replace(begun, state=State.SUCCEEDED, backup_id="b1", detail={"size_bytes": 5})
    await catalog.operations.update_step("op1", done, event("step.finished"))
    found = await catalog.operations.get("op1")
    assert found is not None
    assert found.steps == (TWO_STEPS[0], done, Step("a", "a"))
    with pytest.raises(ValueError, match="cannot move"):
        await catalog.operations.update_step("op1", begun, event("step.started"))
    with pytest.raises(NotFoundError):
        await catalog.operations.update_step("op1", Step("x", "y"), event("step.started"))
    assert (await names(catalog))[-2:] == ["step.started", "step.finished"]


async def test_unfinished_steps_end_with_their_operation(catalog: Catalog) -> None:
    await running(catalog)
    done = replace(TWO_STEPS[0], state=State.RUNNING)
    await catalog.operations.update_step("op1", done)
    await catalog.operations.update_step("op1", replace(done, state=State.SUCCEEDED))
    ended = await catalog.operations.advance(
        "op1", State.CANCELLED, event=event("operation.finished"), error=ERROR, unfinished=State.CANCELLED
    )
    assert [step.state for step in ended.steps] == [State.SUCCEEDED, State.CANCELLED]
    assert [step.error for step in ended.steps] == [None, ERROR]


async def test_what_a_dead_process_left_running_is_interrupted(catalog: Catalog) -> None:
    await running(catalog, "op1")
    await running(catalog, "op2")
    await catalog.operations.advance("op2", State.SUCCEEDED, event=event("operation.finished"))
    await catalog.operations.submit(operation("op3"), None)

    def report(ended: Operation) -> Event:
        return event("operation.finished", seconds=99, operation_id=ended.id)

    (ended,) = await catalog.operations.interrupt_running(INTERRUPTED, report)
    assert (ended.id, ended.state, ended.error) == ("op1", State.INTERRUPTED, INTERRUPTED)
    assert ended.finished_at == NIGHT + timedelta(seconds=99)
    assert {step.state for step in ended.steps} == {State.INTERRUPTED}
    assert [each.event.name for each in await catalog.events.of_operation("op1")] == ["operation.finished"]
    assert await catalog.operations.interrupt_running(INTERRUPTED, report) == []
    assert [each.id for each in await catalog.operations.queued()] == ["op3"]


async def test_operations_are_listed_newest_first_and_queued_oldest_first(catalog: Catalog) -> None:
    for number in range(5):
        kind = OperationKind.VERIFY if number % 2 else OperationKind.BACKUP
        await catalog.operations.submit(operation(f"op{number}", hours=number, kind=kind, steps=TWO_STEPS), None)
    await catalog.operations.advance("op4", State.RUNNING, event=event("operation.started"))
    assert [each.id for each in await catalog.operations.list()] == ["op4", "op3", "op2", "op1", "op0"]
    assert [each.id for each in await catalog.operations.list(limit=2)] == ["op4", "op3"]
    assert [each.id for each in await catalog.operations.list(kind=OperationKind.VERIFY)] == ["op3", "op1"]
    assert [each.id for each in await catalog.operations.list(state=State.RUNNING)] == ["op4"]
    assert [each.id for each in await catalog.operations.queued()] == ["op0", "op1", "op2", "op3"]
    assert all(each.steps == TWO_STEPS for each in await catalog.operations.list())


async def test_the_beginning_of_an_id_is_enough_when_it_is_the_only_one(catalog: Catalog) -> None:
    for operation_id in ("abc", "abd"):
        await catalog.operations.submit(operation(operation_id), None)
    found = await catalog.operations.get("abd")
    assert found is not None
    with pytest.raises(UsageError):
        await catalog.operations.get("ab")


async def test_counts_move_with_the_change_or_not_at_all(catalog: Catalog, url: str) -> None:
    await running(catalog)
    good = Count("executions", {"status": "succeeded", "id": "pg-01"})
    bytes_written = Count("bytes", amount=2.5)
    begun = replace(TWO_STEPS[0], state=State.RUNNING)
    await catalog.operations.update_step("op1", begun, counts=[good, bytes_written])
    await catalog.operations.update_step("op1", replace(begun, state=State.FAILED), counts=[good])
    with pytest.raises(ValueError, match="cannot move"):
        await catalog.operations.update_step("op1", begun, counts=[good])
    await catalog.close()
    again = Catalog(url)
    await again.open()
    totals = {each.name: (each.labels, each.value) for each in await again.totals()}
    await again.close()
    assert totals == {"executions": ({"id": "pg-01", "status": "succeeded"}, 2), "bytes": ({}, 2.5)}
