"""A daemon's side of the control API with records that a test writes: a real HTTP server on a real Unix socket.

It stands in for the daemon where the client's own behaviour is the question: what it asks, what it shows, how it
leaves. The real daemon is met in the end-to-end tests.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.waiting import PATIENCE
from vya_backupd.errors import NotFoundError, VyaError
from vya_backupd.operations.requests import BackupRequest, PruneRequest, RestoreRequest, VerifyRequest

Answer = Any | Callable[[Any], Any]

TAKEN = "2026-01-09T05:00:00.250000+00:00"


def backup(id_: str = "b-1", database: str = "shop", **other: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "instance": "prod-pg",
        "database": database,
        "type": "full",
        "file": f"site/prod-pg/{database}/2026-01-09/{database}_20260109_020000_full.sql.gz",
        "size_bytes": 215_000_000,
        "raw_size_bytes": 950_000_000,
        "checksum": "ab" * 32,
        "duration_seconds": 7.3,
        "taken_at": TAKEN,
        "proof": "complete",
        "held": False,
        **other,
    }


def operation(state: str = "running", kind: str = "backup", **other: Any) -> dict[str, Any]:
    done = state not in {"queued", "running"}
    return {
        "id": "op-1",
        "kind": kind,
        "state": state,
        "submitted_at": "2026-01-09T05:00:00+00:00",
        "submitted_by": "root",
        "started_at": "2026-01-09T05:00:00+00:00",
        "finished_at": "2026-01-09T05:00:12+00:00" if done else None,
        "error": None,
        **other,
    }


def step(state: str = "running", database: str = "shop", error: VyaError | None = None, **other: Any) -> dict[str, Any]:
    record = {"instance": "prod-pg", "database": database, "state": state, "backup_id": None, **other}
    return {**record, "error": error.to_json() if error else None}


def progress(done: int, expected: int = 1000, database: str = "shop", **other: Any) -> dict[str, Any]:
    return {
        "type": "progress",
        "instance": "prod-pg",
        "database": database,
        "phase": "dump",
        "bytes_done": done,
        "expected_bytes": expected,
        "bytes_written": done // 4,
        "message": "",
        **other,
    }


def result(state: str = "succeeded", kind: str = "backup", **other: Any) -> dict[str, Any]:
    steps = other.pop("steps", [step(state)])
    return {"operation": operation(state, kind, **other.pop("operation", {})), "steps": steps, "backups": [], **other}


class CannedDaemon:
    """Answers by a table of (method, path); keeps what it was asked.

    An answer is JSON, a VyaError (sent as the daemon sends errors), a ``(status, body)`` pair, or a function of the
    body that returns one of these. ``watches`` holds one list of records for each connection to a watch; within it,
    a ``threading.Event`` is waited for, a function is called, and ``BREAK`` cuts the connection.
    """

    BREAK = object()

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.answers: dict[tuple[str, str], Answer] = {}
        self.watches: list[list[Any]] = []
        self.asked: list[tuple[str, str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(PATIENCE)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def runs(self, *records: Any, final: dict[str, Any]) -> None:
        """Take any operation, show these records to its watcher, then the result."""
        kind = final["operation"]["kind"]
        self.answers["POST", "/v1/operations"] = (201, operation("queued", kind))
        self.answers["GET", "/v1/operations/op-1"] = final
        self.watches.append(
            [{"type": "operation", **operation("running", kind)}, *records, {"type": "finished", **final}]
        )

    def bodies(self, method: str, path: str) -> list[Any]:
        return [body for m, p, body in self.asked if (m, p.partition("?")[0]) == (method, path)]

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.UnixSite(runner, str(self.socket_path)).start())
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        if request.path in {"/v1/operations", "/v1/restore/plan"} and body is not None:
            _as_the_daemon_reads_it(body)
        self.asked.append((request.method, request.raw_path, body))
        if request.path.endswith("/watch"):
            return await self._watch(request, self.watches.pop(0))
        answer = self.answers.get(
            (request.method, request.raw_path.partition("?")[0]), NotFoundError(f"no such page: {request.path}")
        )
        return _response(answer(body) if callable(answer) else answer)

    async def _watch(self, request: web.Request, records: Iterable[Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for record in records:
            if isinstance(record, threading.Event):
                while not record.is_set():
                    await asyncio.sleep(0.01)
            elif callable(record):
                record()
            elif record is self.BREAK:
                assert request.transport is not None
                request.transport.abort()
                return response
            else:
                await response.write(json.dumps(record).encode() + b"\n")
        return response


def _as_the_daemon_reads_it(body: dict[str, Any]) -> None:
    """Raises where the product would refuse the client's request for its form."""
    readers: dict[str, Callable[[dict[str, Any]], object]] = {
        "backup": BackupRequest.parse,
        "restore": RestoreRequest.parse,
        "verify": VerifyRequest.parse,
        "prune": PruneRequest.parse,
    }
    if read := readers.get(body.get("kind", "restore")):
        read(body.get("request", body))


def _response(answer: Any) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    if isinstance(answer, VyaError):
        status = {2: 400, 4: 404, 5: 422, 6: 409, 8: 403, 78: 422}.get(answer.exit_code, 500)
        return web.json_response({"error": answer.to_json()}, status=status)
    status, body = answer if isinstance(answer, tuple) else (200, answer)
    return web.json_response(body, status=status)
