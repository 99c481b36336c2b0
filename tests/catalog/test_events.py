import asyncio
from collections.abc import Iterable

import pytest

from tests.catalog.samples import backup, event, operation
from vya_backupd.catalog import Catalog, Count
from vya_backupd.errors import NotFoundError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import State


async def test_events_come_back_in_order_as_they_were(catalog: Catalog) -> None:
    written = [
        event("backup.published", seconds=number, instance="pg-01", database="ü", actor="anna", data={"n": [number]})
        for number in range(5)
    ]
    for number, each in enumerate(written):
        await catalog.backups.record(backup(f"b{number}"), each)
    recorded = await catalog.events.after()
    assert [each.event for each in recorded] == written
    assert [each.event for each in await catalog.events.after(recorded[1].id, limit=2)] == written[2:4]
    assert await catalog.events.last_id() == recorded[-1].id


async def test_observers_hear_of_what_is_committed_and_of_nothing_else(catalog: Catalog) -> None:
    heard: list[Event] = []
    end = catalog.events.subscribe(heard.append)
    await catalog.backups.record(backup(), event())
    with pytest.raises(NotFoundError):
        await catalog.operations.advance("none", State.RUNNING, event=event("operation.started"))
    assert heard == [event()]
    end()
    await catalog.backups.record(backup(), event())
    assert len(heard) == 1


async def test_an_observer_that_fails_is_counted_and_harms_nobody(catalog: Catalog) -> None:
    heard: list[Event] = []

    def fail(_: Event) -> None:
        raise RuntimeError("mail server down")

    catalog.events.subscribe(fail)
    catalog.events.subscribe(heard.append)
    await catalog.backups.record(backup(), event())
    assert catalog.events.observer_failures == 1
    assert heard == [event()]
    assert await catalog.backups.get("b1") is not None


async def test_events_move_the_totals_as_the_rule_says(url: str) -> None:
    def counting(each: Event) -> Iterable[Count]:
        yield Count("events", {"name": each.name})

    catalog = Catalog(url, counting=counting)
    await catalog.open()
    for name in ("a", "b", "a"):
        await catalog.backups.record(backup(), event(name))
    assert [(each.labels["name"], each.value) for each in await catalog.totals()] == [("a", 2), ("b", 1)]
    await catalog.close()


async def test_many_writers_and_readers_at_once_lose_nothing(catalog: Catalog) -> None:
    async def write(number: int) -> None:
        await catalog.operations.submit(operation(f"op{number}"), event("operation.submitted"))
        await catalog.operations.advance(f"op{number}", State.RUNNING, event=event("operation.started"))
        await catalog.operations.list()

    await asyncio.gather(*(write(number) for number in range(50)))
    assert len(await catalog.operations.list(state=State.RUNNING)) == 50
    assert len(await catalog.events.after()) == 100
