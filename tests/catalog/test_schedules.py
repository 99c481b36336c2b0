"""Slots and pauses on record, in SQLite and in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.catalog.samples import NIGHT, backup, operation
from vya_backupd.catalog import Catalog
from vya_backupd.catalog.schedules import EVERY_INSTANCE, ScheduleRow, slot_key, slot_of
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, State, Step
from vya_backupd.policy.due import Pause

SLOT = datetime(2026, 1, 9, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def event(name: str, instance: str | None = None) -> Event:
    return Event(name, SLOT, instance=instance)


async def names(catalog: Catalog) -> list[str]:
    return [recorded.event.name for recorded in await catalog.events.after()]


async def submit(
    catalog: Catalog, instance: str, slot: datetime, attempt: int = 1, operation_id: str = ""
) -> Operation:
    wanted = Operation(
        operation_id or f"{instance}-{slot:%d%H}-{attempt}",
        OperationKind.BACKUP,
        State.QUEUED,
        {"instances": [instance]},
        slot,
        "schedule",
        key=slot_key(instance, slot),
        attempt=attempt,
        steps=(Step(instance, "shop"),),
    )
    return await catalog.operations.submit(wanted, event("operation.submitted"))


async def test_the_last_slot_is_kept_with_its_events(catalog: Catalog) -> None:
    assert await catalog.schedules.rows() == {}
    await catalog.schedules.account("one", SLOT, [event("slot.missed", "one")])
    await catalog.schedules.account("one", SLOT + DAY)
    assert await catalog.schedules.rows() == {"one": ScheduleRow("one", SLOT + DAY)}
    await catalog.schedules.account("one", None)
    assert await catalog.schedules.rows() == {"one": ScheduleRow("one")}
    assert await names(catalog) == ["slot.missed"]


async def test_pauses_come_and_go_and_leave_the_slot_alone(catalog: Catalog, url: str) -> None:
    pause = Pause(SLOT, "root(0)", SLOT + DAY, "moving house")
    await catalog.schedules.account("one", SLOT)
    await catalog.schedules.pause("one", pause, event("schedule.paused", "one"))
    await catalog.schedules.pause(EVERY_INSTANCE, replace(pause, until=None), event("schedule.paused"))
    again = Catalog(url)
    await again.open()
    rows = await again.schedules.rows()
    assert rows["one"] == ScheduleRow("one", SLOT, pause)
    assert rows[EVERY_INSTANCE].pause == replace(pause, until=None)
    assert await again.schedules.resume("one", event("schedule.resumed", "one"))
    assert not await again.schedules.resume("one", event("schedule.resumed", "one"))
    assert not await again.schedules.resume("never", event("schedule.resumed", "never"))
    assert (await again.schedules.rows())["one"] == ScheduleRow("one", SLOT)
    assert (await names(again)).count("schedule.resumed") == 1
    await again.close()


async def test_the_attempts_of_the_newest_slot(catalog: Catalog) -> None:
    assert await catalog.schedules.newest_attempts("one", SLOT) == []
    for attempt in (1, 2):
        await submit(catalog, "one", SLOT, attempt)
    await submit(catalog, "one", SLOT - DAY)
    await submit(catalog, "one-2", SLOT + DAY)
    await submit(catalog, "ONE", SLOT + DAY)
    found = await catalog.schedules.newest_attempts("one", SLOT + DAY)
    assert [(operation.key, operation.attempt) for operation in found] == [(slot_key("one", SLOT), n) for n in (1, 2)]
    assert found[0].steps == (Step("one", "shop"),)
    await submit(catalog, "one", datetime(2099, 1, 1, tzinfo=UTC))
    assert await catalog.schedules.newest_attempts("one", SLOT + DAY) == found


async def test_a_slot_is_submitted_once(catalog: Catalog) -> None:
    first = await submit(catalog, "one", SLOT, operation_id="a")
    assert (await submit(catalog, "one", SLOT, operation_id="b")).id == first.id
    assert (await submit(catalog, "one", SLOT, 2, operation_id="c")).id == "c"


async def test_what_a_run_has_published(catalog: Catalog) -> None:
    run = slot_key("one", SLOT)
    for number, (instance, database, of) in enumerate([("one", "a", run), ("one", "b", ""), ("two", "c", run)]):
        stored = backup(f"b{number}", instance=instance, database=database)
        facts = replace(stored.manifest.facts, run=of)
        await catalog.backups.record(replace(stored, manifest=replace(stored.manifest, facts=facts)), None)
    assert await catalog.schedules.published("one", run) == {"a"}


def test_keys_name_an_instant() -> None:
    local = SLOT.astimezone(tz=None)
    assert slot_key("one", local) == "one@2026-01-09T02:00:00+00:00"
    assert slot_of(slot_key("one", local)) == SLOT


async def test_the_newest_slots_of_many_instances_are_told_apart(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vya_backupd.catalog.schedules._BATCH", 2)
    names = ["pg", "pg-1", "pg-10", "Pg", "silent"]
    for number, name in enumerate(names[:-1]):
        for slot in range(number + 1):
            key = slot_key(name, NIGHT + timedelta(hours=slot))
            await catalog.operations.submit(operation(f"{name}/{slot}", key=key))
            await catalog.operations.submit(operation(f"{name}/{slot}+", key=key, attempt=2))
    for until in range(4):
        found = await catalog.schedules.attempts_of(names, NIGHT + timedelta(hours=until))
        newest = {name: min(number, until) for number, name in enumerate(names[:-1])}
        expected = {name: [f"{name}/{slot}", f"{name}/{slot}+"] for name, slot in newest.items()} | {"silent": []}
        assert {name: [each.id for each in attempts] for name, attempts in found.items()} == expected
    assert await catalog.schedules.attempts_of(names, NIGHT - timedelta(hours=1)) == {name: [] for name in names}
