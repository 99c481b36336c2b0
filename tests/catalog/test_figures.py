"""Figures over the whole catalog, on SQLite and PostgreSQL, against what was put in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from tests.catalog.samples import NIGHT, backup, operation
from vya_backupd.catalog import Catalog, tables
from vya_backupd.catalog.figures import Errands, Figures, LeastRead, Newest, Readings, Stock, Waiting
from vya_backupd.model.backup import StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, State
from vya_backupd.policy.retention import LAST_SUCCESS

LATER = NIGHT + timedelta(days=365)
HOUR = timedelta(hours=1)
MADE = timedelta(seconds=2)
"""Between the snapshot and the end of a sample."""


def read_again(stored: StoredBackup, hours: float) -> StoredBackup:
    return replace(stored, manifest=replace(stored.manifest, verified_at=NIGHT + hours * HOUR))


async def put(catalog: Catalog, *backups: StoredBackup) -> None:
    for each in backups:
        await catalog.backups.record(each, None)


async def test_an_empty_catalog_has_empty_figures(catalog: Catalog) -> None:
    assert await catalog.figures.read(LATER) == Figures()
    assert await catalog.figures.least_verified(LATER) == []
    assert await catalog.figures.last_ends({"pg-01"}) == []
    assert await catalog.figures.errands(NIGHT) == Errands()


async def test_the_two_newest_of_each_database_are_compared(catalog: Catalog) -> None:
    await put(catalog, *(backup(f"b{hours}", hours=hours, size=100 + hours) for hours in (3, 1, 2)))
    await put(catalog, backup("c", database="blog", size=7), backup("d", instance="my", database="shop", size=9))
    figures = await catalog.figures.read(LATER)
    place = ("postgresql", "pg-01")
    assert figures.newest == (
        Newest("postgresql", "my", "shop", NIGHT, NIGHT + MADE, 90),
        Newest(*place, "blog", NIGHT, NIGHT + MADE, 70),
        Newest(*place, "shop", NIGHT + 3 * HOUR, NIGHT + 3 * HOUR + MADE, 1030, 1020),
    )
    assert figures.stock == (
        Stock("postgresql", "my", 1, 9, NIGHT + MADE),
        Stock(*place, 4, 101 + 102 + 103 + 7, NIGHT + MADE),
    )


async def test_a_backup_is_compared_with_one_that_was_deleted_since(catalog: Catalog) -> None:
    for hours, size in ((1, 100), (2, 40), (3, 30)):
        await put(catalog, backup(f"b{hours}", hours=hours, size=size))
        await catalog.backups.remove(f"b{hours - 1}", None)
        (newest,) = (await catalog.figures.read(LATER)).newest
        assert newest.previous_raw_size_bytes == {1: None, 2: 1000, 3: 400}[hours]
    await catalog.backups.set_manifest(read_again(backup("b3", hours=3, size=30), 5), None)
    (newest,) = (await catalog.figures.read(LATER)).newest
    assert newest.previous_raw_size_bytes == 400


async def test_of_one_instant_the_higher_id_is_newer(catalog: Catalog) -> None:
    await put(catalog, backup("b2", size=2), backup("b3", size=3), backup("b1", size=1))
    (newest,) = (await catalog.figures.read(LATER)).newest
    assert (newest.raw_size_bytes, newest.previous_raw_size_bytes) == (30, 20)


async def test_a_snapshot_from_the_future_is_not_the_newest(catalog: Catalog) -> None:
    await put(catalog, backup("now", size=1), backup("wrong", hours=24 * 365 * 100, size=2))
    (newest,) = (await catalog.figures.read(NIGHT)).newest
    assert (newest.taken_at, newest.previous_raw_size_bytes) == (NIGHT, None)


async def test_readings_count_unread_files_from_their_end(catalog: Catalog) -> None:
    await put(catalog, read_again(backup("a"), 5), read_again(backup("b"), 9))
    assert (await catalog.figures.read(LATER)).readings == Readings(NIGHT + 5 * HOUR, NIGHT + 9 * HOUR)
    await put(catalog, backup("c", hours=3))
    readings = (await catalog.figures.read(LATER)).readings
    assert readings == Readings(NIGHT + 3 * HOUR + MADE, NIGHT + 9 * HOUR, 1)
    least = await catalog.figures.least_verified(LATER)
    assert [each.id for each in least] == ["c", "a", "b"]
    assert least[0] == LeastRead("c", "pg-01", "shop", 1000, NIGHT + 3 * HOUR + MADE)
    assert [each.id for each in await catalog.figures.least_verified(NIGHT + 5 * HOUR)] == ["c"]
    assert [each.id for each in await catalog.figures.least_verified(LATER, limit=2)] == ["c", "a"]


def end(instance: str, kind: str = "backup", **data: Any) -> Event:
    return Event("operation.finished", NIGHT, "o", data={"kind": kind, "instances": {instance: {}}, **data})


async def test_the_last_end_of_each_instance_is_found_far_back(catalog: Catalog) -> None:
    await catalog.record(end("old"), end("older", "verify"), Event("step.finished", NIGHT))
    await catalog.record(*(end("busy") for _ in range(1200)), end("old", dry_run=True))
    ends = await catalog.figures.last_ends({"old", "busy"})
    assert end("old") in ends
    assert len(await catalog.figures.last_ends({"busy"})) == 500


async def test_messages_that_wait_and_those_given_up(catalog: Catalog, url: str) -> None:
    def row(channel: str, hours: int, state: str) -> dict[str, Any]:
        at = NIGHT + hours * HOUR
        ended = None if state == "waiting" else at
        times = {"created_at": at, "due_at": at, "ended_at": ended}
        return times | {"channel": channel, "topic": "t", "body": "{}", "attempts": 1, "state": state}

    rows = [row("mail", 2, "waiting"), row("mail", 1, "waiting"), row("hook", 3, "waiting"), row("mail", 0, "given_up")]
    engine = sa.create_engine(url.replace("+aiosqlite", ""))
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.outbox), rows)
    engine.dispose()
    waiting = (Waiting("hook", 1, NIGHT + 3 * HOUR), Waiting("mail", 2, NIGHT + HOUR))
    assert await catalog.figures.errands(NIGHT) == Errands(waiting, 1)
    assert await catalog.figures.errands(NIGHT + HOUR) == Errands(waiting, 0)


async def test_only_retention_of_everything_is_told(catalog: Catalog) -> None:
    await catalog.operations.submit(operation("o1", kind=OperationKind.PRUNE))
    await catalog.operations.advance("o1", State.RUNNING, event=Event("operation.started", NIGHT))
    await catalog.operations.advance("o1", State.SUCCEEDED, event=Event("operation.finished", NIGHT))
    assert (await catalog.figures.errands(NIGHT)).retention_at is None
    await catalog.marks.set(LAST_SUCCESS, NIGHT.isoformat())
    assert (await catalog.figures.errands(NIGHT)).retention_at == NIGHT
