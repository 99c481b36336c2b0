from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.client.canned import TAKEN, CannedDaemon, backup
from tests.client.conftest import Vyactl
from tests.client.terminal import VYACTL, Terminal
from vya_backupd.errors import BusyError


def test_show_tells_everything(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    hold = {"note": "audit", "by": "root", "at": TAKEN, "until": None}
    detail = {
        "backup": backup(
            held=True, hold=hold, warnings=["one", "two"], verified_at=None, properties={"encoding": "UTF8"}
        )
    }
    daemon.answers["GET", "/v1/backups/b-1"] = detail
    lines = vyactl("backups", "show", "b-1").out.splitlines()
    facts = dict(line.split("  ", 1) for line in lines)
    shown = {name: value.strip() for name, value in facts.items()}
    assert shown["size"] == "205 MiB (215000000 bytes)"
    assert shown["hold note"] == "audit"
    assert shown["held"] == "yes"
    assert shown["verified at"] == "-"
    assert shown["properties encoding"] == "UTF8"
    assert lines[[line.startswith("warnings") for line in lines].index(True) + 1].strip() == "two"
    assert vyactl("backups", "show", "b-1", "-o", "json").json == detail


def test_hold_and_release(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["POST", "/v1/backups/b-1/hold"] = {"backup": backup(held=True)}
    daemon.answers["POST", "/v1/backups/b-1/release"] = {"backup": backup()}
    assert vyactl("backups", "hold", "b-1", "--note", "audit").code == 0
    assert vyactl("backups", "hold", "b-1", "--note", "audit", "--until", "2027-01-01").code == 0
    assert vyactl("backups", "release", "b-1").code == 0
    without, until = daemon.bodies("POST", "/v1/backups/b-1/hold")
    assert without == {"note": "audit", "until": None}
    assert datetime.fromisoformat(until["until"]) == datetime(2027, 1, 1, 3, tzinfo=UTC)


def test_delete_asks_first(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/backups/b-1"] = {"backup": backup()}
    daemon.answers["DELETE", "/v1/backups/b-1"] = {"backup": backup()}
    ran = vyactl("backups", "delete", "b-1", "-o", "json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "confirmation_required")
    assert not daemon.asked
    for answer, code, deleted in (("n", 2, 0), ("y", 0, 1)):
        with Terminal(VYACTL, "--socket", str(daemon.socket_path), "backups", "delete", "b-1") as terminal:
            terminal.expect(r"Delete the backup of prod-pg/shop of 2026-01-09 02:00:01-03:00 for good\? \[y/N\]")
            terminal.answer(answer)
            assert terminal.wait() == code
        assert len(daemon.bodies("DELETE", "/v1/backups/b-1")) == deleted


def test_a_held_backup_is_not_deleted(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["DELETE", "/v1/backups/b-1"] = BusyError("b-1 is held", code="backup_in_use")
    assert vyactl("backups", "delete", "b-1", "--yes").code == 6


def test_an_empty_list_is_said_on_stderr(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    daemon.answers["GET", "/v1/backups"] = {"backups": []}
    ran = vyactl("backups", "list", "--limit", "5")
    assert (ran.code, ran.out, ran.err) == (0, "", "no backups\n")
    assert daemon.asked[0][1] == "/v1/backups?limit=5"


@pytest.mark.parametrize(("limit", "ids"), [((), "abcde"), (("--limit", "3"), "abc"), (("--limit", "4"), "abcd")])
def test_a_long_list_is_fetched_page_by_page(
    daemon: CannedDaemon, vyactl: Vyactl, limit: tuple[str, ...], ids: str
) -> None:
    def page(_: Any) -> dict[str, Any]:
        asked = dict(parse_qsl(urlsplit(daemon.asked[-1][1]).query))
        rest = "abcde"["abcde".find(asked.get("after", " ")[-1]) + 1 :]
        found = rest[: min(2, int(asked.get("limit", 2)))]
        return {"backups": [backup(each) for each in found], "next": f"then {found[-1]}" if len(found) == 2 else None}

    daemon.answers["GET", "/v1/backups"] = page
    lines = vyactl("backups", "list", *limit).out.splitlines()
    assert lines[0].startswith("ID")
    assert [line.split()[0] for line in lines[1:]] == list(ids)
    ran = vyactl("backups", "list", *limit, "-o", "json")
    assert [each["id"] for each in ran.json["backups"]] == list(ids)
    assert ran.out == json.dumps(ran.json, indent=2) + "\n"


def test_long_file_names_are_never_cut_in_a_pipe(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    name = "x" * 300
    daemon.answers["GET", "/v1/backups"] = {"backups": [backup(file=name)]}
    assert vyactl("backups", "list").out.splitlines()[1].endswith(name)


def test_a_table_on_a_terminal_fits_it_and_loses_nothing(daemon: CannedDaemon) -> None:
    name = "y" * 300
    daemon.answers["GET", "/v1/backups"] = {"backups": [backup(file=name)]}
    with Terminal(VYACTL, "--socket", str(daemon.socket_path), "backups", "list") as terminal:
        assert terminal.wait() == 0
    assert max(len(line) for line in terminal.text.splitlines()) <= 160
    assert terminal.text.count("y") == 300
