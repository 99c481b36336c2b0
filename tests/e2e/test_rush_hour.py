"""Every instance at one o'clock: never more dumps at once than workers, and with jitter not all at one o'clock."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

import pytest

from tests.e2e.killing import Control
from tests.e2e.scheduling import Clock
from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

INSTANCES = 6
WORKERS = 2
SLOT = datetime(2031, 3, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)

_COUNTED = """#!{python} -IS
import os, subprocess, sys, time
argv = [{real!r}, *sys.argv[1:]]
if "--version" in argv or "--schema-only" in argv:
    os.execv(argv[0], argv)
notes = os.open({folder!r} + "/notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(notes, b"+")
while not os.path.exists({folder!r} + "/go"):
    time.sleep(0.01)
status = subprocess.call(argv)
os.write(notes, b"-")
sys.exit(status)
"""


class Counted:
    """A dump tool that notes when it begins and ends, and waits in between until it may."""

    def __init__(self, folder: Path, server: PrivateServer) -> None:
        real = server.tools["pg_dump"]
        folder.mkdir(parents=True)
        self._folder = folder
        (folder / real.name).write_text(_COUNTED.format(python=sys.executable, real=str(real), folder=str(folder)))
        (folder / real.name).chmod(0o755)
        self.tools = {"postgresql": {"search": [str(folder), str(real.parent)]}}

    def release(self) -> None:
        (self._folder / "go").touch()

    def running(self) -> list[int]:
        """How many ran, after each beginning and end so far."""
        notes = self._folder / "notes"
        return list(accumulate(1 if each == "+" else -1 for each in notes.read_text())) if notes.exists() else []


@pytest.fixture
def databases(any_postgresql: PrivateServer, fresh_name: str) -> Iterator[list[str]]:
    names = [f"{fresh_name}_{number}" for number in range(INSTANCES)]
    for name in names:
        any_postgresql.create_database(name)
    yield names
    for name in names:
        any_postgresql.drop_database(name)


def ended(control: Control) -> list[str]:
    """The states of all operations."""
    return [each["state"] for each in control.ask("GET", "/v1/operations?limit=100")["operations"]]


def starts(control: Control) -> list[datetime]:
    """When each instance is due next."""
    return [datetime.fromisoformat(each["next_start"]) for each in control.ask("GET", "/v1/schedule")["schedules"]]


def test_all_instances_at_one_o_clock(any_postgresql: PrivateServer, databases: list[str], tmp_path: Path) -> None:
    tool, clock = Counted(tmp_path / "tool", any_postgresql), Clock(tmp_path / "clock")
    clock.move_to(SLOT - timedelta(minutes=1))
    product = Product(
        tmp_path / "site",
        [instance(any_postgresql, f"i{number}", database=[name]) for number, name in enumerate(databases)],
        servers=[any_postgresql],
        config={
            "tools": tool.tools,
            "backup": {"workers": WORKERS, "include_globals": False, "free_space_factor": 0, "reverify_days": 0},
            "scheduling": {"enabled": True, "cron": "0 1 * * *"},
        },
        environ={"VYA_CLOCK_OFFSET_FILE": str(clock.path)},
    )
    with product:
        control = Control(product)
        until(lambda: len(control.ask("GET", "/v1/schedule")["schedules"]) == INSTANCES)
        until(lambda: set(starts(control)) == {SLOT}, otherwise="without jitter all are due at the same time")
        until((product.state_dir / "scheduler.sqlite").exists)
        clock.move_to(SLOT)
        until(lambda: ended(control).count("running") == INSTANCES and len(tool.running()) == WORKERS)
        tool.release()
        until(lambda: ended(control).count("succeeded") == INSTANCES)
        assert len(tool.running()) == 2 * INSTANCES
        assert max(tool.running()) == WORKERS

        clock.move_to(SLOT + DAY / 2)
        product.settings["scheduling"]["jitter"] = "10m"
        product.write_config()
        product.signal(signal.SIGHUP)
        until(lambda: product.events("config.reloaded"))
        spread = starts(control)
        assert len(set(spread)) == INSTANCES
        assert all(SLOT + DAY <= start <= SLOT + DAY + timedelta(minutes=10) for start in spread)
        halfway = sorted(spread)[INSTANCES // 2 - 1]
        clock.move_to(halfway)
        until(lambda: ended(control).count("succeeded") == INSTANCES + INSTANCES // 2)
        assert len(ended(control)) == INSTANCES + INSTANCES // 2, "whose time has not come has not begun"
        clock.move_to(max(spread))
        until(lambda: ended(control).count("succeeded") == 2 * INSTANCES)
        assert max(tool.running()) <= WORKERS
