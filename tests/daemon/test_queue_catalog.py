"""The queue on the real catalog: what is on record after ends, crashes and a restart."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE
from vya_backupd.catalog.catalog import Catalog
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.errors import ServerError
from vya_backupd.model.operation import OperationKind, State
from vya_backupd.operations.work import Work


class Backup:
    """One database well, one not, one for ever."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        return frozenset({"instance:pg"})

    async def run(self, work: Work) -> dict[str, Any]:
        await work.plan_steps([("pg", "a"), ("pg", "b"), ("pg", "c")])
        await work.step_started("pg", "a")
        await work.step_finished("pg", "a", State.SUCCEEDED, backup_id="b1", detail={"size_bytes": 5})
        await work.step_finished("pg", "b", State.FAILED, error=ServerError("no"))
        await work.step_started("pg", "c")
        self.reached.set()
        await asyncio.Event().wait()
        return {}


def queue_on(catalog: Catalog, handler: Backup) -> OperationQueue:
    handlers = {OperationKind.BACKUP: handler}
    return OperationQueue(catalog.operations, handlers, concurrency=1, now=lambda: datetime.now(UTC))


async def test_a_stop_leaves_everything_on_record(tmp_path: Path) -> None:
    catalog, handler = Catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.db"), Backup()
    await catalog.open()
    queue = queue_on(catalog, handler)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(queue.run())
        running = await queue.submit(OperationKind.BACKUP, {}, "me(1)")
        waiting = await queue.submit(OperationKind.BACKUP, {}, "me(1)")
        await handler.reached.wait()
        await queue.close()
        await queue.abort("stopped")
    recorded = await catalog.operations.get(running.id)
    assert recorded is not None
    assert recorded.state is State.INTERRUPTED
    assert [step.state for step in recorded.steps] == [State.SUCCEEDED, State.FAILED, State.INTERRUPTED]
    assert [(step.error or {}).get("message") for step in recorded.steps] == [None, "no", "stopped"]
    assert recorded.started_at is not None
    assert recorded.finished_at is not None
    left = await catalog.operations.get(waiting.id)
    assert left is not None
    assert left.state is State.INTERRUPTED
    names = [recorded.event.name for recorded in await catalog.events.of_operation(running.id)]
    assert names[0] == "operation.submitted"
    assert names[-1] == "operation.finished"
    await catalog.close()


async def test_a_crash_is_closed_by_the_next_start(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/catalog.db"
    catalog, handler = Catalog(url), Backup()
    await catalog.open()
    queue = queue_on(catalog, handler)
    task = asyncio.create_task(queue.run())
    operation = await queue.submit(OperationKind.BACKUP, {}, "me(1)")
    await handler.reached.wait()

    # The second catalog sees what a process that died now would have left behind.
    after = Catalog(url)
    await after.open()
    closed = await queue_on(after, Backup()).recover()
    assert [(each.id, each.state) for each in closed] == [(operation.id, State.INTERRUPTED)]
    recorded = await after.operations.get(operation.id)
    assert recorded is not None
    assert [step.state for step in recorded.steps] == [State.SUCCEEDED, State.FAILED, State.INTERRUPTED]
    await after.close()

    task.cancel()
    await asyncio.wait({task})
    await catalog.close()


async def test_what_a_crash_left_before_its_steps_counts_for_its_instances(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.db")
    await catalog.open()
    waiting = await queue_on(catalog, Backup()).submit(OperationKind.BACKUP, {}, "me(1)")
    await queue_on(catalog, Backup()).recover()
    end = (await catalog.events.of_operation(waiting.id))[-1].event
    assert end.name == "operation.finished"
    assert {instance: facts["state"] for instance, facts in end.data["instances"].items()} == {"pg": "interrupted"}
    await catalog.close()
