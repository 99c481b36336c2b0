"""Checks that cannot hide each other, the forecast of the disk, and rights as SQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.samples import NIGHT, backup
from tests.daemon.site import Clock, instance, small_site
from vya_backupd.config.load import load
from vya_backupd.engines.mysql_rights import Grants, findings, findings_of_sessions
from vya_backupd.engines.postgresql_doctor import ServerSettings, lock_finding
from vya_backupd.engines.postgresql_rights import Account, DatabaseRights, lacks
from vya_backupd.errors import ServerError
from vya_backupd.model.event import Event
from vya_backupd.model.finding import Finding, Level, fine
from vya_backupd.model.instance import EngineKind, Instance, ServerFacts
from vya_backupd.model.secret import Secret
from vya_backupd.operations.doctor import Check, examine
from vya_backupd.operations.doctor_host import HostExamination
from vya_backupd.storage import Usage

GIB = 1 << 30


async def test_a_check_that_fails_or_hangs_is_a_finding_and_hides_none() -> None:
    async def well() -> Sequence[Finding]:
        return [fine("well", "it is")]

    async def refused() -> Sequence[Finding]:
        raise ServerError("no", code="login_refused", hint="Try another.")

    async def hangs() -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    async def mistaken() -> Sequence[Finding]:
        raise ZeroDivisionError

    checks = [
        Check("mistaken", mistaken),
        Check("refused", refused, "one"),
        Check("hangs", hangs, seconds=0.01),
        Check("well", well, "one"),
    ]
    found = await examine(checks)
    assert [(each.check, each.level, each.instance) for each in found] == [
        ("mistaken", Level.FAIL, None),
        ("refused", Level.FAIL, "one"),
        ("hangs", Level.WARN, None),
        ("well", Level.OK, "one"),
    ]
    assert found[1].hint == "Try another."
    assert "ZeroDivisionError" in found[0].message


class Disk:
    """A store of which only the room is asked."""

    base_path = Path("/backups")

    def __init__(self, free: int) -> None:
        self.free = free

    def usage(self) -> Usage:
        return Usage(1000 * GIB, 1000 * GIB - self.free, self.free)


@contextlib.asynccontextmanager
async def host(folder: Path, free: int) -> Any:
    """A site whose backups grew by 2 GiB a day for three weeks: 3 came each day, and 1 went."""
    clock = Clock()
    clock.now = NIGHT + timedelta(days=20, hours=12)
    async with small_site(folder, [instance("pg-01")], {}, clock) as site:
        for day in range(21):
            at = NIGHT + timedelta(days=day)
            stored = backup(f"b{day}", hours=24 * day, size=3 * GIB)
            await site.catalog.backups.record(stored, Event("backup.published", at, data={"size_bytes": 3 * GIB}))
            await site.catalog.record(Event("backup.expired", at, data={"size_bytes": GIB}))
        site.store = Disk(free)  # type: ignore[assignment]
        yield HostExamination(site)


@pytest.mark.parametrize(
    ("free", "level", "words"),
    [
        (500 * GIB, Level.OK, "full in about 250 days"),
        (24 * GIB, Level.WARN, "full in about 12 days"),
        (5 * GIB, Level.FAIL, "full in about 2 days"),
        (2 * GIB, Level.FAIL, "the largest backup wants 3.9 GiB: it will be refused"),
    ],
)
async def test_the_disk_is_foreseen_from_what_came_and_went(
    tmp_path: Path, free: int, level: Level, words: str
) -> None:
    async with host(tmp_path, free) as examination:
        found = await examination.disk()
    assert level in {each.level for each in found}
    assert words in " ".join(each.message for each in found)


def mysql(*databases: str, kind: EngineKind = EngineKind.MYSQL) -> Instance:
    where: dict[str, Any] = {"host": "h", "port": 3306, "socket": None, "username": "u", "password": Secret("p")}
    return Instance("my", kind, **where, databases=databases)


def proposed(grants: Sequence[str], *databases: str, seen: Sequence[str] = (), kind: str = "mysql") -> list[str]:
    vendor = EngineKind(kind)
    server = ServerFacts(vendor, (8, 4, 0), "", is_superuser=False)
    found = findings(mysql(*databases, kind=vendor), server, Grants.parse("b`k@%", grants), seen, include_globals=True)
    return list(dict.fromkeys(statement for each in found for statement in each.sql))


def test_what_several_sessions_take_is_proposed_and_no_fault() -> None:
    [finding] = findings_of_sessions(Grants.parse("b`k@%", ["GRANT SELECT ON *.* TO `b``k`@`%`"]))
    assert finding.level is Level.OK
    assert finding.sql == ("GRANT PROCESS, RELOAD ON *.* TO `b``k`@`%`;",)
    dynamic = ["GRANT PROCESS ON *.* TO `b``k`@`%`", "GRANT FLUSH_TABLES ON *.* TO `b``k`@`%`"]
    assert not list(findings_of_sessions(Grants.parse("b`k@%", dynamic)))
    assert not list(findings_of_sessions(Grants.parse("b`k@%", ["GRANT ALL PRIVILEGES ON *.* TO `b``k`@`%`"])))


def test_only_what_is_missing_is_proposed_and_names_are_quoted() -> None:
    usage = "GRANT USAGE ON *.* TO `b``k`@`%`"
    everything = "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO `b``k`@`%`;"
    assert proposed([usage], "*") == [everything]
    assert proposed([usage, everything[:-1]], "*", seen=["a"]) == []
    assert proposed(["GRANT SELECT, TRIGGER ON *.* TO `b``k`@`%`"], "*", seen=["a"]) == [
        "GRANT SHOW VIEW, EVENT ON *.* TO `b``k`@`%`;"
    ]
    named = ["GRANT SELECT, SHOW VIEW, TRIGGER ON `a\\_b`.* TO `b``k`@`%`"]
    assert proposed(named, "a_b", seen=["a_b"]) == [
        "GRANT EVENT ON `a\\_b`.* TO `b``k`@`%`;",
        "GRANT SHOW_ROUTINE ON *.* TO `b``k`@`%`;",
        "GRANT SELECT ON `mysql`.* TO `b``k`@`%`;",
    ]
    assert proposed(named, "a_b", seen=["a_b"], kind="mariadb")[1] == "GRANT SELECT ON `mysql`.`proc` TO `b``k`@`%`;"
    assert proposed(["GRANT ALL PRIVILEGES ON *.* TO `b``k`@`%` WITH GRANT OPTION"], "*", seen=["a"]) == []


def test_an_old_postgresql_gets_grants_on_schemas() -> None:
    account = Account('a"b', is_superuser=False, bypasses=False, lo_compat=False, major=13)
    [lack] = lacks(account, DatabaseRights([("in side", "t", False)], []))
    assert lack.stops
    assert lack.sql == (
        'GRANT USAGE ON SCHEMA "in side" TO "a""b";',
        'GRANT SELECT ON ALL TABLES IN SCHEMA "in side" TO "a""b";',
        'GRANT SELECT ON ALL SEQUENCES IN SCHEMA "in side" TO "a""b";',
    )


@pytest.mark.parametrize(("locked", "level"), [(48, None), (49, Level.WARN), (65, Level.FAIL)])
def test_locks_are_counted_against_the_room_for_them(locked: int, level: Level | None) -> None:
    settings = ServerSettings(64, 1, is_replica=False, feedback=False, standby_delay=0, timeouts="")
    finding = lock_finding(settings, "db", locked)
    assert (finding and finding.level) == level


async def test_a_configuration_that_the_next_start_would_refuse_is_told_today(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    text = "application: {environment: dev}\ncontrol: {operators: [root, no-such-group]}\n"
    path.write_text(text)
    async with small_site(tmp_path, [], {}, Clock()) as site:
        site.settings = replace(site.settings, config=load(path), path=path)
        host = HostExamination(site)
        here = [Check("configuration", host.configuration), Check("access", host.access)]
        as_it_is, access = await examine(here)
        assert as_it_is.level is Level.OK
        assert access.level is Level.WARN
        assert "control.operators names the group no-such-group" in access.message
        path.write_text(text + "backup: {workers: 7}\n")
        changed = await examine(here[:1])
        assert "not in force yet" in changed[0].message
        path.write_text(text + "bakup: {workers: 7}\n")
        [refused] = await examine(here[:1])
        assert (refused.level, refused.check) == (Level.FAIL, "configuration")
        assert "did you mean backup?" in refused.message
