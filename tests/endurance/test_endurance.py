"""Half a minute of endurance, and what its judge says of runs that did not endure. Hours: ``python -m tests.endurance``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool
from tests.endurance.enduring import Endurance, Terms
from tests.endurance.installation import installed
from tests.endurance.report import report
from tests.endurance.verdict import BOUNDS, mistakes

FLAT = {bound.figure: 50.0 for bound in BOUNDS}


def run_of(hours: float, **growth: float) -> list[dict[str, Any]]:
    """A log in which these figures grow by so much an hour, under the noise of a daemon at work."""
    records: list[dict[str, Any]] = [{"type": "begun", "at": 0, "seconds": hours * 3600}]
    for number in range(int(hours * 360)):
        noise = {figure: value + number * 7 % 13 for figure, value in FLAT.items()}
        grown = {figure: noise[figure] + growth.get(figure, 0) * number / 360 for figure in noise}
        records.append({"type": "sample", "at": number * 10.0} | grown)
    return records


def test_what_neither_grows_nor_fails_endured() -> None:
    assert mistakes(run_of(4)) == []
    assert mistakes(run_of(0.1)) == []


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.figure)
def test_a_slow_leak_is_seen_under_the_noise(bound: Any) -> None:
    (said,) = mistakes(run_of(4, **{bound.figure: bound.an_hour * 1.5}))
    assert said.startswith(f"{bound.figure} grows by ")
    assert mistakes(run_of(4, **{bound.figure: bound.an_hour * 0.5})) == []


def test_a_failure_needs_a_cause_and_a_wrong_copy_has_none() -> None:
    run = run_of(0.1)
    failure = {"type": "failure", "at": 120.0, "since": 115.0, "what": "backup", "wrong": "server_lost"}
    cause = {"type": "cause", "at": 118.0, "name": "server killed", "began": 110.0, "until": 150.0}
    copy = {
        "type": "restore",
        "at": 121.0,
        "since": 119.0,
        "what": "copy",
        "wrong": "3 wrong balances",
        "compared": True,
    }
    assert mistakes([*run, failure]) == ["at 120.0: backup: server_lost"]
    assert mistakes([*run, failure, cause]) == []
    assert mistakes([*run, failure, cause, copy]) == ["at 121.0: copy: 3 wrong balances"]
    assert mistakes([*run, {"type": "died", "at": 5.0, "code": -9}]) == ["at 5.0: the daemon ended with -9"]
    assert mistakes([*run, {"type": "left", "at": 5.0, "wrong": ["child 7"]}]) == ["left at the end: child 7"]


def test_half_a_minute(server_pool: ServerPool, tmp_path: Path) -> None:
    servers = [server_pool.get(label) for label in ("postgresql-15", "mariadb", "mysql")]
    log = tmp_path / "log"
    terms = Terms(seconds=30, look_every=1, cause_every=4, grace=20)
    with installed(tmp_path / "site", servers, banks=1, pace=10) as where:
        Endurance(where, terms, log).run()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    text, is_well = report(records)
    assert is_well, text
    kinds = Counter(record["type"] for record in records)
    assert kinds["sample"] > 3
    assert kinds["cause"] > 0
    compared = {record["what"].split()[0] for record in records if record.get("compared")}
    assert len(compared) == len(servers), "each server's backup was restored and compared"
