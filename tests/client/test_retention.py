"""``retention``: the plan in words, and the question before anything goes."""

from __future__ import annotations

from typing import Any

from tests.client.canned import CannedDaemon, result, step
from tests.client.conftest import Vyactl
from tests.client.terminal import VYACTL, Terminal
from vya_backupd.errors import StorageError


def verdict(id_: str, *reasons: str, keep: bool = False, **other: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "instance": "prod-pg",
        "database": "shop",
        "type": "full",
        "file": f"/var/backups/{id_}.sql.gz",
        "size_bytes": 2048,
        "taken_at": "2026-01-09T05:00:00Z",
        "held": False,
        "keep": keep,
        "reasons": list(reasons),
        **other,
    }


def plan(*backups: dict[str, Any], enabled: bool = True) -> dict[str, Any]:
    kept = sum(each["keep"] for each in backups)
    gone = len(backups) - kept
    totals = {"kept": kept, "kept_bytes": 2048 * kept, "expired": gone, "expired_bytes": 2048 * gone}
    return {"cleanup_enabled": enabled, "totals": totals, "backups": list(backups)}


STAYS = verdict("b-2", "newest complete backup", "daily 2026-01-09", keep=True)
EXPIRES = verdict("b-1", "daily: 2026-01-09 has a newer one")


def test_the_plan_has_every_reason_and_the_totals(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/retention/plan"] = plan(STAYS, EXPIRES, enabled=False)
    ran = vyactl("retention", "plan", "--instance", "prod-pg", "--database", "shop")
    assert ran.code == 0
    assert daemon.asked[0][1] == "/v1/retention/plan?instance=prod-pg&database=shop"
    titles, first, second = ran.out.splitlines()
    assert titles.split()[0] == "VERDICT"
    assert first.startswith("keep")
    assert first.endswith("newest complete backup; daily 2026-01-09")
    assert second.startswith("expire")
    assert second.endswith("daily: 2026-01-09 has a newer one")
    assert ran.err == (
        "1 backup of 2.00 KiB stay, 1 of 2.00 KiB expire; cleanup_enabled is false, so nothing is deleted\n"
    )
    assert vyactl("retention", "plan", "-o", "json").json == plan(STAYS, EXPIRES, enabled=False)


def test_applying_shows_what_would_go_and_asks(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/retention/plan"] = plan(STAYS, EXPIRES)
    ran = vyactl("retention", "apply", "-o", "json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "confirmation_required")
    assert not daemon.asked
    for answer, code, submitted in (("n", 2, 0), ("y", 0, 1)):
        daemon.runs(final=result(kind="prune", steps=[step("succeeded", detail={"expired": 1, "freed_bytes": 2048})]))
        with Terminal(VYACTL, "--socket", str(daemon.socket_path), "retention", "apply") as terminal:
            terminal.expect(r"Delete 1 backup for good\? \[y/N\]")
            assert "has a newer one" in terminal.text
            assert "newest complete" not in terminal.text
            terminal.answer(answer)
            assert terminal.wait() == code
        assert len(daemon.bodies("POST", "/v1/operations")) == submitted
    assert "expired 1, freed 2.00 KiB" in terminal.text
    (asked,) = daemon.bodies("POST", "/v1/operations")
    assert asked == {"kind": "prune", "request": {"instances": None, "database": None}}


def test_a_step_that_failed_is_said(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    error = StorageError("2 of 3 backups that are to stay are not in the store")
    daemon.runs(final=result("failed", kind="prune", steps=[step("failed", error=error)]))
    ran = vyactl("retention", "apply", "--yes", "--instance", "prod-pg")
    assert ran.code == 1
    assert "error: prod-pg/shop: 2 of 3 backups" in ran.err
    (asked,) = daemon.bodies("POST", "/v1/operations")
    assert asked["request"] == {"instances": ["prod-pg"], "database": None}


def test_what_came_of_it_is_said(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    skipped = ["b-9: being read"]
    daemon.runs(final=result(kind="prune") | {"expired": 2, "kept": 3, "freed_bytes": 2048, "skipped": skipped})
    ran = vyactl("retention", "apply", "--yes")
    said = ["2 backups deleted, 2.00 KiB freed, 3 stay", "not deleted this time: b-9: being read"]
    assert ran.err.splitlines()[:2] == said


def test_who_has_switched_it_off_is_told_and_not_asked(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/retention/plan"] = plan(STAYS, EXPIRES, enabled=False)
    daemon.runs(final=result(kind="prune") | {"cleanup_enabled": False, "expired": 0, "kept": 1, "would_expire": 1})
    with Terminal(VYACTL, "--socket", str(daemon.socket_path), "retention", "apply") as terminal:
        assert terminal.wait() == 0
    assert "nothing was deleted: storage.retention.cleanup_enabled is false" in terminal.text
    assert "1 backup would expire" in terminal.text
    assert "for good" not in terminal.text
