"""A week in the life of ten instances, a clock change in its midst, and everything that can go wrong meanwhile.

Time is simulated, and nothing else of the daemon: catalog, store, queue, schedules, retention, mails (to a real mail
server) and metrics are the product's own. Only the dump tools are made up. The daemon is killed, stopped, and left off
for hours; servers fail; the mail server refuses; the clock is set. At the end, everything must add up.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from tests.daemon.slots_rig import DAY, HOUR, MINUTE, Clock
from tests.observe.peers import MailPeer
from tests.simulation import accounts
from tests.simulation.life import Life, living
from tests.simulation.mishaps import Mishap, mishaps
from tests.simulation.wall import Wanted, at, every, slots
from tests.simulation.world import World
from vya_backupd.catalog.schedules import slot_of
from vya_backupd.config.credentials_schema import Entry
from vya_backupd.config.schema import Config
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, State, is_final
from vya_backupd.observe.metrics import Metrics
from vya_backupd.operations.site import Settings

ZONE = ZoneInfo("Europe/Lisbon")
WEEK = 7 * DAY + 10 * MINUTE
SITE = "home"

Keys = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """One instance: its schedule in words of the configuration and of the wall, and what is kept of it."""

    schedule: Keys
    wanted: Wanted
    retention: Keys


_by_day = at(*(f"{hour:02}:00" for hour in range(8, 21, 2)), days=range(3, 7))

SERVERS = {
    "night": Server({"cron": "30 1 * * *"}, at("01:30"), {"daily_keep": 3, "weekly_keep": 1}),
    "behind": Server({"cron": "0 2 * * *"}, at("02:00"), {"daily_keep": 2, "weekly_keep": 2, "monthly_keep": 2}),
    "twice": Server({"cron": "15,45 1 * * *"}, at("01:15", "01:45"), {"strategy": "simple", "daily_keep": 4}),
    "busy": Server({"cron": "0 8-20/2 * * 0,4-6"}, _by_day, {"strategy": "simple", "daily_keep": 5, "minimum_keep": 2}),
    "six": Server(
        {"cron": "0 */6 * * *"}, every(360), {"daily_keep": 3, "weekly_keep": 0, "monthly_keep": 1, "minimum_keep": 3}
    ),
    "interval": Server({"interval_minutes": 480}, every(480), {"daily_keep": 1, "weekly_keep": 0, "monthly_keep": 0}),
    "weekly": Server({"cron": "0 3 * * 0"}, at("03:00", days=range(6, 7)), {}),
    "workday": Server({"cron": "0 22 * * 1-5"}, at("22:00", days=range(5)), {"strategy": "simple", "daily_keep": 2}),
    "evening": Server({"cron": "30 18,20 * * *"}, at("18:30", "20:30"), {"daily_keep": 5}),
    "off": Server({"enabled": False, "cron": "0 * * * *"}, lambda _: False, {}),
}


def settings(folder: Path, port: int) -> Settings:
    """The site: own schedules and rules for every instance, mails to a server that is there."""
    mails = {
        "enabled": True,
        "smtp_host": "127.0.0.1",
        "smtp_port": port,
        "use_tls": False,
        "from_address": "backup@example.com",
        "success_recipients": ["glad@example.com"],
        "error_recipients": ["ops@example.com", "db@example.com"],
        "digest_after": 1000,
    }
    config = Config.model_validate(
        {
            "application": {"hostname": SITE, "state_dir": str(folder / "state")},
            "scheduling": {"timezone": str(ZONE), "jitter": "90s"},
            "storage": {"local": {"base_path": str(folder / "backups")}},
            "notifications": {"email": mails},
        }
    )
    login = {"type": "postgresql", "host": "127.0.0.1", "username": "backup"}
    entries = {
        name: Entry.model_validate({"id": name, "schedule": each.schedule, "retention": each.retention, **login})
        for name, each in SERVERS.items()
    }
    return Settings(config, {name: each.instance() for name, each in entries.items()}, entries=entries)


@dataclass
class Week:
    """What is left of a week."""

    site: Settings
    begin: datetime
    world: World
    peer: MailPeer
    plan: list[tuple[datetime, Mishap]]
    totals: dict[tuple[str, str], float]

    @classmethod
    def of(cls, folder: Path, begin: datetime, peer: MailPeer) -> Week:
        world = World(Clock(begin), str(begin.date()))
        return cls(settings(folder, peer.port), begin, world, peer, mishaps(begin, peer), {})

    @property
    def end(self) -> datetime:
        return self.begin + WEEK

    async def live(self, life: Life) -> timedelta | None:
        """Live until something kills, or the week is over (None)."""
        clock = self.world.clock
        while clock() < self.end:
            if self.plan and self.plan[0][0] <= clock():
                down = await self.plan.pop(0)[1](life)
                if down is not None:
                    return down
                continue
            await life.step()
            clock.set(min(self.coming(life)))
        return None

    def coming(self, life: Life) -> Iterator[datetime]:
        """When something may happen again: a slot begins, something goes wrong, an hour is over."""
        yield min(self.world.clock() + HOUR, self.end)
        yield from (start for each in SERVERS if (start := life.slots.next_start(each)) is not None)
        yield from (when for when, _ in self.plan[:1])

    async def pass_by(self) -> None:
        """All of it, life after life."""
        while self.world.clock() < self.end:
            async with living(self.world, self.site) as life:
                accounts.refuse_fallen(self.totals, accounts.counters(life.metrics))
                down = await self.live(life)
                self.totals = accounts.counters(life.metrics)
                if down is None:
                    await self.conclude(life)
                    return
            self.world.clock.set(self.world.clock() + down)

    async def conclude(self, life: Life) -> None:
        """The last looks: what is due is done, and everybody is told."""
        assert self.plan == []
        await life.step()
        await life.site.submit(OperationKind.PRUNE, {"instances": None})  # type: ignore[misc]
        await life.settled()
        await life.tell()
        await self.refuse_losses(life)

    async def refuse_losses(self, life: Life) -> None:
        """Everything adds up."""
        catalog = life.site.catalog
        events, operations = await accounts.all_events(catalog), await accounts.all_operations(catalog)
        assert [each for each in operations if not is_final(each.state)] == []
        self.refuse_wrong_slots(operations, events)
        self.refuse_wrong_mails(operations, events)
        made = {each.data["backup_id"] for each in events if each.name in {"backup.published", "backup.adopted"}}
        now, folder = self.world.clock(), life.site.store.base_path
        outlines = [self.world.offered[each] for each in made]
        accounts.refuse_wrong_store(folder, set(await catalog.backups.paths()), outlines, self.site, now)
        ended = [each for each in operations if each.kind is OperationKind.BACKUP]
        states = Counter((each.request["instances"][0], str(each.state)) for each in ended)
        assert accounts.executions(life.metrics) == states
        await life.metrics.freshen(catalog, now)
        fresh = Metrics("simulated")
        await fresh.fill(catalog, now, self.site.instances)
        assert accounts.shown(life.metrics) == accounts.shown(fresh)
        refuse_a_quiet_week(operations, events)

    def refuse_wrong_slots(self, operations: list[Operation], events: list[Event]) -> None:
        for name, server in SERVERS.items():
            mine = [each for each in operations if (each.key or "").startswith(f"{name}@")]
            assert len({(each.key, each.attempt) for each in mine}) == len(mine)
            wanted = slots(server.wanted, ZONE, self.begin, self.end)
            accounts.refuse_lost_slots(name, wanted, {slot_of(each.key or "") for each in mine}, events)
            accounts.refuse_open_ends(wanted, mine, events, self.world.starts)

    def refuse_wrong_mails(self, operations: list[Operation], events: list[Event]) -> None:
        email = self.site.config.notifications.email
        wanted, there = (
            accounts.wanted_mails(operations, events, email),
            accounts.mails_in(self.peer.mails, email, SITE),
        )
        assert (there - wanted, wanted - there) == (Counter(), Counter())
        names = [str(each.message["Message-ID"]) for each in self.peer.mails]
        assert len(set(names)) == len(names)


def refuse_a_quiet_week(operations: list[Operation], events: list[Event]) -> None:
    """That all is well proves something only where much went wrong."""
    seen = {each.name for each in events}
    wanted = {"slot.missed", "slot.coalesced", "slot.skipped", "slot.caught_up", "slot.given_up", "schedule.realigned"}
    assert wanted | {"backup.adopted", "backup.expired", "notification.delayed", "retention.applied"} <= seen
    backups = [each for each in operations if each.kind is OperationKind.BACKUP]
    assert {each.state for each in backups} == {State.SUCCEEDED, State.PARTIAL, State.FAILED, State.INTERRUPTED}
    assert {each.attempt for each in backups} == {1, 2, 3}


@pytest.fixture
def peer() -> Iterator[MailPeer]:
    with MailPeer() as peer:
        yield peer


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the disk costs no time, if there is such a place: some ten thousand writes wait for it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    "begin",
    [datetime(2026, 10, 22, tzinfo=UTC), datetime(2026, 3, 26, tzinfo=UTC)],
    ids=["01:30 comes twice", "01:30 never comes"],
)
async def test_after_a_bad_week_everything_adds_up(folder: Path, peer: MailPeer, begin: datetime) -> None:
    week = Week.of(folder, begin, peer)
    with capture_logs():
        await week.pass_by()
