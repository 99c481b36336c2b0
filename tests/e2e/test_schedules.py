"""The real scheduler under a moved clock: slots, crashes, downtime, clock changes, pauses."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool
from tests.e2e.scheduling import HOUR, MADE, MINUTE, SECOND, Planned, planned
from tests.waiting import PATIENCE, until
from vya_backupd.catalog.schedules import slot_key

NIGHT = datetime(2026, 6, 10, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def nightly(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    """One daemon for the tests of this module, in order; each goes on some nights later."""
    root = tmp_path_factory.mktemp("schedules")
    with planned(server_pool.get("postgresql"), root, NIGHT - HOUR, cron="0 2 * * *", timezone="UTC") as found:
        yield found


def test_a_slot_runs_at_its_time(nightly: Planned) -> None:
    shown = nightly.schedule()
    assert (shown["state"], shown["last"], shown["next_start"]) == ("on", None, NIGHT.isoformat())
    nightly.clock.move_to(NIGHT - 2 * SECOND)
    last = nightly.done(NIGHT)
    assert (last["state"], last["attempt"]) == ("succeeded", 1)
    assert nightly.made() == {slot_key("one", NIGHT): sorted(MADE)}
    jump = nightly.said("clock.jumped")[-1]
    assert 3000 < jump["seconds"] < 3600
    listed = nightly.product.ctl("schedule", "list").out.splitlines()
    assert "succeeded" in listed[1]
    assert "2026-06-11 02:00:00+00:00" in listed[1]


def test_a_slot_that_a_crash_cuts_short_goes_on(nightly: Planned) -> None:
    night = NIGHT + DAY
    nightly.arm("backup.recorded=kill@1")  # at the second the third may be published
    nightly.clock.move_to(night)
    assert nightly.product.process.wait(PATIENCE) == -signal.SIGKILL
    nightly.arm("")
    nightly.product.start()
    last = nightly.done(night)
    assert (last["state"], last["attempt"]) == ("succeeded", 2)
    first, second = nightly.attempts(night)
    assert first["state"] == "interrupted"
    assert len(second["request"]["databases"]) + second["request"]["globals"] < len(MADE)
    assert nightly.made()[slot_key("one", night)] == sorted(MADE)


def test_nights_that_the_daemon_slept_through_are_one(nightly: Planned) -> None:
    nightly.product.stop()
    night = NIGHT + 4 * DAY
    nightly.clock.move_to(night + HOUR)
    nightly.product.start()
    nightly.done(night)
    assert nightly.said("slot.caught_up")[-1]["late_seconds"] >= 3600
    assert nightly.said("slot.missed")[-1]["count"] == 2
    assert len(nightly.made()) == 3
    assert nightly.product.stop() == 0
    nightly.product.start()
    assert nightly.done(night)["attempt"] == 1
    assert len(nightly.made()) == 3


def test_a_pause_survives_a_restart(nightly: Planned) -> None:
    night = NIGHT + 5 * DAY
    paused = nightly.product.ok("schedule", "pause", "--instance", "one", "--note", "new disks")["schedules"][0]
    assert paused["state"] == "paused"
    assert paused["paused"]["note"] == "new disks"
    nightly.product.kill()
    nightly.product.start()
    nightly.clock.move_to(night + MINUTE)
    skipped = until(lambda: nightly.said("slot.skipped"))[-1]
    assert skipped["slot"] == night.isoformat()
    assert "new disks" in skipped["reason"]
    assert nightly.product.ok("schedule", "resume", "--instance", "one")["resumed"]
    nightly.clock.move_to(night + DAY)
    nightly.done(night + DAY)
    assert slot_key("one", night) not in nightly.made()


def test_what_cannot_be_paused_is_refused(nightly: Planned) -> None:
    assert nightly.product.ctl("schedule", "pause", "--instance", "nobody").code == 4
    past = nightly.product.ctl("schedule", "pause", "--until", "2020-01-01 00:00")
    assert past.code == 2
    assert "has passed" in past.err
    assert nightly.schedule()["state"] == "on"


def test_clock_changes_in_lisbon(server_pool: ServerPool, tmp_path: Path) -> None:
    server = server_pool.get("postgresql")
    spring = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 01:00 becomes 02:00: there is no half past one
    autumn = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # and here are two
    lisbon: dict[str, Any] = {"cron": "30 1 * * *", "timezone": "Europe/Lisbon"}
    by_the_hour = {"storage": {"file_naming": {"datetime_format": "%Y%m%d_%H"}}}
    with planned(server, tmp_path, spring - HOUR, more=by_the_hour, **lisbon) as found:
        found.clock.move_to(spring - SECOND)
        found.done(spring)
        assert found.schedule()["last"]["slot"] == "2026-03-29T02:00:00+01:00"
        found.clock.move_to(autumn - HOUR)
        missed = until(lambda: found.said("slot.missed"))[-1]
        assert missed["slot"] == (autumn - DAY).isoformat()
        found.clock.move_to(autumn)
        found.done(autumn)
        found.clock.move_to(autumn + HOUR + MINUTE)
        until(lambda: len(found.said("clock.jumped")) >= 4)
        found.control.ask("POST", "/v1/schedule/pause")  # has looked at everything when it answers
        found.control.ask("POST", "/v1/schedule/resume")
        shown = found.schedule()
        assert shown["last"]["slot"] == "2026-10-25T01:30:00+01:00"
        assert shown["next_start"] == "2026-10-26T01:30:00+00:00"
        assert len(found.made()) == 2
        _the_same_hour_again(found)


def _the_same_hour_again(found: Planned) -> None:
    """By the clock on the wall these backups want the names of those before: nothing is overwritten, all are known."""
    before = found.store.backups()
    contents = {path: path.read_bytes() for path in before.values()}
    made = {each["id"] for each in found.product.ok("backup", "--instance", "one")["backups"]}
    assert len(made) == len(MADE)
    after = found.store.backups()
    assert after == before | {each: after[each] for each in made}
    assert {after[each].name.replace("_2.sql.gz", ".sql.gz") for each in made} <= {path.name for path in contents}
    assert {path: path.read_bytes() for path in contents} == contents
    found.product.ok("catalog", "rebuild")
    assert found.control.backups().keys() == after.keys()
