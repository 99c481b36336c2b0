"""Nothing is overwritten by surprise: what restore asks the daemon, and what it asks the person first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.client.canned import CannedDaemon, backup, result
from tests.client.conftest import Vyactl
from tests.client.terminal import VYACTL, Terminal
from vya_backupd.errors import TargetError


def plan(target: str = "shop", instance: str = "prod-pg", *, overwrite: bool = True) -> dict[str, Any]:
    return {
        "plan": {
            "dry_run": False,
            "restores": [
                {
                    "file": backup()["file"],
                    "backup_id": "b-1",
                    "taken_at": backup()["taken_at"],
                    "size_bytes": 215_000_000,
                    "raw_size_bytes": 950_000_000,
                    "target": {
                        "instance": instance,
                        "database": target,
                        "exists": overwrite,
                        "objects": 12 * overwrite,
                    },
                    "overwrite": overwrite,
                    "actions": ["read the file wholly", "restore beside 'shop'"],
                    "warnings": ["the backup is of a newer server"],
                }
            ],
        }
    }


@pytest.fixture
def ready(daemon: CannedDaemon) -> CannedDaemon:
    daemon.answers["POST", "/v1/restore/plan"] = plan(overwrite=False)
    daemon.runs(
        final=result(
            kind="restore",
            restored=[{"target_instance": "prod-pg", "target_database": "shop", "backup_id": "b-1", "seconds": 62.0}],
        )
    )
    return daemon


def submitted(daemon: CannedDaemon) -> list[dict[str, Any]]:
    return [body["request"] for body in daemon.bodies("POST", "/v1/operations")]


def test_the_plan_is_shown_then_carried_out(ready: CannedDaemon, vyactl: Vyactl) -> None:
    ran = vyactl("restore", "--instance", "prod-pg", "--database", "shop", "--latest", "--target-database", "shop_copy")
    assert ran.code == 0
    assert "prod-pg/shop:\n  1. read the file wholly\n  2. restore beside 'shop'\n" in ran.err
    assert "nothing" in ran.err
    assert "warning: prod-pg/shop: the backup is of a newer server" in ran.err
    assert ran.out.splitlines()[1].split() == ["prod-pg", "shop", "b-1", "1", "min", "02", "s"]
    (request,) = submitted(ready)
    assert ready.bodies("POST", "/v1/restore/plan") == [request]
    assert (request["latest"], request["target_database"], request["confirmed_target"]) == (True, "shop_copy", None)


def test_a_refused_plan_submits_nothing(ready: CannedDaemon, vyactl: Vyactl) -> None:
    ready.answers["POST", "/v1/restore/plan"] = TargetError("shop is not empty", hint="Add --overwrite.")
    ran = vyactl("restore", "--instance", "prod-pg", "--database", "shop", "--latest")
    assert ran.code == 6
    assert not submitted(ready)


def test_overwrite_without_terminal_or_yes_is_refused_at_once(ready: CannedDaemon, vyactl: Vyactl) -> None:
    ran = vyactl("restore", "--instance", "prod-pg", "--database", "shop", "--latest", "--overwrite", "-o", "json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "confirmation_required"
    assert not ready.asked


def test_yes_stands_for_the_typed_name(ready: CannedDaemon, vyactl: Vyactl) -> None:
    ready.answers["POST", "/v1/restore/plan"] = plan()
    assert vyactl("restore", "--backup", "b-1", "--overwrite", "--yes", "--disconnect").code == 0
    (request,) = submitted(ready)
    assert request["backup_id"] == "b-1"
    assert (request["overwrite"], request["confirmed_target"], request["disconnect"]) == (True, "shop", True)


def test_what_is_empty_need_not_be_confirmed(ready: CannedDaemon) -> None:
    with Terminal(VYACTL, "--socket", str(ready.socket_path), "restore", "--backup", "b-1", "--overwrite") as terminal:
        assert terminal.wait() == 0
    assert submitted(ready)[0]["confirmed_target"] is None


def test_overwrite_wants_the_targets_name_typed_back(ready: CannedDaemon) -> None:
    ready.answers["POST", "/v1/restore/plan"] = plan()
    arguments = (VYACTL, "--socket", str(ready.socket_path), "restore", "--backup", "b-1", "--overwrite")
    with Terminal(*arguments) as terminal:
        terminal.expect(r"Type its name to go on:")
        assert "12 objects" in terminal.text
        terminal.answer("shopp")
        assert terminal.wait() == 2
    assert not submitted(ready)
    with Terminal(*arguments) as terminal:
        terminal.expect(r"Type its name to go on:")
        terminal.answer("shop")
        assert terminal.wait() == 0
    assert submitted(ready)[0]["confirmed_target"] == "shop"


def test_a_whole_server_is_confirmed_by_the_target_instances_name(ready: CannedDaemon, vyactl: Vyactl) -> None:
    ready.answers["POST", "/v1/restore/plan"] = plan(instance="new-pg")
    arguments = ("restore", "--instance", "prod-pg", "--all", "--globals", "--target-instance", "new-pg")
    assert vyactl(*arguments, "--datetime", "2026-01-09 10:00:00", "--overwrite", "--yes").code == 0
    (request,) = submitted(ready)
    assert (request["all"], request["globals"], request["datetime"]) == (True, True, "2026-01-09T10:00:00")
    assert request["confirmed_target"] == "new-pg"


def test_a_time_keeps_the_offset_that_was_given(ready: CannedDaemon, vyactl: Vyactl) -> None:
    vyactl("restore", "--instance", "prod-pg", "--database", "shop", "--datetime", "2026-01-09 10:00:00+02:00")
    assert submitted(ready)[0]["datetime"] == "2026-01-09T10:00:00+02:00"


def test_globals_alone(ready: CannedDaemon, vyactl: Vyactl) -> None:
    assert vyactl("restore", "--instance", "prod-pg", "--globals", "--latest").code == 0
    (request,) = submitted(ready)
    assert (request["globals"], request["database"], request["all"]) == (True, None, False)


def test_dry_run_plans_nothing_and_needs_no_confirmation(ready: CannedDaemon, vyactl: Vyactl, tmp_path: Path) -> None:
    assert vyactl("restore", "--file", str(tmp_path / "x.sql.gz"), "--dry-run", "--overwrite").code == 0
    assert not ready.bodies("POST", "/v1/restore/plan")
    (request,) = submitted(ready)
    assert (request["dry_run"], request["file"]) == (True, str(tmp_path / "x.sql.gz"))


def test_list_shows_the_backups_of_a_database(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/backups"] = {"backups": [backup(), backup("b-0", type="globals", database="@globals")]}
    ran = vyactl("restore", "--list", "--instance", "prod-pg", "--database", "my shop")
    assert daemon.asked[0][1] == "/v1/backups?instance=prod-pg&database=my+shop"
    assert "2026-01-09 02:00:01-03:00" in ran.out
    assert "(globals)" in ran.out
    assert vyactl("restore", "--list", "-o", "json").json["backups"][0]["size_bytes"] == 215_000_000


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--instance", "i", "--database", "d"],
        ["--latest"],
        ["--instance", "i", "--latest"],
        ["--instance", "i", "--database", "d", "--latest", "--datetime", "2026-01-09"],
        ["--instance", "i", "--database", "d", "--datetime", "yesterday"],
        ["--file", "x", "--latest"],
        ["--file", "x", "--all"],
        ["--backup", "b-1", "--globals"],
        ["--backup", "b-1", "--instance", "i"],
        ["--file", "x", "--database", "d"],
        ["--instance", "i", "--globals"],
        ["--instance", "i", "--all", "--backup", "b-1", "--target-instance", "t"],
        ["--all", "--target-instance", "t"],
        ["--instance", "i", "--all"],
        ["--instance", "i", "--all", "--database", "d", "--target-instance", "t"],
        ["--interactive"],
    ],
)
def test_contradictions_are_refused_before_anybody_is_asked(
    daemon: CannedDaemon, vyactl: Vyactl, arguments: list[str]
) -> None:
    ran = vyactl("restore", *arguments)
    assert ran.code == 2
    assert "hint: " in ran.err
    assert not daemon.asked


def test_interactive_leads_from_lists_to_a_restore(ready: CannedDaemon) -> None:
    newer = backup("b-2", taken_at="2026-01-10T05:00:00+00:00")
    ready.answers["GET", "/v1/backups"] = {"backups": [backup(), newer, backup("b-3", "crm")]}
    ready.answers["GET", "/v1/status"] = {"instances": [{"id": "prod-pg"}, {"id": "new-pg"}]}
    ready.answers["POST", "/v1/restore/plan"] = plan("shop_copy", overwrite=False)
    with Terminal(VYACTL, "--socket", str(ready.socket_path), "restore", "--interactive") as terminal:
        terminal.expect(r"Instance: prod-pg")
        terminal.expect(r"1  crm\n\s+2  shop\nNumber, 1-2 \[1\]:")
        terminal.answer("7")
        terminal.expect(r"7 is not in the list")
        terminal.answer("2")
        terminal.expect(r"1  2026-01-10 02:00:00-03:00.*b-2\n\s+2  2026-01-09 .*b-1\nNumber, 1-2 \[1\]:")
        terminal.answer("2")
        terminal.expect(r"Restore to instance:\n\s+1  prod-pg\n\s+2  new-pg\nNumber, 1-2 \[1\]:")
        terminal.answer("2")
        terminal.expect(r"Restore as database \[shop\]:")
        terminal.answer("shop_copy")
        terminal.expect(r"Restore now\? \[y/N\]")
        terminal.answer("y")
        assert terminal.wait() == 0
    (request,) = submitted(ready)
    assert (request["instance"], request["database"]) == (None, None)
    assert (request["backup_id"], request["target_instance"], request["target_database"]) == (
        "b-1",
        "new-pg",
        "shop_copy",
    )


def test_interactive_does_nothing_without_a_yes(ready: CannedDaemon) -> None:
    ready.answers["GET", "/v1/backups"] = {"backups": [backup()]}
    ready.answers["GET", "/v1/status"] = {"instances": []}
    with Terminal(VYACTL, "--socket", str(ready.socket_path), "restore", "--interactive") as terminal:
        terminal.expect(r"Restore as database")
        terminal.answer("")
        terminal.expect(r"Restore now\? \[y/N\]")
        terminal.answer("")
        assert terminal.wait() == 2
    assert not submitted(ready)


def test_interactive_without_any_backup_says_so(daemon: CannedDaemon) -> None:
    daemon.answers["GET", "/v1/backups"] = {"backups": []}
    with Terminal(VYACTL, "--socket", str(daemon.socket_path), "restore", "--interactive") as terminal:
        terminal.expect("there is no backup to restore")
        assert terminal.wait() == 4
