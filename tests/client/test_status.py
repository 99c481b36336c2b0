from __future__ import annotations

import pytest
from aiohttp import web

from tests.client.canned import CannedDaemon, backup, operation
from tests.client.conftest import Vyactl
from vya_backupd.errors import ServerError

TEXT = '# TYPE vya_up gauge\nvya_up{database_id="prod-pg"} 1.0\n'


def test_status_is_one_screen(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    record = {
        "version": "2.0.0",
        "hostname": "db-01",
        "phase": "running",
        "uptime_seconds": 7620.0,
        "storage": {"base_path": "/backups", "free_bytes": 1 << 30, "total_bytes": 4 << 30},
        "troubles": ["disk_full: the file system is full"],
        "instances": [
            {"id": "prod-pg", "type": "postgresql", "enabled": True, "reachable": "ok", "databases": [backup()]},
            {"id": "old", "type": "mysql", "enabled": False, "databases": []},
        ],
        "running": [operation("running")],
        "waiting": [],
        "progress": [
            {"instance": "prod-pg", "database": "shop", "phase": "dumping", "bytes_done": 1024, "expected_bytes": 4096}
        ],
        "recent": [],
    }
    daemon.answers["GET", "/v1/status"] = record
    out = vyactl("status").out
    assert "VYA BackupDB 2.0.0 on db-01: running for 2 h 07 min" in out
    assert "Backups in /backups: 1.00 GiB of 4.00 GiB free" in out
    assert "TROUBLE: disk_full" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(("prod-pg", "old"))]
    assert rows[0][:4] == ["prod-pg", "postgresql", "ok", "shop"]
    assert rows[1][:6] == ["old", "mysql", "disabled", "-", "never", "-"]
    assert "prod-pg/shop: dumping, 1.00 KiB of about 4.00 KiB" in out
    assert "op-1" in out
    assert vyactl("status", "-o", "json").json == record


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
