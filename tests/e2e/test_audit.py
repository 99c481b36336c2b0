"""Who did what, from where: written down by a real daemon, over kills, and proved by the real client."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until
from vya_backupd.client.transport import ControlClient
from vya_backupd.errors import VyaError
from vya_backupd.testing.product import Product

DOWN: dict[str, Any] = {
    "id": "one",
    "enabled": True,
    "type": "postgresql",
    "host": "127.0.0.1",
    "port": 1,
    "username": "somebody",
    "password": "canary-0815-audit",
    "database": "*",
    "ssl": {"enabled": False},
}
"""A server that nobody answers for: its backups fail at once, and that too is to be written down."""
KILLS = int(os.environ.get("VYA_KILLS", "3"))
_UNSAID = {"operation.started", "step.started", "backup.verified"}


def _entries(product: Product, kind: str | None = None) -> list[dict[str, Any]]:
    answer = ControlClient(str(product.socket_path)).get("/v1/audit", {"kind": kind, "limit": 10_000})
    found: list[dict[str, Any]] = answer["audit"]
    return found


@pytest.mark.parametrize("encrypt", [False, True])
def test_the_audit_says_who_did_what_from_where_and_is_proved(tmp_path: Path, encrypt: bool) -> None:
    config = {"audit": {"encrypt": encrypt}}
    with Product(tmp_path, [DOWN], config=config) as product:
        client = product.begin("backup", "--output", "json")
        client.communicate()
        with pytest.raises(VyaError):
            ControlClient(str(product.socket_path)).delete("/v1/backups/no-such-backup")
        product.signal(signal.SIGHUP)
        reloaded = until(lambda: _entries(product, "config.reloaded"))
        assert len(reloaded) == 1
        submitted = _entries(product, "operation.submitted")[0]
        assert submitted["from"] == {"uid": os.getuid(), "pid": client.pid, "client": "control"}
        assert (submitted["actor"].endswith(f"({os.getuid()})"), submitted["kind"]) == (True, "backup")
        finished = _entries(product, "operation.finished")[0]
        assert (finished["result"], finished["operation"]) == ("failed", submitted["operation"])
        refused = _entries(product, "request.*")[0]
        assert (refused["result"], refused["error_code"]) == ("refused", "unknown_backup")
        shown = product.ctl("audit", "show")
        assert "request.refused" in shown.out
        proved = product.ok("audit", "verify")["audit"]
        assert (proved["ok"], proved["compared_with_catalog"], proved["problems"]) == (True, True, [])
    path = product.state_dir / "audit.log"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert "canary" not in text
    assert ("operation.submitted" in text) is not encrypt
    with product:
        # The socket answers before the start itself is on record. A machine that stood still would add daemon.stalled.
        until(lambda: len(_entries(product, "daemon.st[ao][rp]*")) > 2)
        lived = [each["event"] for each in _entries(product, "daemon.st[ao][rp]*")]
        assert lived == ["daemon.started", "daemon.stopped", "daemon.started"]


def test_a_changed_line_is_found_by_the_daemon_and_without_it(tmp_path: Path) -> None:
    with Product(tmp_path, [DOWN]) as product:
        ControlClient(str(product.socket_path)).post("/v1/operations", {"kind": "backup", "request": {}})
        path = product.state_dir / "audit.log"
        until(lambda: path.exists() and "operation.finished" in path.read_text())
        content = path.read_text()
        path.write_text(content.replace('"kind":"backup"', '"kind":"verify"', 1))
        line = 1 + next(at for at, each in enumerate(content.splitlines()) if '"kind":"backup"' in each)
        for arguments in (("audit", "verify"), ("audit", "verify", "--file", str(path))):
            found = product.ctl(*arguments)
            assert found.code == 5
            assert f"{path}:{line}: line {line} is not what its own digest says" in found.out
        path.write_text("".join(content.splitlines(keepends=True)[:3]))
        found = product.ctl("audit", "verify", "--output", "json")
        assert (found.code, found.json["audit"]["problems"][-1]["kind"]) == (5, "cut_off")
        assert product.ctl("audit", "verify", "--file", str(path)).code == 0, "the chain alone cannot know its end"
        assert product.ctl("audit", "verify", "--file", str(tmp_path / "none")).code == 1


def test_killed_at_any_moment_no_event_is_missing_or_there_twice(tmp_path: Path) -> None:
    product = Product(tmp_path, [DOWN])
    for number in range(KILLS):
        product.start()
        client = ControlClient(str(product.socket_path))
        for _ in range(5):
            client.post("/v1/operations", {"kind": "backup", "request": {}})
            try:
                client.delete("/v1/backups/none")
            except VyaError as error:
                assert error.code == "unknown_backup"  # noqa: PT017 - the refusal is what is wanted
        time.sleep(number * 0.013 % 0.2)  # another moment each time; whatever it is, the outcome is the same
        product.kill()
    with product:
        proved = ControlClient(str(product.socket_path)).get("/v1/audit/verify")["audit"]
        assert proved["problems"] == []
        written = [each for each in _entries(product) if each["event"] != "audit.opened"]
    product_events = _worthy(product.state_dir / "catalog.db")
    assert [each["event"] for each in written] == product_events[: len(written)]
    # The socket answers before the start itself is on record, and a machine may stand still at any time.
    assert set(product_events[len(written) :]) <= {"daemon.started", "daemon.stopped", "daemon.stalled"}
    assert product_events.count("operation.submitted") == 5 * KILLS


def _worthy(catalog: Path) -> list[str]:
    with sqlite3.connect(catalog) as database:
        rows = database.execute("SELECT name, json_extract(data, '$.state') FROM events ORDER BY id").fetchall()
    database.close()
    return [name for name, state in rows if name not in _UNSAID and (name, state) != ("step.finished", "succeeded")]


def test_a_log_and_an_audit_that_cannot_be_written_stop_nothing(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this machine has no /dev/full")
    folder = tmp_path / "audit"
    folder.write_text("no folder")
    config = {
        "logging": {"output": "both", "file_path": "/dev/full"},
        "audit": {"file_path": str(folder / "audit.log")},
    }
    with Product(tmp_path, [DOWN], config=config) as product:
        assert product.ctl("backup").code == 1
        assert product.ctl("status").code == 0
        refused = product.ctl("audit", "show", "--output", "json")
        assert (refused.code, refused.json["error"]["code"]) == (1, "audit_unwritable")
        assert until(lambda: product.events("audit.failed"))
        status, body = product.get("/health")
        audit, log = json.loads(body)["reasons"]
        assert (status, str(folder) in audit, "log /dev/full" in log) == (503, True, True)
        folder.unlink()
        assert {"operation.submitted", "operation.finished"} <= {each["event"] for each in _entries(product)}
        assert ControlClient(str(product.socket_path)).get("/v1/audit/verify")["audit"]["ok"]
        assert json.loads(product.get("/health")[1])["reasons"] == [log]
    assert product.log().count("vya-backupd: cannot write the log /dev/full") == 1
