"""What the client asks for, what it shows, and which code it ends with, when operations run and end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client.canned import CannedDaemon, backup, operation, progress, result, step
from tests.client.conftest import Vyactl
from vya_backupd.errors import BusyError, IntegrityError, NotFoundError, ServerError, TargetError

REFUSED = ServerError(
    "db1 refuses connections", code="connection_refused", hint="Is the server up?", instance="prod-pg"
)


def test_backup_sends_its_options_and_prints_the_backups(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.runs(progress(500), {"type": "step", **step("succeeded")}, final=result(backups=[backup()]))
    ran = vyactl(
        "backup",
        "--instance",
        "prod-pg",
        "--database",
        "shop,crm",
        "--parallel",
        "--workers",
        "3",
        "--compression",
        "9",
    )
    assert daemon.bodies("POST", "/v1/operations") == [
        {
            "kind": "backup",
            "request": {
                "instances": ["prod-pg"],
                "databases": ["shop", "crm"],
                "parallel": True,
                "workers": 3,
                "compression_level": 9,
                "codec": None,
                "dry_run": False,
                "globals": True,
            },
        }
    ]
    assert ran.code == 0
    header, row = ran.out.splitlines()
    assert header.split() == ["ID", "INSTANCE", "DATABASE", "TAKEN", "AT", "SIZE", "RAW", "PROOF", "HELD", "FILE"]
    assert row.split()[:3] == ["b-1", "prod-pg", "shop"]
    assert "205 MiB" in row
    assert row.endswith("shop_20260109_020000_full.sql.gz")
    assert "prod-pg/shop: succeeded" in ran.err
    assert "backup op-1: succeeded, 1 of 1 step in 12 s" in ran.err


def test_json_is_one_document_with_exact_sizes_and_nothing_else(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    final = result(backups=[backup()])
    daemon.runs(progress(500), final=final)
    ran = vyactl("backup", "--output", "json")
    assert ran.json == final
    assert "prod-pg/shop: dump" in ran.err


@pytest.mark.parametrize(
    "arguments", [["-o", "json", "backup"], ["backup", "--output=json"], ["--output", "json", "backup"]]
)
def test_the_form_of_output_may_stand_before_or_after_the_command(
    daemon: CannedDaemon, vyactl: Vyactl, arguments: list[str]
) -> None:
    daemon.runs(final=result())
    assert vyactl(*arguments).json["operation"]["state"] == "succeeded"


def test_verbose_shows_what_the_steps_found(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    detail = {"tool": "pg_dump 18.6", "raw_size_bytes": 2048, "warnings": ["no right to read passwords"]}
    daemon.runs(final=result(steps=[step("succeeded", detail=detail)]))
    assert "tool pg_dump 18.6, raw 2.00 KiB, warnings: no right to read passwords" in vyactl("backup", "--verbose").out


def test_dry_run_shows_what_would_be_dumped(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.runs(final=result(steps=[step("succeeded", detail={"size_bytes": 4096, "tables": 12})]))
    ran = vyactl("backup", "--dry-run")
    assert daemon.bodies("POST", "/v1/operations")[0]["request"]["dry_run"] is True
    assert "size 4.00 KiB, tables 12" in ran.out


def test_some_failed_databases_give_3_and_each_failure_is_said(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    steps = [step("succeeded"), step("failed", "crm", REFUSED)]
    daemon.runs(final=result("partial", steps=steps, backups=[backup()]))
    ran = vyactl("backup")
    assert ran.code == 3
    assert "error: prod-pg/crm: db1 refuses connections\nhint:  Is the server up?" in ran.err
    assert "b-1" in ran.out


@pytest.mark.parametrize(
    ("final", "code"),
    [
        (result("failed", steps=[step("failed", error=REFUSED)]), 1),
        (result("failed", "restore", steps=[step("failed", error=TargetError("not empty"))]), 6),
        (result("failed", "verify", steps=[step("failed", error=IntegrityError("bit"))]), 5),
        (result("partial", "verify", steps=[step("failed", error=IntegrityError("bit")), step("succeeded")]), 5),
        (
            result(
                "failed",
                "verify",
                steps=[],
                verified=[{"file": "/x", "ok": False, "error": "bit", "bytes": 1, "seconds": 1}],
            ),
            5,
        ),
        (result("failed", steps=[step("failed", error=REFUSED), step("failed", error=TargetError("x"))]), 1),
        (result("failed", steps=[], operation={"error": NotFoundError("no such").to_json()}), 4),
        (result("cancelled"), 130),
        (result("interrupted"), 130),
        (result("succeeded"), 0),
    ],
)
def test_the_end_of_an_operation_gives_the_exit_code(
    daemon: CannedDaemon, vyactl: Vyactl, final: dict[str, Any], code: int
) -> None:
    daemon.answers["GET", "/v1/operations/op-1"] = final
    daemon.watches.append([{"type": "finished", "result": final}])
    assert vyactl("operations", "watch", "op-1").code == code


def test_no_wait_prints_the_id_and_leaves(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["POST", "/v1/operations"] = (201, {"operation": operation("queued")})
    ran = vyactl("backup", "--no-wait")
    assert (ran.code, ran.out) == (0, "op-1\n")
    assert "vyactl operations watch op-1" in ran.err
    assert vyactl("backup", "--no-wait", "-o", "json").json["operation"]["id"] == "op-1"


def test_a_connection_that_breaks_is_taken_up_again(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.runs(final=result(backups=[backup()]))
    daemon.answers["GET", "/v1/operations/op-1"] = {"operation": operation("running"), "steps": []}
    daemon.watches = [[progress(100), daemon.BREAK], [], *daemon.watches]
    ran = vyactl("backup")
    assert ran.code == 0
    assert "b-1" in ran.out
    assert len([path for _, path, _ in daemon.asked if path.endswith("/watch")]) == 3


def test_an_operation_that_ended_while_nobody_listened_is_reported(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.runs(final=result("interrupted"))
    daemon.watches = [[progress(100), daemon.BREAK]]
    assert vyactl("backup").code == 130


def test_refusals_of_the_daemon_keep_code_place_and_hint(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["POST", "/v1/operations"] = BusyError(
        "held", code="backup_in_use", hint="Release it first.", instance="prod-pg", database="shop"
    )
    ran = vyactl("backup")
    assert (ran.code, ran.out) == (6, "")
    assert ran.err == "error: held\nwhere: prod-pg/shop\nhint:  Release it first.\n"
    ran = vyactl("backup", "-o", "json")
    assert ran.json["error"]["code"] == "backup_in_use"
    assert ran.json["error"]["retryable"] is True
    assert ran.err == "error: held\n"


def test_list_databases(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/databases"] = {
        "databases": [
            {"instance": "prod-pg", "database": "shop", "covered": True, "size_bytes": 1 << 30},
            {"instance": "prod-pg", "database": "postgres", "covered": False, "size_bytes": 1 << 20},
            {"instance": "prod-my", "error": REFUSED.to_json()},
        ]
    }
    ran = vyactl("backup", "--list-databases")
    assert ran.code == 3
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["prod-pg", "shop", "yes", "1.00", "GiB"],
        ["prod-pg", "postgres", "no", "1.00", "MiB"],
    ]
    assert "error: prod-my: db1 refuses connections" in ran.err


def test_hostile_names_stay_text(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    name = "a[bold]\x1b[2J\nfake ok"
    daemon.runs(
        progress(1, database=name),
        {"type": "step", **step("failed", name, REFUSED)},
        final=result("failed", steps=[step("failed", name, REFUSED)], backups=[backup(database=name)]),
    )
    ran = vyactl("backup")
    assert "\x1b" not in ran.out + ran.err
    assert r"a[bold]\x1b[2J\nfake ok" in ran.out
    assert r"a[bold]\x1b[2J\nfake ok: db1" in ran.err
    assert not any(line.startswith("fake") for line in (ran.out + ran.err).splitlines())


def test_operations_list_show_cancel(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/operations"] = {"operations": [operation("failed")]}
    daemon.answers["GET", "/v1/operations/op-1"] = result("failed", steps=[step("failed", error=REFUSED)])
    daemon.answers["POST", "/v1/operations/op-1/cancel"] = {"operation": operation("cancelled")}
    ran = vyactl("operations", "list", "--state", "failed", "--limit", "7")
    assert daemon.asked[-1][1] == "/v1/operations?limit=7&state=failed"
    assert ran.out.splitlines()[1].split()[:3] == ["op-1", "backup", "failed"]
    assert "connection_refused: db1 refuses connections" in vyactl("operations", "show", "op-1").out
    assert vyactl("operations", "cancel", "op-1").code == 0
    assert daemon.bodies("POST", "/v1/operations/op-1/cancel") == [{}]
    assert vyactl("operations", "list", "-o", "json").json == {"operations": [operation("failed")]}


def test_ids_cannot_lead_to_another_path(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    assert vyactl("operations", "show", "../status?x=1").code == 4
    assert daemon.asked[-1][1] == "/v1/operations/..%2Fstatus%3Fx%3D1"


def test_catalog_rebuild_is_an_operation(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    damaged = [{"file": "x/y.sql.gz", "error": IntegrityError("ends in member 3").to_json()}]
    detail = {"backups": 7, "adopted": ["a.sql.gz", "b.sql.gz"], "damaged": damaged}
    daemon.runs(final=result(kind="rebuild", steps=[step("succeeded", detail=detail)]))
    ran = vyactl("catalog", "rebuild")
    assert ran.code == 0
    text = "backups 7, adopted: a.sql.gz; b.sql.gz, damaged: file x/y.sql.gz, error: ends in member 3"
    assert text in ran.out
    assert daemon.bodies("POST", "/v1/operations") == [{"kind": "rebuild", "request": {}}]


def test_verify_says_which_file_is_damaged(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    error = IntegrityError("member 7 at byte 81920 (public.events): wrong CRC", hint="Restore another backup.")
    verified = [
        {"file": "/b/good.sql.gz", "ok": True, "error": None, "bytes": 4096, "seconds": 0.5},
        {"file": "/b/bad.sql.gz", "ok": False, "error": error.to_json(), "bytes": 4096, "seconds": 0.5},
    ]
    daemon.runs(
        final=result("partial", "verify", steps=[step("succeeded"), step("failed", error=error)], verified=verified)
    )
    ran = vyactl("verify", "--instance", "prod-pg", "--all")
    assert ran.code == 5
    assert [line.split()[0] for line in ran.out.splitlines()] == ["RESULT", "ok", "DAMAGED"]
    assert "member 7 at byte 81920" in ran.err


def test_verify_asks_for_what_is_meant(daemon: CannedDaemon, vyactl: Vyactl, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    daemon.runs(final=result(kind="verify"))
    vyactl("verify", "--file", "x.sql.gz")
    assert daemon.bodies("POST", "/v1/operations")[0]["request"] == {
        "file": f"{tmp_path}/x.sql.gz",
        "backup_id": None,
        "instance": None,
        "database": None,
        "latest": False,
        "all": False,
    }
    daemon.runs(final=result(kind="verify"))
    vyactl("verify", "--instance", "prod-pg")
    assert daemon.bodies("POST", "/v1/operations")[1]["request"]["latest"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify"],
        ["verify", "--file", "x", "--instance", "i"],
        ["verify", "--file", "x", "--all"],
        ["verify", "--instance", "i", "--all", "--latest"],
        ["backup", "--workers", "0"],
        ["backup", "--compression", "10"],
        ["backup", "--no-wait", "--standalone"],
        ["backup", "--no-such-option"],
        ["no-such-command"],
        ["backups", "show"],
        ["backups", "hold", "b-1"],
        ["backups", "hold", "b-1", "--note", "x", "--until", "tomorrow"],
        ["operations", "list", "--state", "sleeping"],
    ],
)
def test_a_senseless_command_line_gives_2_and_asks_nobody(
    daemon: CannedDaemon, vyactl: Vyactl, arguments: list[str]
) -> None:
    ran = vyactl(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert not daemon.asked
    assert vyactl("-o", "json", *arguments).json["error"]["code"] == "usage"
