"""Clocks that leap by years, forwards and backwards, in the midst of work, with schedule and retention on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.e2e.scheduling import HOUR, MADE, Planned, planned
from tests.waiting import until
from vya_backupd.dumpfile.manifest import decode_manifest
from vya_backupd.testing.servers import PrivateServer

NIGHT = datetime(2026, 3, 3, 1, 0, tzinfo=UTC)
YEARS = timedelta(days=3653)


def _all_whole(found: Planned, before: datetime) -> set[str]:
    """Every backup that is there is whole, and listed. The databases of which there is one from before this time."""
    there = found.store.backups()
    assert there.keys() == found.control.backups().keys()
    facts = [
        decode_manifest(data.with_name(f"{data.name}.metadata.json").read_bytes()).facts for data in there.values()
    ]
    return {each.database for each in facts if each.taken_at < before}


def _leapt(found: Planned, moment: datetime) -> None:
    """Let it be another time, and wait until the daemon has noticed."""
    before = len(found.said("clock.jumped"))
    found.clock.move_to(moment)
    until(lambda: len(found.said("clock.jumped")) > before)


def test_a_clock_that_leaps_by_years_loses_no_backup(any_postgresql: PrivateServer, tmp_path: Path) -> None:
    retention = {"cleanup_enabled": True, "strategy": "gfs", "daily_keep": 2, "weekly_keep": 1, "monthly_keep": 1}
    more = {"storage": {"retention": retention}}
    with planned(any_postgresql, tmp_path, NIGHT - HOUR, more, cron="0 1 * * *") as found:
        found.clock.move_to(NIGHT)
        found.done(NIGHT)
        assert _all_whole(found, NIGHT + HOUR) == MADE

        found.arm("store.synced=hang")  # which does not hold the event loop
        by_hand = found.control.back_up()
        until((tmp_path / "site" / "faults.hangs").exists)
        _leapt(found, NIGHT + YEARS)
        found.arm("")
        assert found.control.finished(by_hand)["operation"]["state"] == "succeeded"
        until(lambda: not found.active())
        assert _all_whole(found, NIGHT + HOUR) == MADE, "a leap forwards made good backups expire"

        _leapt(found, NIGHT + HOUR)
        again = found.control.finished(found.control.back_up())
        assert again["operation"]["state"] == "succeeded"
        until(lambda: not found.active())
        assert _all_whole(found, NIGHT + 2 * HOUR) == MADE, "a leap backwards made good backups expire"
        assert {step["backup_id"] for step in again["steps"]} <= found.control.backups().keys()
