"""A service that remembers what it was asked and answers with fixed records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from vya_backupd.errors import NotFoundError
from vya_backupd.model.operation import OperationKind

Record = dict[str, Any]


class RecordedService:
    """Fulfils ``api.service.Service``; ``calls`` holds what came in."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.healthy = True
        self.watched: list[Record] = []
        self.hold_watch = asyncio.Event()
        self.watch_closed = 0

    async def health(self) -> tuple[bool, Record]:
        return self.healthy, {"status": "healthy" if self.healthy else "degraded"}

    def ready(self) -> tuple[bool, Record]:
        return self.healthy, {"ready": self.healthy, "databases": {}}

    def live(self) -> Record:
        return {"alive": True}

    async def metrics(self, openmetrics: bool) -> tuple[bytes, str]:
        kind = "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"
        return b"vya_up 1\n", f"{kind}; charset=utf-8"

    async def status(self) -> Record:
        return {"state": "running"}

    def config(self) -> Record:
        raise RuntimeError("canary-0815 must not reach a client")

    async def list_databases(self, instance: str | None) -> list[Record]:
        self.calls.append(("list_databases", instance))
        return []

    async def test_connections(self, instance: str | None) -> list[Record]:
        self.calls.append(("test_connections", instance))
        return []

    async def submit(self, kind: OperationKind, request: Record, actor: str) -> Record:
        self.calls.append(("submit", kind, request, actor))
        return {"id": "op1", "kind": str(kind)}

    async def plan_restore(self, request: Record) -> Record:
        self.calls.append(("plan_restore", request))
        return {"target": "x"}

    async def newest_backups(self, instance: str | None) -> list[Record]:
        self.calls.append(("newest_backups", instance))
        return [{"id": "b1"}]

    async def backups(
        self, instance: str | None, database: str | None, limit: int, after: tuple[datetime, str] | None = None
    ) -> list[Record]:
        self.calls.append(("backups", instance, database, limit, after))
        return [{"id": "b1"}]

    async def backup(self, backup_id: str) -> Record:
        raise NotFoundError(f"no backup has the id {backup_id!r}", hint="see 'vyactl backups list'")

    async def hold(self, backup_id: str, note: str, until: datetime | None, actor: str) -> Record:
        self.calls.append(("hold", backup_id, note, until, actor))
        return {"id": backup_id, "held": True}

    async def release(self, backup_id: str, actor: str) -> Record:
        self.calls.append(("release", backup_id, actor))
        return {"id": backup_id, "held": False}

    async def delete(self, backup_id: str, actor: str, *, allow_held: bool = False) -> Record:
        self.calls.append(("delete", backup_id, actor, allow_held))
        return {"id": backup_id}

    async def operations(self, limit: int, state: str | None) -> list[Record]:
        self.calls.append(("operations", limit, state))
        return []

    async def operation(self, operation_id: str) -> Record:
        return {"operation": {"id": operation_id}}

    async def cancel(self, operation_id: str, actor: str) -> Record:
        self.calls.append(("cancel", operation_id, actor))
        return {"id": operation_id}

    async def watch(self, operation_id: str) -> AsyncIterator[Record]:
        if operation_id == "nothing":
            raise NotFoundError("no operation has this id", code="unknown_operation")
        try:
            yield {"type": "operation"}
            for line in self.watched:
                yield line
            await self.hold_watch.wait()
            yield {"type": "finished"}
        finally:
            self.watch_closed += 1
