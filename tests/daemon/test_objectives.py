"""What is owed and what is missed of it, on a real catalog, as the days go by and the daemon restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.samples import backup
from tests.daemon.site import NOON, Clock, instance, small_site
from vya_backupd.daemon.objectives import ANY, MARK, Objectives
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import GLOBALS_NAME, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import Instance
from vya_backupd.observe.metrics import Metrics
from vya_backupd.operations.site import Site
from vya_backupd.policy.health import Objective
from vya_backupd.policy.retention import LAST_SUCCESS

HOUR = timedelta(hours=1)
DAILY: dict[str, Any] = {
    "scheduling": {"cron": "0 2 * * *", "timezone": "UTC"},
    "backup": {"include_globals": False, "reverify_days": 30},
    "storage": {"retention": {"cleanup_enabled": False}},
}
FIRST_SLOT = NOON + 14 * HOUR
MAX_AGE = 36 * HOUR


class House:
    """One daemon's life."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self.site, self.clock, self.catalog = site, clock, site.catalog
        self.metrics = Metrics("2.0.0")
        self.objectives = Objectives(site, self.metrics)
        self.catalog.events.subscribe(self.metrics.observe)

    async def look(self, at: datetime, *databases: str) -> set[Objective]:
        """What is missed at a time, after every server that answers has named its databases."""
        self.clock.now = at
        for each in self.site.enabled_instances(None) if databases else ():
            await self.objectives.learn(each, databases)
        await self.objectives.weigh()
        return {reason.objective for reason in self.objectives.missed()}

    async def put(self, *backups: StoredBackup) -> None:
        for each in backups:
            await self.catalog.backups.record(each, Event("backup.published", self.clock.now))


@asynccontextmanager
async def house(
    folder: Path, *instances: Instance, config: dict[str, Any] | None = None, clock: Clock | None = None
) -> AsyncIterator[House]:
    clock = clock or Clock()
    async with small_site(folder, list(instances) or [instance()], config or DAILY, clock) as site:
        yield House(site, clock)


def made(database: str, taken_at: datetime, name: str = "", instance: str = "pg") -> StoredBackup:
    stored = backup(name or f"{database}-{taken_at:%d%H}", instance=instance, database=database)
    facts = replace(stored.manifest.facts, taken_at=taken_at)
    manifest = replace(stored.manifest, facts=facts, finished_at=taken_at, verified_at=taken_at)
    return replace(stored, manifest=manifest)


async def test_a_new_installation_is_healthy_until_its_first_slot_and_the_age(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert await home.look(NOON, "shop") == set()
        assert await home.look(FIRST_SLOT + MAX_AGE, "shop") == set()
        assert await home.look(FIRST_SLOT + MAX_AGE + HOUR, "shop") == {Objective.FRESH}
        (reason,) = home.objectives.missed()
        assert "pg: shop never backed up" in reason.text
        assert home.objectives.missed_counts()["fresh"] == 1


async def test_restarts_do_not_begin_the_wait_anew(tmp_path: Path) -> None:
    clock = Clock()
    for day in range(4):
        async with house(tmp_path, clock=clock) as home:
            missed = await home.look(NOON + day * 24 * HOUR, "shop")
            assert missed == ({Objective.FRESH} if day == 3 else set())


async def test_a_fresh_backup_is_enough_and_an_old_one_is_not(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.look(NOON, "shop", "blog")
        await home.put(made("shop", FIRST_SLOT), made("blog", FIRST_SLOT))
        assert await home.look(FIRST_SLOT + MAX_AGE, "shop", "blog") == set()
        due = home.metrics.outlook.due or {}
        assert due["postgresql", "pg", "shop"] == FIRST_SLOT + MAX_AGE
        await home.put(made("shop", FIRST_SLOT + 24 * HOUR))
        assert await home.look(FIRST_SLOT + MAX_AGE + HOUR, "shop", "blog") == {Objective.FRESH}
        (reason,) = home.objectives.missed()
        assert "blog" in reason.text
        assert "shop" not in reason.text


async def test_a_backup_from_the_future_hides_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.look(NOON, "shop")
        await home.put(made("shop", NOON), made("shop", NOON + 2400 * HOUR, "wrong"))
        assert await home.look(NOON + MAX_AGE + HOUR, "shop") == {Objective.FRESH}


async def test_a_dropped_database_is_no_longer_owed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.look(NOON, "shop", "gone")
        await home.put(made("shop", FIRST_SLOT + 48 * HOUR), made("gone", FIRST_SLOT))
        assert await home.look(FIRST_SLOT + 60 * HOUR, "shop", "gone") == {Objective.FRESH}
        assert await home.look(FIRST_SLOT + 60 * HOUR, "shop") == set()


async def test_a_server_that_went_down_still_owes_what_it_had(tmp_path: Path) -> None:
    clock = Clock()
    async with house(tmp_path, clock=clock) as home:
        await home.look(NOON, "shop")
        await home.put(made("shop", FIRST_SLOT))
    async with house(tmp_path, clock=clock) as home:
        assert await home.look(FIRST_SLOT + MAX_AGE) == set()
        assert await home.look(FIRST_SLOT + MAX_AGE + HOUR) == {Objective.FRESH}


async def test_a_server_that_never_answered_is_owed_something_all_the_same(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert await home.look(NOON) == set()
        assert await home.look(FIRST_SLOT + MAX_AGE + HOUR) == {Objective.FRESH}
        assert ANY in home.objectives.missed()[0].text
        (shown,) = home.metrics.outlook.instances
        assert (shown.discovered, shown.covered, shown.uncovered) == (None, None, None)


async def test_globals_are_owed_like_a_database(tmp_path: Path) -> None:
    config = DAILY | {"backup": {"include_globals": True}}
    async with house(tmp_path, config=config) as home:
        await home.look(NOON, "shop")
        late = FIRST_SLOT + MAX_AGE + HOUR
        await home.put(made("shop", late))
        assert await home.look(late, "shop") == {Objective.FRESH}
        assert GLOBALS_NAME in home.objectives.missed()[0].text
        await home.put(made(GLOBALS_NAME, late))
        assert await home.look(late, "shop") == set()


async def test_what_nobody_backs_up_is_missed_once_a_slot_went_by(tmp_path: Path) -> None:
    listed = instance("pg", "shop", exclude=("scratch_*",))
    async with house(tmp_path, listed) as home:
        names = ("shop", "postgres", "scratch_1", "new")
        assert await home.look(NOON, *names) == set()
        (shown,) = home.metrics.outlook.instances
        assert (shown.discovered, shown.covered, shown.uncovered) == (4, 1, 1)
        await home.put(made("shop", FIRST_SLOT))
        assert await home.look(FIRST_SLOT, *names) == {Objective.COVERED}
        assert "pg: new " in home.objectives.missed()[0].text
        assert await home.look(FIRST_SLOT, "shop", "postgres") == set()


async def test_uncovered_databases_may_be_switched_off_and_count_at_once_without_a_schedule(tmp_path: Path) -> None:
    listed = instance("pg", "shop")
    outside: dict[str, Any] = DAILY | {"scheduling": {"method": "systemd", "timezone": "UTC"}}
    async with house(tmp_path, listed, config=outside) as home:
        assert await home.look(NOON, "shop", "new") == {Objective.COVERED}
    quiet = outside | {"monitoring": {"health_check": {"uncovered_databases": False}}}
    async with house(tmp_path, listed, config=quiet) as home:
        assert await home.look(NOON, "shop", "new") == set()


async def test_retention_and_verification_are_owed_while_there_are_backups(tmp_path: Path) -> None:
    config = DAILY | {"storage": {"retention": {"cleanup_enabled": True}}}
    async with house(tmp_path, config=config) as home:
        assert await home.look(NOON, "shop") == set()
        assert await home.look(NOON + 24 * 90 * HOUR, "shop") == {Objective.FRESH}, "and nothing to clean up"
        now = home.clock.now
        await home.put(made("shop", now - 49 * HOUR, "first"), made("shop", now))
        assert await home.look(now, "shop") == {Objective.RETENTION}
        await home.catalog.marks.set(LAST_SUCCESS, now.isoformat())
        await home.objectives.freshen()
        assert await home.look(now, "shop") == set()
        later = now + 31 * 24 * HOUR
        assert await home.look(later, "shop") == {Objective.FRESH, Objective.RETENTION, Objective.VERIFIED}


async def test_a_probe_sees_what_has_just_come(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        late = FIRST_SLOT + MAX_AGE + HOUR
        await home.look(NOON, "shop")
        assert await home.look(late, "shop") == {Objective.FRESH}
        await home.put(made("shop", late))
        await home.objectives.freshen()
        assert home.objectives.missed() == ()


async def test_a_catalog_that_fails_leaves_the_last_verdict(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.look(NOON, "shop")
        await home.look(FIRST_SLOT + MAX_AGE + HOUR, "shop")
        await home.catalog.close()
        home.metrics.is_stale = home.metrics.has_news = True
        with pytest.raises(VyaError):
            await home.objectives.weigh()
        await home.objectives.freshen()
        assert {reason.objective for reason in home.objectives.missed(["disk_full: x"])} == {
            Objective.WRITABLE,
            Objective.FRESH,
        }


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"since": {"pg": "when"}}', '{"databases": 7}'])
async def test_a_mark_that_nobody_can_read_counts_as_none(tmp_path: Path, text: str) -> None:
    async with house(tmp_path) as home:
        await home.catalog.marks.set(MARK, text)
        assert await home.look(NOON, "shop") == set()
        assert "shop" in str(await home.catalog.marks.get(MARK))
