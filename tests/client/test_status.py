from __future__ import annotations

import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from tests.client.canned import CannedDaemon, backup, operation
from tests.client.conftest import Vyactl
from tests.client.terminal import VYACTL, Terminal
from tests.waiting import PATIENCE
from vya_backupd.client.overview import page
from vya_backupd.errors import ServerError

TEXT = '# TYPE vya_up gauge\nvya_up{database_id="prod-pg"} 1.0\n'


NOW = datetime(2026, 1, 10, 9, 30, tzinfo=UTC)


def server(name: str = "prod-pg", **other: Any) -> dict[str, Any]:
    return {
        "id": name,
        "type": "postgresql",
        "enabled": True,
        "reachable": "ok",
        "max_age_seconds": 129600.0,
        "discovered": 5,
        "covered": 4,
        "uncovered": [],
        "overdue": [],
        "awaited": [],
        "oldest_at": (NOW - timedelta(hours=3, minutes=10)).isoformat(),
        "proof": "complete",
        "schedule": {"state": "on", "reason": None, "next_start": "2026-01-10T13:00:00-03:00", "paused": None},
        "databases": [backup()],
        **other,
    }


def stands(*servers: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "version": "2.0.0",
        "hostname": "db-01",
        "phase": "running",
        "uptime_seconds": 7620.0,
        "health": "healthy",
        "reasons": [],
        "storage": {"base_path": "/backups", "free_bytes": 1 << 30, "total_bytes": 4 << 30, "forecast": None},
        "paused": None,
        "instances": list(servers),
        "notifications": {"waiting": 0, "since": None, "given_up": 0},
        "retention_at": None,
        "verified": {"oldest": None, "newest": None},
        "running": [],
        "waiting": [],
        "progress": [],
        "recent": [],
        "troubles": [],
        "sync": None,
        **other,
    }


def late(name: str = "prod-pg") -> dict[str, Any]:
    return {"objective": "fresh", "text": f"{name}: no complete backup of shop younger than 36 hours", "count": 1}


def screen(record: dict[str, Any], width: int = 80, *, everything: bool = False) -> str:
    lines = page(record, NOW, width=width, everything=everything).lines
    assert max(map(len, lines)) <= width
    return "\n".join(lines)


def test_the_first_line_says_what_is_protected_and_a_row_since_when() -> None:
    record = stands(server(), server("prod-my", oldest_at=(NOW - timedelta(days=1, hours=2)).isoformat()))
    text = screen(record)
    assert text.startswith("PROTECTED   8 databases on 2 servers, the oldest backup 1 d 02 h old\n")
    assert "db-01: VYA BackupDB 2.0.0, running for 2 h 07 min" in text
    rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.startswith("  prod")]
    assert rows == [
        ["prod-pg", "ok", "4 of 4", "3 h 10 m", "36 h", "complete", "13:00"],
        ["prod-my", "ok", "4 of 4", "1 d 02 h", "36 h", "complete", "13:00"],
    ]
    assert "Next       prod-my at 13:00, prod-pg at 13:00" in text
    assert "/backups: 1.00 GiB of 4.00 GiB free" in text


def test_a_start_in_another_zone_than_the_other_times_says_in_which() -> None:
    abroad = {"state": "on", "reason": None, "next_start": "2026-01-10T16:00:00+00:00", "paused": None}
    text = screen(stands(server(), server("prod-my", schedule=abroad)))
    assert "Next       prod-my at 16:00 UTC+00:00, prod-pg at 13:00" in text


@pytest.mark.parametrize(
    ("record", "first"),
    [
        (stands(), "IDLE "),
        (stands(server(awaited=["shop"], oldest_at=None)), "WAITING     1 without a backup yet; next prod-pg at 13:00"),
        (stands(server(enabled=False)), "IDLE "),
        (stands(server(covered=0, oldest_at=None)), "WAITING     no database"),
        (stands(server(), phase="draining"), "DRAINING "),
        (stands(server(overdue=["shop"]), reasons=[late()]), "DEGRADED    1 database without a backup in time"),
    ],
)
def test_what_is_not_protected_is_not_called_so(record: dict[str, Any], first: str) -> None:
    assert screen(record).startswith(first)


def test_what_is_wrong_stands_above_everything_else() -> None:
    down = server("my-server-with-a-name-that-is-longer-than-any-column", reachable="connection_refused")
    record = stands(
        server("a-good-one"),
        server(overdue=["shop"]),
        down,
        reasons=[late()],
        troubles=["disk_full: the file system is full"],
        notifications={"waiting": 2, "since": "2026-01-10T05:00:00Z", "given_up": 0},
        storage={
            "base_path": "/backups",
            "free_bytes": 1 << 30,
            "total_bytes": 4 << 30,
            "forecast": {"bytes_per_day": 1 << 28, "days_observed": 9, "days_until_full": 4.0},
        },
    )
    lines = screen(record).splitlines()
    assert lines[2:4] == [
        "  ! prod-pg: no complete backup of shop younger than 36 hours",
        "  ! disk_full: the file system is full",
    ]
    rows = [line.split() for line in lines if line.startswith(("! ", "  a-good"))]
    assert [row[:2] for row in rows] == [["!", "prod-pg"], ["!", rows[1][1]], ["a-good-one", "ok"]]
    assert rows[0][3:6] == ["3", "of", "4"]
    assert rows[1][1].endswith("…")
    assert rows[1][2] == "down"
    joined = " ".join(" ".join(lines).split())
    assert "! /backups: 1.00 GiB of 4.00 GiB free, full in about 4 days at this pace" in joined
    assert "! 2 messages waiting since" in joined


def test_forty_servers_fit_on_the_screen_and_the_bad_one_is_seen() -> None:
    many = [server(f"pg-{number:02}", overdue=["shop"] if number == 31 else []) for number in range(40)]
    record = stands(*many, reasons=[late("pg-31")])
    lines = screen(record).splitlines()
    assert len(lines) < 25
    assert next(line for line in lines if "pg-" in line and "ok" in line).startswith("! pg-31")
    assert any("and 29 more without trouble, the oldest backup 3 h 10 m old" in line for line in lines)
    everything = screen(record, everything=True)
    assert all(f" pg-{number:02} " in everything for number in range(40))


def test_a_hostile_name_moves_no_cursor() -> None:
    text = screen(stands(server("evil\x1b[2J")), 120)
    assert "\x1b" not in text
    assert "evil\\x1b[2J" in text


def test_status_is_the_page_with_what_runs(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    record = stands(
        server(),
        running=[operation("running")],
        progress=[
            {"instance": "prod-pg", "database": "shop", "phase": "dumping", "bytes_done": 1024, "expected_bytes": 4096}
        ],
    )
    daemon.answers["GET", "/v1/status"] = record
    out = vyactl("status").out
    assert out.startswith("PROTECTED   4 databases on 1 server")
    assert "Now        backup running, by root, op-1" in out
    assert "prod-pg/shop: dumping, 1.00 KiB of about 4.00 KiB" in out
    assert vyactl("status", "-o", "json").json == record


def test_watch_goes_on_until_ctrl_c_and_over_a_daemon_that_is_away(daemon: CannedDaemon) -> None:
    daemon.answers["GET", "/v1/status"] = stands(server())
    with Terminal(VYACTL, "--socket", str(daemon.socket_path), "status", "--watch") as terminal:
        terminal.expect("PROTECTED +4 databases")
        daemon.answers["GET", "/v1/status"] = stands(server(overdue=["shop"]), reasons=[late()])
        terminal.expect("DEGRADED +1 database")
        terminal.interrupt()
        assert terminal.wait() == 0
    asked = (VYACTL, "--socket", str(daemon.socket_path), "status", "--watch")
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as piped:
        assert piped.stdout is not None
        lines = [piped.stdout.readline(), piped.stdout.readline()]
        daemon.socket_path.unlink()
        while "no daemon answers" not in (line := piped.stdout.readline()):
            assert line
        piped.send_signal(signal.SIGINT)
        assert piped.wait(PATIENCE) == 0
    assert all("DEGRADED    1 database without a backup in time" in line for line in lines)


def test_last_backup_is_the_newest_of_each_database(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    newer = backup("b-2", taken_at="2026-01-10T05:00:00Z")
    daemon.answers["GET", "/v1/backups"] = {"backups": [backup(), newer, backup("b-3", "crm")]}
    found = vyactl("status", "--last-backup", "-o", "json").json["backups"]
    assert [item["id"] for item in found] == ["b-3", "b-2"]
    assert vyactl("status", "--last-backup").out.count("\n") == 3


@pytest.mark.parametrize(("status", "word", "code"), [(200, "healthy", 0), (503, "degraded", 1)])
def test_health_is_an_answer_either_way(
    daemon: CannedDaemon, vyactl: Vyactl, status: int, word: str, code: int
) -> None:
    record = {"status": word, "timestamp": "2026-01-09T10:00:00Z", "reasons": ["shop: no backup for 40 h"]}
    daemon.answers["GET", "/v1/health"] = (status, record)
    ran = vyactl("health")
    assert (ran.code, ran.out, ran.err) == (code, f"{word}\n", "shop: no backup for 40 h\n")
    ran = vyactl("health", "-o", "json")
    assert (ran.code, ran.json) == (code, record)


def test_metrics_come_as_they_are(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/metrics"] = lambda _: web.Response(text=TEXT)
    assert vyactl("metrics").out == TEXT
    assert vyactl("metrics", "--openmetrics", "-o", "json").json["metrics"] == TEXT


def test_connections_some_and_none(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    good = {"instance": "prod-pg", "ok": True, "server": {"version_text": "PostgreSQL 18.1"}, "error": None}
    error = ServerError("password refused", code="login_refused", hint="Check the credentials.").to_json()
    bad = {"instance": "prod-my", "ok": False, "server": None, "error": error}
    daemon.answers["POST", "/v1/connections/test"] = lambda _: {"connections": [good, bad]}
    ran = vyactl("config", "test-connections")
    assert ran.code == 3
    assert [line.split(maxsplit=2) for line in ran.out.splitlines()[1:]] == [
        ["prod-pg", "ok", "PostgreSQL 18.1"],
        ["prod-my", "FAILED", "login_refused"],
    ]
    assert "error: prod-my: password refused\nhint:  Check the credentials." in ran.err
    daemon.answers["POST", "/v1/connections/test"] = {"connections": [bad]}
    assert vyactl("config", "test-connections", "--instance", "prod-my").code == 1
    assert daemon.asked[-1][2] == {"instance": "prod-my"}


def test_the_configuration_in_force_is_shown_as_yaml(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/config"] = {"backup": {"workers": 2}, "tools": {"postgresql": {"search": []}}}
    assert vyactl("config", "show").out.startswith("backup:\n  workers: 2\n")
    assert vyactl("config", "show", "-o", "json").json["backup"] == {"workers": 2}
