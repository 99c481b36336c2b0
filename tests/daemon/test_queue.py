"""The queue: order, limits, ends, and what watchers see."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.daemon.ledger import MemoryLedger
from tests.waiting import PATIENCE
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.daemon.running import PROGRESS_PERIOD
from vya_backupd.daemon.watching import Watch
from vya_backupd.errors import BusyError, NotFoundError, ServerError, StorageError, UsageError, VyaError
from vya_backupd.model.operation import Operation, OperationKind, Progress, State, Step
from vya_backupd.operations.work import Work

Run = Callable[[Work], Awaitable[dict[str, Any]]]


class ScriptedHandler:
    """Does what the test says, and keeps a diary of starts and ends."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.diary: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        if request.get("refuse"):
            raise NotFoundError("no such instance", code="unknown_instance")
        return frozenset(request.get("keys", ()))

    async def run(self, work: Work) -> dict[str, Any]:
        self.diary.append(f"+{work.operation.request.get('name', '')}")
        try:
            return await self._run(work)
        finally:
            self.diary.append(f"-{work.operation.request.get('name', '')}")

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())


@asynccontextmanager
async def running(
    handler: ScriptedHandler, ledger: MemoryLedger, concurrency: int = 4, **options: Any
) -> AsyncIterator[OperationQueue]:
    queue = OperationQueue(
        ledger,
        {OperationKind.BACKUP: handler},
        concurrency=concurrency,
        now=lambda: datetime.now(UTC),
        engine_of=lambda _: "postgresql",
        **options,
    )
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        task = group.create_task(queue.run())
        yield queue
        await queue.close()
        await queue.abort("the test is over")
        await task


async def ended(queue: OperationQueue, operation_id: str) -> Operation:
    last: Operation | None = None
    async for update in queue.watch(operation_id):
        if isinstance(update, Operation):
            last = update
    assert last is not None
    return last


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def gated() -> ScriptedHandler:
    async def run(work: Work) -> dict[str, Any]:
        await handler.gate(work.operation.request["name"]).wait()
        return {}

    handler = ScriptedHandler(run)
    return handler


async def test_a_backup_of_two_databases_is_recorded_step_by_step() -> None:
    async def run(work: Work) -> dict[str, Any]:
        await work.plan_steps([("pg", "a"), ("pg", "b")])
        await work.step_started("pg", "a")
        await work.step_finished("pg", "a", State.SUCCEEDED, backup_id="b1", detail={"size_bytes": 7})
        await work.step_started("pg", "b")
        await work.step_finished("pg", "b", State.FAILED, error=ServerError("no", code="login_refused"))
        return {"files": 1}

    ledger = MemoryLedger()
    async with running(ScriptedHandler(run), ledger) as queue:
        operation = await queue.submit(OperationKind.BACKUP, {"name": "x"}, "uid:0")
        assert operation.state is State.QUEUED
        last = await ended(queue, operation.id)
    assert (last.state, last.result) == (State.PARTIAL, {"files": 1})
    assert ledger.operations[operation.id] == last
    assert last.steps[1].error == ServerError("no", code="login_refused", instance="pg", database="b").to_json()
    assert [event.name for event in ledger.events] == [
        "operation.submitted",
        "operation.started",
        "step.started",
        "step.finished",
        "step.started",
        "step.finished",
        "operation.finished",
    ]
    facts = ledger.events[-1].data["instances"]["pg"]
    assert facts["size_bytes"] == 7
    assert (facts["engine"], facts["state"]) == ("postgresql", "partial")
    assert facts["steps"] == {"succeeded": 1, "failed": 1}
    assert facts["errors"] == {"login_refused": 1}


async def test_operations_of_one_instance_run_one_after_the_other_and_others_beside_them() -> None:
    handler = gated()
    async with running(handler, MemoryLedger()) as queue:
        for name, keys in (("a1", ["a"]), ("a2", ["a"]), ("b1", ["b"])):
            await queue.submit(OperationKind.BACKUP, {"name": name, "keys": keys}, "me")
        await until(lambda: len(handler.diary) == 2)
        assert handler.diary == ["+a1", "+b1"]
        handler.gate("a1").set()
        await until(lambda: "+a2" in handler.diary)
        assert handler.diary == ["+a1", "+b1", "-a1", "+a2"]
        handler.gate("a2").set()
        handler.gate("b1").set()
        assert await queue.drain(PATIENCE)


async def test_a_wide_operation_is_not_starved_by_narrow_ones() -> None:
    handler = gated()
    async with running(handler, MemoryLedger()) as queue:
        for name, keys in (("a1", ["a"]), ("wide", ["a", "b"]), ("b1", ["b"])):
            await queue.submit(OperationKind.BACKUP, {"name": name, "keys": keys}, "me")
        await until(lambda: handler.diary)
        assert [operation.request["name"] for operation in queue.waiting] == ["wide", "b1"]
        first, (wide, last) = queue.running[0].id, (operation.id for operation in queue.waiting)
        assert [[each.id for each in queue.ahead_of(one)] for one in (first, wide, last)] == [[], [first], [wide]]
        for name in ("a1", "wide", "b1"):
            handler.gate(name).set()
        await until(lambda: len(handler.diary) == 6)
    assert [line for line in handler.diary if line.startswith("+")] == ["+a1", "+wide", "+b1"]


async def test_no_more_operations_run_than_allowed() -> None:
    handler = gated()
    async with running(handler, MemoryLedger(), concurrency=2) as queue:
        for name in "abcde":
            await queue.submit(OperationKind.BACKUP, {"name": name, "keys": [name]}, "me")
        await until(lambda: len(handler.diary) == 2)
        assert len(queue.running) == 2
        assert len(queue.waiting) == 3
        assert queue.ahead_of(queue.waiting[2].id) == queue.running
        for name in "abcde":
            handler.gate(name).set()
        await until(lambda: len(handler.diary) == 10)
    depth, deepest = 0, 0
    for line in handler.diary:
        depth += 1 if line.startswith("+") else -1
        deepest = max(deepest, depth)
    assert deepest == 2


async def test_cancelling_stops_the_work_and_ends_its_open_steps() -> None:
    cleaned = asyncio.Event()

    async def run(work: Work) -> dict[str, Any]:
        await work.plan_steps([("pg", "a"), ("pg", "b"), ("pg", "c")])
        await work.step_finished("pg", "a", State.SUCCEEDED)
        await work.step_started("pg", "b")
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()
        return {}

    ledger = MemoryLedger()
    async with running(ScriptedHandler(run), ledger) as queue:
        operation = await queue.submit(OperationKind.BACKUP, {}, "me")
        await until(
            lambda: (
                ledger.operations[operation.id].steps[1:2]
                and ledger.operations[operation.id].steps[1].state is State.RUNNING
            )
        )
        await queue.cancel(operation.id, "uid:7")
        last = await ended(queue, operation.id)
        assert (await queue.cancel(operation.id, "uid:7")).state is State.CANCELLED
    assert cleaned.is_set()
    assert [step.state for step in last.steps] == [State.SUCCEEDED, State.CANCELLED, State.CANCELLED]
    assert last.error is not None
    assert last.error["message"] == "cancelled by uid:7"
    assert last.steps[2].error == last.error
    assert ledger.operations[operation.id] == last
    assert ledger.events[-1].actor == "uid:7"


async def test_a_waiting_operation_is_cancelled_without_ever_starting() -> None:
    handler = gated()
    ledger = MemoryLedger()
    async with running(handler, ledger) as queue:
        await queue.submit(OperationKind.BACKUP, {"name": "a1", "keys": ["a"]}, "me")
        second = await queue.submit(OperationKind.BACKUP, {"name": "a2", "keys": ["a"]}, "me")
        watcher = asyncio.create_task(ended(queue, second.id))
        await until(lambda: handler.diary)
        assert (await queue.cancel(second.id, "me")).state is State.CANCELLED
        assert (await watcher).state is State.CANCELLED
    assert "+a2" not in handler.diary


async def test_a_stop_waits_then_interrupts_with_its_reason_and_refuses_new_work() -> None:
    handler = gated()
    ledger = MemoryLedger()
    async with running(handler, ledger) as queue:
        first = await queue.submit(OperationKind.BACKUP, {"name": "slow", "keys": ["a"]}, "me")
        second = await queue.submit(OperationKind.BACKUP, {"name": "next", "keys": ["a"]}, "me")
        await until(lambda: handler.diary)
        await queue.close()
        with pytest.raises(BusyError) as refused:
            await queue.submit(OperationKind.BACKUP, {"name": "late"}, "me")
        assert refused.value.code == "daemon_stopping"
        assert ledger.operations[second.id].state is State.INTERRUPTED
        assert not await queue.drain(0.05)
        assert ledger.operations[first.id].state is State.RUNNING
        await queue.abort("stop deadline of 30 s passed")
        ended_first = ledger.operations[first.id]
    assert ended_first.state is State.INTERRUPTED
    assert ended_first.error is not None
    assert (ended_first.error["code"], ended_first.error["message"]) == ("interrupted", "stop deadline of 30 s passed")


async def test_the_outcome_is_written_even_when_everything_around_is_cancelled() -> None:
    handler = gated()
    ledger = MemoryLedger()
    queue = OperationQueue(ledger, {OperationKind.BACKUP: handler}, concurrency=1, now=lambda: datetime.now(UTC))
    task = asyncio.create_task(queue.run())
    operation = await queue.submit(OperationKind.BACKUP, {"name": "x"}, "me")
    await until(lambda: handler.diary)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.operations[operation.id].state is State.INTERRUPTED


async def test_errors_of_the_handler_fail_the_operation_and_its_open_steps() -> None:
    async def run(work: Work) -> dict[str, Any]:
        await work.plan_steps([("pg", "a")])
        if work.operation.request["name"] == "known":
            raise ServerError("refused", code="connection_refused")
        raise ZeroDivisionError("canary-in-the-message")

    async with running(ScriptedHandler(run), MemoryLedger()) as queue:
        known = await ended(queue, (await queue.submit(OperationKind.BACKUP, {"name": "known"}, "me")).id)
        unknown = await ended(queue, (await queue.submit(OperationKind.BACKUP, {"name": "bug"}, "me")).id)
    assert known.error is not None
    assert (known.state, known.error["code"]) == (State.FAILED, "connection_refused")
    assert known.steps[0].state is State.FAILED
    assert unknown.error is not None
    assert (unknown.state, unknown.error["code"]) == (State.FAILED, "internal")
    assert "canary" not in str(unknown.error)


async def test_steps_left_open_by_a_handler_fail_the_operation() -> None:
    async def run(work: Work) -> dict[str, Any]:
        await work.plan_steps([("pg", "a")])
        return {}

    async with running(ScriptedHandler(run), MemoryLedger()) as queue:
        last = await ended(queue, (await queue.submit(OperationKind.BACKUP, {}, "me")).id)
    assert (last.state, last.steps[0].state) == (State.FAILED, State.FAILED)


async def test_a_catalog_that_comes_back_gets_the_outcome() -> None:
    ledger = MemoryLedger()

    async def run(work: Work) -> dict[str, Any]:
        ledger.broken = StorageError("no space", code="disk_full")
        asyncio.get_running_loop().call_later(0.15, setattr, ledger, "broken", None)
        return {"kept": True}

    async with running(ScriptedHandler(run), ledger) as queue:
        last = await ended(queue, (await queue.submit(OperationKind.BACKUP, {}, "me")).id)
    assert ledger.operations[last.id].state is State.SUCCEEDED
    assert ledger.operations[last.id].result == {"kept": True}


async def test_a_catalog_that_stays_broken_does_not_stop_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vya_backupd.daemon.keeper.RECORD_ATTEMPTS", 2)
    ledger = MemoryLedger()

    async def run(work: Work) -> dict[str, Any]:
        if work.operation.request["name"] == "1":
            ledger.broken = StorageError("no space", code="disk_full")
        return {}

    handler = ScriptedHandler(run)
    async with running(handler, ledger) as queue:
        last = await ended(queue, (await queue.submit(OperationKind.BACKUP, {"name": "1"}, "me")).id)
        assert last.error is not None
        assert (last.state, last.error["code"]) == (State.FAILED, "disk_full")
        with pytest.raises(StorageError, match="no space"):
            await queue.record_late_ends()
        assert (await queue.operation(last.id)).state is State.FAILED
        ledger.broken = None
        await queue.submit(OperationKind.BACKUP, {"name": "2"}, "me")
        await until(lambda: "+2" in handler.diary)
        await queue.record_late_ends()
    assert ledger.operations[last.id].state is State.FAILED
    assert last.id in [event.operation_id for event in ledger.events if event.name == "operation.finished"]
    told = len(ledger.events)
    await queue.record_late_ends()
    assert len(ledger.events) == told


async def test_why_work_failed_is_told_also_when_the_catalog_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vya_backupd.daemon.keeper.RECORD_ATTEMPTS", 1)
    ledger = MemoryLedger()

    async def run(work: Work) -> dict[str, Any]:
        del work
        ledger.broken = StorageError("no space", code="disk_full")
        raise StorageError("the shop is restored, and nobody knows", code="storage_failed")

    async with running(ScriptedHandler(run), ledger) as queue:
        last = await ended(queue, (await queue.submit(OperationKind.BACKUP, {}, "me")).id)
        ledger.broken = None
        await queue.record_late_ends()
    for each in (last, ledger.operations[last.id]):
        assert each.error is not None
        assert (each.state, each.error["code"]) == (State.FAILED, "storage_failed")


async def test_an_operation_that_never_began_on_record_ends_there_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vya_backupd.daemon.keeper.RECORD_ATTEMPTS", 1)
    ledger = MemoryLedger()

    async def run(work: Work) -> dict[str, Any]:
        raise AssertionError

    async with running(ScriptedHandler(run), ledger, concurrency=0) as queue:
        waits = await queue.submit(OperationKind.BACKUP, {}, "me")
        ledger.broken = StorageError("no space", code="disk_full")
        queue.concurrency = 1
        queue._wake.set()
        await until(lambda: not queue.waiting and not queue.running)
        ledger.broken = None
        assert ledger.operations[waits.id].state is State.QUEUED
        await queue.record_late_ends()
    assert ledger.operations[waits.id].state is State.FAILED


async def test_an_operation_that_fails_before_it_has_steps_counts_for_its_instances() -> None:
    async def run(work: Work) -> dict[str, Any]:
        raise ServerError("down", code="connection_refused")

    ledger = MemoryLedger()
    async with running(ScriptedHandler(run), ledger) as queue:
        await ended(queue, (await queue.submit(OperationKind.BACKUP, {"keys": ["instance:pg", "other"]}, "me")).id)
    facts = ledger.events[-1].data["instances"]
    assert list(facts) == ["pg"]
    assert (facts["pg"]["state"], facts["pg"]["errors"]) == ("failed", {"connection_refused": 1})


async def test_what_a_dead_daemon_left_is_closed_at_start() -> None:
    ledger = MemoryLedger()
    queue = OperationQueue(ledger, {}, concurrency=1, now=lambda: datetime.now(UTC))
    now = datetime.now(UTC)
    steps = (Step("pg", "a", State.SUCCEEDED), Step("pg", "b", State.RUNNING))
    for number, state in enumerate((State.SUCCEEDED, State.RUNNING, State.QUEUED)):
        operation = Operation(
            str(number), OperationKind.BACKUP, state, {}, now, "me", steps=steps if number == 1 else ()
        )
        ledger.operations[operation.id] = operation
    assert [operation.id for operation in await queue.recover()] == ["1", "2"]
    assert [operation.state for operation in ledger.operations.values()] == [
        State.SUCCEEDED,
        State.INTERRUPTED,
        State.INTERRUPTED,
    ]
    assert [step.state for step in ledger.operations["1"].steps] == [State.SUCCEEDED, State.INTERRUPTED]
    assert ledger.events[0].data["instances"]["pg"]["steps"] == {"succeeded": 1, "interrupted": 1}
    assert await queue.recover() == []


async def test_a_key_is_queued_once_and_requests_are_refused_before_they_are_queued() -> None:
    handler = gated()
    ledger = MemoryLedger()
    async with running(handler, ledger, concurrency=1, max_queued=2) as queue:
        first = await queue.submit(OperationKind.BACKUP, {"name": "a"}, "me", key="pg@02:00")
        again = await queue.submit(OperationKind.BACKUP, {"name": "a"}, "me", key="pg@02:00")
        assert again.id == first.id
        with pytest.raises(VyaError, match="no such instance"):
            await queue.submit(OperationKind.BACKUP, {"refuse": True}, "me")
        with pytest.raises(UsageError):
            await queue.submit(OperationKind.PRUNE, {}, "me")
        await until(lambda: handler.diary)
        for _ in range(2):
            await queue.submit(OperationKind.BACKUP, {"name": "w"}, "me")
        with pytest.raises(BusyError) as full:
            await queue.submit(OperationKind.BACKUP, {"name": "w"}, "me")
        assert full.value.code == "queue_full"
        assert len(ledger.operations) == 3


async def test_progress_from_threads_is_thinned_and_never_follows_the_end() -> None:
    seconds = 0.0

    async def run(work: Work) -> dict[str, Any]:
        nonlocal seconds
        began = time.monotonic()
        await work.step_started("pg", "a")

        def pump() -> None:
            pause = threading.Event()
            for count in range(400):
                work.progress(Progress(work.operation.id, "pg", "a", "dump", count, 400))
                pause.wait(0.001)

        await asyncio.to_thread(pump)
        await work.step_finished("pg", "a", State.SUCCEEDED)
        seconds = time.monotonic() - began
        return {}

    async with running(ScriptedHandler(run), MemoryLedger()) as queue:
        operation = await queue.submit(OperationKind.BACKUP, {}, "me")
        updates = [update async for update in queue.watch(operation.id)]
    progress = [update for update in updates if isinstance(update, Progress)]
    assert 2 <= len(progress) <= 3 + seconds / PROGRESS_PERIOD
    assert progress[-1].bytes_done == 399
    assert [update.bytes_done for update in progress] == sorted(update.bytes_done for update in progress)
    step_ends = [
        index for index, update in enumerate(updates) if isinstance(update, Step) and update.state is State.SUCCEEDED
    ]
    assert step_ends == [len(updates) - 2]
    assert updates[-1].state is State.SUCCEEDED  # type: ignore[union-attr]


async def test_a_sleeping_watcher_keeps_steps_and_the_newest_progress_only() -> None:
    watch = Watch()
    for count in range(10_000):
        watch.put(Progress("o", "pg", "a", "dump", count, 0))
    for state in (State.RUNNING, State.SUCCEEDED):
        watch.put(Step("pg", "a", state))
    assert len(watch) == 3
    watch.close()
    updates = [update async for update in watch.updates()]
    assert [type(update) for update in updates] == [Progress, Step, Step]
    assert isinstance(updates[0], Progress)
    assert updates[0].bytes_done == 9_999


async def test_watching_an_ended_or_unknown_operation() -> None:
    async def run(work: Work) -> dict[str, Any]:
        return {}

    async with running(ScriptedHandler(run), MemoryLedger()) as queue:
        operation = await queue.submit(OperationKind.BACKUP, {}, "me")
        await ended(queue, operation.id)
        await until(lambda: not queue.running)
        states = [update.state async for update in queue.watch(operation.id) if isinstance(update, Operation)]
        assert states == [State.SUCCEEDED, State.SUCCEEDED]
        with pytest.raises(NotFoundError):
            await ended(queue, "nothing")
