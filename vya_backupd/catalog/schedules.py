"""How far the schedule of each instance has come, who paused it, and what became of its slots.

The last slot and the pauses are rows of their own; the attempts of a slot are operations, found by their key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.ledger import Ledger
from vya_backupd.catalog.marks import read_mark, write_mark
from vya_backupd.catalog.operations import read_operations
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation
from vya_backupd.policy.due import Pause

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

EVERY_INSTANCE = "*"
"""The row whose pause holds for all instances."""

_GIVEN_UP = "schedule.given_up."
_POSTPONED = "schedule.postponed."
_BATCH = 300
_S = tables.schedules.c
_O = tables.operations.c
_B = tables.backups.c


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One row: an instance, the last slot that is accounted for, and its pause."""

    instance: str
    last_slot: datetime | None = None
    pause: Pause | None = None


def slot_key(instance: str, slot: datetime) -> str:
    """The key by which a slot's operations are known. No instance's id holds an ``@``; keys sort by time."""
    return f"{instance}@{slot.astimezone(UTC).isoformat(timespec='seconds')}"


def slot_of(key: str) -> datetime:
    """The slot of a key that ``slot_key`` made."""
    return datetime.fromisoformat(key.partition("@")[2])


class ScheduleLog:
    """Slots and pauses."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def rows(self, instance: str | None = None) -> dict[str, ScheduleRow]:
        """Everything known, by instance; of one instance, its own row and that of all."""
        query = sa.select(tables.schedules)
        if instance is not None:
            query = query.where(_S.instance.in_([instance, EVERY_INSTANCE]))
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return {row["instance"]: _row(row) for row in found}

    async def account(self, instance: str, slot: datetime | None, events: Sequence[Event] = ()) -> None:
        """Take a slot, and all before it, as dealt with; None forgets the last one, as for a schedule that is off."""
        await self._ledger.write(lambda connection: _put(connection, instance, {"last_slot": slot}), events)

    async def pause(self, instance: str, pause: Pause, event: Event) -> None:
        """Pause an instance, or ``EVERY_INSTANCE``, in place of an earlier pause."""
        values = {"paused_at": pause.at, "paused_by": pause.by, "paused_until": pause.until, "note": pause.note}
        await self._ledger.write(lambda connection: _put(connection, instance, values), (event,))

    async def resume(self, instance: str, event: Event) -> bool:
        """End a pause. False, and no event, where there is none."""
        nothing = {"paused_at": None, "paused_by": None, "paused_until": None, "note": ""}
        there = sa.and_(_S.instance == instance, _S.paused_at.is_not(None))

        async def change(connection: AsyncConnection) -> bool:
            return (await connection.execute(sa.update(tables.schedules).where(there).values(nothing))).rowcount > 0

        return await self._ledger.write(change, lambda ended: (event,) if ended else ())

    async def give_up(self, instance: str, key: str, events: Sequence[Event]) -> None:
        """Note that a slot gets no further attempt: that is said once."""
        name = f"{_GIVEN_UP}{instance}"
        await self._ledger.write(lambda connection: write_mark(connection, name, key), events)

    async def given_up(self, instance: str) -> str | None:
        """The key of the last slot that was given up."""
        async with self._database.reading() as connection:
            return await read_mark(connection, f"{_GIVEN_UP}{instance}")

    async def postpone(self, instance: str, until: datetime, events: Sequence[Event]) -> None:
        """Note that a slot waits until then, which is said once, however many follow it."""
        name = f"{_POSTPONED}{instance}"
        await self._ledger.write(lambda connection: write_mark(connection, name, until.isoformat()), events)

    async def postponed(self, instance: str) -> datetime | None:
        """Until when a slot waited, the last time that one did."""
        async with self._database.reading() as connection:
            text = await read_mark(connection, f"{_POSTPONED}{instance}")
        return None if text is None else datetime.fromisoformat(text)

    async def newest_attempts(self, instance: str, until: datetime) -> list[Operation]:
        """The attempts, in order, of the newest slot at or before ``until`` that was submitted."""
        return (await self.attempts_of([instance], until))[instance]

    async def attempts_of(self, instances: Sequence[str], until: datetime) -> dict[str, list[Operation]]:
        """The same for many instances: one question for some hundreds of them."""
        found: dict[str, list[Operation]] = {instance: [] for instance in instances}
        for start in range(0, len(instances), _BATCH):
            async with self._database.reading() as connection:
                keys = await _newest_keys(connection, instances[start : start + _BATCH], until)
                query = sa.select(tables.operations).where(_O.key.in_(keys)).order_by(_O.attempt)
                for operation in await read_operations(connection, query) if keys else ():
                    found[str(operation.key).partition("@")[0]].append(operation)
        return found

    async def published(self, instance: str, run: str) -> set[str]:
        """The databases of an instance of which this run (see ``BackupFacts``) published a backup."""
        query = sa.select(_B.database).where(_B.instance == instance, _B.run == run)
        async with self._database.reading() as connection:
            return set((await connection.execute(query)).scalars())


async def _newest_keys(connection: AsyncConnection, instances: Sequence[str], until: datetime) -> list[str]:
    wanted = (
        sa.values(sa.column("instance", sa.String), name="wanted").data([(each,) for each in instances]).cte("asked")
    )
    ordered = _ordered(connection)
    first = wanted.c.instance + "@"
    newest = sa.select(sa.func.max(ordered)).where(ordered >= first, ordered <= first + slot_key("", until)[1:])
    rows = await connection.execute(sa.select(newest.correlate(wanted).scalar_subquery()).select_from(wanted))
    return [key for (key,) in rows if key is not None]


def _ordered(connection: AsyncConnection) -> Any:
    """Keys in the order of bytes: another order of characters could mix the keys of instances."""
    return _O.key.collate("C") if connection.dialect.name == "postgresql" else _O.key


async def newest_key(connection: AsyncConnection, instance: str, until: str | None = None) -> str | None:
    """The key of an instance's newest slot that was submitted, up to this key, within a transaction."""
    ordered = _ordered(connection)
    mine = sa.and_(ordered >= f"{instance}@", ordered <= (until or f"{instance}@~"))
    key: str | None = await connection.scalar(sa.select(sa.func.max(ordered)).where(mine))
    return key


async def _put(connection: AsyncConnection, instance: str, values: dict[str, Any]) -> None:
    changed = await connection.execute(sa.update(tables.schedules).where(_S.instance == instance).values(values))
    if changed.rowcount == 0:
        await connection.execute(sa.insert(tables.schedules).values({"instance": instance, "note": "", **values}))


def _row(row: Any) -> ScheduleRow:
    pause = None
    if row["paused_at"] is not None:
        pause = Pause(row["paused_at"], row["paused_by"] or "", row["paused_until"], row["note"])
    return ScheduleRow(row["instance"], row["last_slot"], pause)
