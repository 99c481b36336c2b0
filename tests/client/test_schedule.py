from __future__ import annotations

from typing import Any

from tests.client.canned import CannedDaemon
from tests.client.conftest import Vyactl

PAUSE = {"by": "root(0)", "at": "2026-01-09T05:00:00+00:00", "until": "2026-01-10T06:00:00-03:00", "note": "new disks"}


def schedule(instance: str, **other: Any) -> dict[str, Any]:
    return {
        "instance": instance,
        "type": "postgresql",
        "state": "on",
        "reason": None,
        "schedule": "cron 0 2 * * *",
        "timezone": "America/Sao_Paulo",
        "next_start": "2026-01-10T02:00:00-03:00",
        "paused": None,
        "last": {
            "slot": "2026-01-09T02:00:00-03:00",
            "operation": "op-1",
            "attempt": 1,
            "state": "succeeded",
            "whole": True,
        },
        **other,
    }


RECORD = {
    "method": "interval",
    "paused": None,
    "schedules": [
        schedule("one"),
        schedule("two", state="paused", paused=PAUSE, next_start=None),
        schedule("three", state="off", reason="the instance is disabled", next_start=None, last=None),
        schedule("four", last={**schedule("x")["last"], "state": "interrupted", "attempt": 2}),
    ],
}


def test_the_list_shows_last_and_next(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/schedule"] = RECORD
    rows = vyactl("schedule", "list").out.splitlines()
    assert "cron 0 2 * * *" in rows[1]
    assert "America/Sao_Paulo" in rows[1]
    assert "2026-01-09 02:00:00-03:00" in rows[1]
    assert "succeeded" in rows[1]
    assert rows[1].endswith("2026-01-10 02:00:00-03:00")
    assert rows[2].endswith("paused by root(0) until 2026-01-10 06:00:00-03:00: new disks")
    assert rows[3].endswith("off: the instance is disabled")
    assert "interrupted, all backups there (attempt 2)" in rows[4]
    assert vyactl("schedule", "list", "-o", "json").json == RECORD


def test_pause_says_whom_until_when_and_why(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    asked: list[Any] = []

    def answer(body: Any) -> Any:
        asked.append(body)
        return {**RECORD, "paused": {**PAUSE, "until": None, "note": ""}}

    daemon.answers["POST", "/v1/schedule/pause"] = answer
    ran = vyactl("schedule", "pause", "--instance", "two", "--until", "2026-01-10 06:00", "--note", "new disks")
    assert asked == [{"instance": "two", "until": "2026-01-10 06:00", "note": "new disks"}]
    assert "all schedules are paused by root(0)\n" in ran.err


def test_resume_says_what_is_still_paused(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["POST", "/v1/schedule/resume"] = {**RECORD, "resumed": False}
    ran = vyactl("schedule", "resume", "--instance", "one")
    assert ran.code == 0
    assert "one was not paused" in ran.err
    assert "still paused: two" in ran.err
