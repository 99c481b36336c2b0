"""The control site over a real socket, by its owner."""

from __future__ import annotations

import asyncio
import getpass
import io
import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.conftest import Control
from tests.waiting import PATIENCE, soon
from vya_backupd.api import lines
from vya_backupd.model.operation import OperationKind


def actor() -> str:
    return f"{getpass.getuser()}({os.getuid()})"


async def until(condition: Callable[[], object]) -> None:
    await soon(condition)


async def test_requests_reach_the_service_with_their_actor(control: Control) -> None:
    request = {"instances": ["pg"], "workers": 2}
    status, body = await control.ask("POST", "/v1/operations", json={"kind": "backup", "request": request})
    assert (status, body) == (201, {"operation": {"id": "op1", "kind": "backup"}})
    hold = {"note": "audit", "until": "2026-01-09T10:00:00-03:00"}
    assert (await control.ask("POST", "/v1/backups/b7/hold", json=hold))[0] == 200
    assert (await control.ask("POST", "/v1/backups/b7/release"))[1] == {"backup": {"id": "b7", "held": False}}
    assert (await control.ask("DELETE", "/v1/backups/b7?allow_held=true"))[0] == 200
    assert (await control.ask("POST", "/v1/operations/o1/cancel"))[0] == 200
    page = "/v1/backups?instance=pg&database=a%20b&limit=5&after=2026-01-09T10:00:00.25Z%20b9"
    assert (await control.ask("GET", page))[1] == {"backups": [{"id": "b1"}], "next": None}
    assert (await control.ask("GET", "/v1/backups?newest=1"))[1] == {"backups": [{"id": "b1"}]}
    assert (await control.ask("GET", "/v1/operations?state=failed"))[0] == 200
    assert (await control.ask("POST", "/v1/restore/plan", json={"file": "/x"}))[1] == {"plan": {"target": "x"}}
    assert control.service.calls == [
        ("submit", OperationKind.BACKUP, request, actor()),
        ("hold", "b7", "audit", datetime(2026, 1, 9, 13, tzinfo=UTC), actor()),
        ("release", "b7", actor()),
        ("delete", "b7", actor(), True),
        ("cancel", "o1", actor()),
        ("backups", "pg", "a b", 5, (datetime(2026, 1, 9, 10, 0, 0, 250_000, tzinfo=UTC), "b9")),
        ("newest_backups", None),
        ("operations", 50, "failed"),
        ("plan_restore", {"file": "/x"}),
    ]


@pytest.mark.parametrize(
    ("method", "route", "body", "status", "code"),
    [
        ("GET", "/v1/backups/zz", b"", 404, "unknown_backup"),
        ("GET", "/v1/nothing", b"", 404, "usage"),
        ("PUT", "/v1/status", b"", 405, "usage"),
        ("POST", "/v1/operations", b"{", 400, "usage"),
        ("POST", "/v1/operations", b"[1]", 400, "usage"),
        ("POST", "/v1/operations", b"[" * 500_000, 400, "usage"),
        ("POST", "/v1/operations", b'{"kind": "wipe"}', 400, "usage"),
        ("POST", "/v1/operations", b'{"kind": "backup", "request": []}', 400, "usage"),
        ("POST", "/v1/operations", b"x" * (1024 * 1024 + 1), 413, "usage"),
        ("POST", "/v1/backups/b/hold", b'{"until": "tomorrow"}', 400, "usage"),
        ("POST", "/v1/backups/b/hold", b'{"note": 5}', 400, "usage"),
        ("GET", "/v1/operations?limit=0", b"", 400, "usage"),
        ("GET", "/v1/operations?limit=99999999999999999999", b"", 400, "usage"),
        ("GET", "/v1/operations?state=odd", b"", 400, "usage"),
        ("GET", "/v1/operations/nothing/watch", b"", 404, "unknown_operation"),
    ],
)
async def test_mistakes_are_answered_as_problems(
    control: Control, method: str, route: str, body: bytes, status: int, code: str
) -> None:
    answered, problem = await control.ask(method, route, data=io.BytesIO(body))
    assert (answered, problem["error"]["code"]) == (status, code)
    assert problem["error"]["message"]
    assert control.service.calls == []


async def test_unexpected_failures_are_told_without_detail(control: Control) -> None:
    status, problem = await control.ask("GET", "/v1/config")
    assert (status, problem["error"]["code"]) == (500, "internal")
    assert "canary" not in json.dumps(problem)


async def test_health_and_metrics_are_here_too(control: Control) -> None:
    control.service.healthy = False
    assert await control.ask("GET", "/v1/health") == (503, {"status": "degraded"})
    async with control.session.get("http://daemon/v1/metrics") as answer:
        assert await answer.text() == "vya_up 1\n"


async def test_a_watch_ends_with_its_operation_and_beats_meanwhile(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "HEARTBEAT_SECONDS", 0.05)
    control.service.watched = [{"type": "step", "instance": "pg"}]
    types = []
    async with control.session.get("http://daemon/v1/operations/o1/watch") as answer:
        assert answer.content_type == "application/x-ndjson"
        async for line in answer.content:
            types.append(json.loads(line)["type"])
            if types.count("heartbeat") == 2:
                control.service.hold_watch.set()
    assert types[:2] == ["operation", "step"]
    assert types[-1] == "finished"
    assert set(types[2:-1]) == {"heartbeat"}
    assert control.service.watch_closed == 1


async def test_a_watcher_that_leaves_is_noticed(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HEARTBEAT_SECONDS", 0.05)
    answer = await control.session.get("http://daemon/v1/operations/o1/watch")
    await answer.content.readline()
    answer.close()
    await until(lambda: control.service.watch_closed == 1)
    assert (await control.ask("GET", "/v1/status"))[0] == 200


async def test_a_watcher_that_never_reads_is_let_go(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "WRITE_SECONDS", 0.2)
    control.service.watched = [{"type": "step", "padding": "x" * 60_000}] * 100
    with socket.socket(socket.AF_UNIX) as sleeper:
        sleeper.connect(str(control.path))
        sleeper.sendall(b"GET /v1/operations/o1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: control.service.watch_closed == 1)


async def test_stopping_the_site_ends_watches_within_seconds(start_control: Any) -> None:
    async with start_control() as running:
        answer = await running.session.get("http://daemon/v1/operations/o1/watch")
        await answer.content.readline()
        async with asyncio.timeout(PATIENCE):  # the watch itself has no end
            await running.site.stop()
        answer.close()
        assert running.service.watch_closed == 1
