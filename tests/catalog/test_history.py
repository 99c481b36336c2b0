"""What is forgotten after long, and above all what is not, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.catalog.samples import NIGHT, TWO_STEPS, event, operation
from vya_backupd.catalog import Catalog
from vya_backupd.catalog.history import Forgotten
from vya_backupd.catalog.schedules import slot_key
from vya_backupd.model.event import Event
from vya_backupd.model.operation import State

DAY = timedelta(days=1)
CUT = NIGHT + 10 * DAY


async def done(catalog: Catalog, name: str, day: int, key: str | None = None, instance: str = "pg-01") -> None:
    """An operation of one instance, from its submission to its end, on the day of this number."""
    at = NIGHT + day * DAY
    wanted = operation(name, hours=24 * day, key=key, steps=TWO_STEPS)
    await catalog.operations.submit(wanted, Event("operation.submitted", at, name))
    await catalog.operations.advance(name, State.RUNNING, event=Event("operation.started", at, name))
    facts = {"kind": "backup", "instances": {instance: {"state": "succeeded", "size_bytes": day}}}
    end = Event("operation.finished", at, name, data=facts)
    await catalog.operations.advance(name, State.SUCCEEDED, event=end, unfinished=State.SUCCEEDED)


async def names(catalog: Catalog) -> set[str]:
    return {each.id for each in await catalog.operations.list()}


async def test_what_is_old_goes_with_its_steps_and_events_and_the_rest_stays(catalog: Catalog) -> None:
    for day in range(20):
        await done(catalog, f"op{day:02}", day)
    forgotten = await catalog.history.forget(CUT, await catalog.events.last_id())
    assert forgotten == Forgotten(10, 30)
    assert await names(catalog) == {f"op{day:02}" for day in range(10, 20)}
    assert {each.event.operation_id for each in await catalog.events.after()} == await names(catalog)
    kept = await catalog.operations.get("op10")
    assert kept is not None
    assert [step.database for step in kept.steps] == ["shop", "blog"]
    assert await catalog.history.forget(CUT, await catalog.events.last_id()) == Forgotten()


async def test_many_pages_are_forgotten(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vya_backupd.catalog.history._PAGE", 3)
    for day in range(8):
        await done(catalog, f"op{day:02}", day, None if day else slot_key("pg-01", NIGHT))
    assert await catalog.history.forget(CUT, await catalog.events.last_id()) == Forgotten(7, 24)
    assert await names(catalog) == {"op00"}


async def test_work_that_has_not_ended_stays_however_old_it_is(catalog: Catalog) -> None:
    await catalog.operations.submit(operation("waits"))
    await catalog.operations.submit(operation("runs"))
    await catalog.operations.advance("runs", State.RUNNING, event=event("operation.started"))
    await done(catalog, "old", 0)
    assert (await catalog.history.forget(CUT, 0)).operations == 1
    assert await names(catalog) == {"waits", "runs"}


async def test_the_last_slot_of_each_instance_stays_with_all_its_attempts(catalog: Catalog) -> None:
    for instance in ("pg", "pg-01"):
        for day in range(3):
            await done(catalog, f"{instance}-{day}", day, slot_key(instance, NIGHT + day * DAY))
    again = operation("pg-2-again", hours=48, key=slot_key("pg", NIGHT + 2 * DAY), attempt=2, state=State.INTERRUPTED)
    await catalog.operations.submit(again)
    before = [await catalog.schedules.newest_attempts(each, CUT) for each in ("pg", "pg-01")]
    await catalog.history.forget(CUT, 0)
    assert await names(catalog) == {"pg-2", "pg-2-again", "pg-01-2"}
    assert [await catalog.schedules.newest_attempts(each, CUT) for each in ("pg", "pg-01")] == before


async def test_events_that_somebody_has_not_read_stay(catalog: Catalog) -> None:
    await done(catalog, "one", 0)
    await done(catalog, "two", 1)
    await catalog.history.forget(CUT, 4)
    assert [each.id for each in await catalog.events.after()] == [5, 6]
    assert await names(catalog) == set()


async def test_an_event_out_of_its_time_neither_goes_too_early_nor_keeps_others(catalog: Catalog) -> None:
    await catalog.record(Event("clock.jumped", NIGHT), Event("ahead", CUT + DAY), Event("old", NIGHT))
    assert (await catalog.history.forget(CUT, 3)).events == 2
    assert [each.event.name for each in await catalog.events.after()] == ["ahead"]


async def test_how_an_instance_last_ended_is_known_for_good(catalog: Catalog) -> None:
    await done(catalog, "op0", 0, instance="silent")
    await done(catalog, "op1", 1, instance="silent")
    await done(catalog, "op2", 2, instance="busy")
    await done(catalog, "op12", 12, instance="busy")
    await catalog.history.forget(CUT, await catalog.events.last_id())
    last: dict[str, tuple[datetime, int]] = {}
    for each in reversed(await catalog.figures.last_ends({"silent", "busy", "never"})):
        last |= {name: (each.at, facts["size_bytes"]) for name, facts in each.data["instances"].items()}
    assert last == {"silent": (NIGHT + DAY, 1), "busy": (NIGHT + 12 * DAY, 12)}
    await done(catalog, "op13", 13, instance="silent")
    newest, *_ = await catalog.figures.last_ends({"silent"})
    assert newest.at == NIGHT + 13 * DAY
