"""When the past is forgotten: once a day, and not before everybody has read it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.catalog.samples import operation
from tests.daemon.site import NOON, Clock, small_site
from vya_backupd.catalog.history import Forgotten
from vya_backupd.daemon.history import Forgetting
from vya_backupd.model.event import Event
from vya_backupd.model.operation import State

HOUR = timedelta(hours=1)


async def test_it_comes_round_once_a_day_and_keeps_what_is_to_be_kept(tmp_path: Path) -> None:
    clock = Clock()
    config = {"catalog": {"history": {"keep_operations": 60}}}
    async with small_site(tmp_path, [], config, clock) as site:
        for days in (70, 50):
            at = NOON - timedelta(days=days)
            wanted = operation(f"of-{days}", state=State.SUCCEEDED, submitted_at=at)
            await site.catalog.operations.submit(wanted, Event("operation.submitted", at, f"of-{days}"))
        positions: list[int | None] = [0, None]
        part = Forgetting(site, [lambda: positions[0], lambda: positions[1]])
        assert await part.look() is None
        clock.now = NOON + 25 * HOUR
        assert await part.look() is None, "an observer has not begun to read"
        positions[0] = 1
        assert await part.look() == Forgotten(1, 1)
        assert [each.id for each in await site.catalog.operations.list()] == ["of-50"]
        assert await part.look() is None
        clock.now += timedelta(days=30)
        positions[0], positions[1] = 2, 1
        await part.settle()
        assert await site.catalog.operations.list() == []
        assert [each.event.operation_id for each in await site.catalog.events.after()] == ["of-50"]
