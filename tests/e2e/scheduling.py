"""A daemon that works by its schedule, under a clock that the test moves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.e2e.killing import Control, Store
from tests.waiting import until
from vya_backupd.catalog.schedules import slot_key
from vya_backupd.dumpfile.manifest import decode_manifest
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

DATABASES = ("sched_a", "sched_b")
MADE = {*DATABASES, "@globals"}
"""Of which every slot makes a backup."""


@dataclass
class Clock:
    """The daemon's wall clock: ours, moved."""

    path: Path

    def move_to(self, moment: datetime) -> None:
        """Let it be this time now."""
        offset = (moment - datetime.now(UTC)).total_seconds()
        fresh = self.path.with_suffix(".new")
        fresh.write_text(str(offset))
        os.replace(fresh, self.path)


@dataclass
class Planned:
    """The daemon, its clock, and what can be asked of both."""

    product: Product
    clock: Clock
    control: Control
    store: Store

    def arm(self, faults: str) -> None:
        """Arm these points in the daemon that runs, and in those that follow."""
        (self.product.root / "faults").write_text(faults)

    def schedule(self) -> dict[str, Any]:
        """The one instance's schedule, as the daemon tells it."""
        (found,) = self.control.ask("GET", "/v1/schedule")["schedules"]
        return dict(found)

    def done(self, slot: datetime) -> dict[str, Any]:
        """Wait until this slot's run has ended and nothing follows it. Returns what is told of it."""

        def ended() -> dict[str, Any] | None:
            assert self.product.process.poll() is None, f"the daemon ended with {self.product.process.returncode}"
            last = self.schedule()["last"]
            if last is None or datetime.fromisoformat(last["slot"]) != slot or self.active():
                return None
            return dict(last) if last["whole"] or last["state"] not in {"interrupted", "queued", "running"} else None

        found = until(ended, otherwise=f"the slot {slot} did not end")
        assert found is not None
        return found

    def active(self) -> list[Any]:
        """Operations that run or wait."""
        return [each for each in self.operations() if each["state"] in ("running", "queued")]

    def operations(self) -> list[dict[str, Any]]:
        """All of them, as they are at one moment: between two questions one may begin, or follow another."""
        return list(self.control.ask("GET", "/v1/operations?limit=1000")["operations"])

    def attempts(self, slot: datetime) -> list[dict[str, Any]]:
        """The operations of a slot, in order."""
        ours = [each for each in self.operations() if each["key"] == slot_key("one", slot)]
        return sorted(ours, key=lambda each: int(each["attempt"]))

    def made(self) -> dict[str, list[str]]:
        """The databases of which there is a whole backup on the disk, by the run that made it."""
        found: dict[str, list[str]] = {}
        for data in self.store.backups().values():
            facts = decode_manifest(data.with_name(f"{data.name}.metadata.json").read_bytes()).facts
            found.setdefault(facts.run, []).append(facts.database)
        return {run: sorted(databases) for run, databases in found.items()}

    def said(self, name: str) -> list[dict[str, Any]]:
        """The log's records of this event."""
        return self.product.events(name)


@contextmanager
def planned(
    server: PrivateServer, root: Path, at: datetime, more: dict[str, Any] | None = None, **scheduling: Any
) -> Iterator[Planned]:
    """A daemon that was started at this time, with two small databases to back up and nothing due yet.

    ``more``: further sections of its configuration.
    """
    for name in DATABASES:
        server.drop_database(name)
        server.create_database(name)
        server.sql("create table t (id int); insert into t values (1)", name)
    clock = Clock(root / "clock")
    root.mkdir(parents=True, exist_ok=True)
    clock.move_to(at)
    product = Product(
        root / "site",
        [instance(server, "one", database=list(DATABASES))],
        servers=[server],
        config={
            "scheduling": {"enabled": True, **scheduling},
            "storage": {"retention": {"cleanup_enabled": False}},
            "backup": {"free_space_factor": 0, "reverify_days": 0},
            **(more or {}),
        },
        environ={"VYA_CLOCK_OFFSET_FILE": str(clock.path), "VYA_FAULTS": f"@{root / 'site' / 'faults'}"},
    )
    found = Planned(product, clock, Control(product), Store(product))
    found.arm("")
    try:
        with product:
            begun(found)
            yield found
    finally:
        server.start()
        for name in DATABASES:
            server.drop_database(name)


def begun(found: Planned) -> None:
    """Wait until the daemon has looked at its schedule for the first time."""
    until(lambda: (found.product.state_dir / "scheduler.sqlite").exists(), otherwise="nothing was scheduled")


HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
