"""One change: what it does to the tables, the events that report it, the counters that it moves. All or nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.events import EventLog
from vya_backupd.model.event import Event
from vya_backupd.model.origin import Origin, current_origin

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Count:
    """An amount to add to a stored total."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    amount: float = 1


@dataclass(frozen=True, slots=True)
class Total:
    """A stored total: it grows only, whatever is restarted or deleted."""

    name: str
    labels: dict[str, str]
    value: float


Counting = Callable[[Event], Iterable[Count]]
"""What an event adds to the stored totals."""


def count_nothing(_: Event) -> Iterable[Count]:
    """For a catalog whose totals nobody reads."""
    return ()


class Ledger:
    """Writes changes with their events and counts."""

    def __init__(self, database: Database, events: EventLog, counting: Counting = count_nothing) -> None:
        self._database = database
        self._events = events
        self._counting = counting

    async def write(
        self,
        change: Callable[[AsyncConnection], Awaitable[_T]],
        events: Sequence[Event] | Callable[[_T], Sequence[Event]] = (),
        counts: Iterable[Count] = (),
    ) -> _T:
        """Run a change. ``events`` may be a function of its answer, for a change that turns out to be none.

        While a request is being answered, they carry its ``origin``.
        """
        wanted = tuple(counts)
        reported: list[Event] = []
        origin = current_origin()

        async def work(connection: AsyncConnection) -> _T:
            answer = await change(connection)
            reported[:] = _from(origin, events(answer) if callable(events) else events)
            await self._events.insert(connection, reported)
            for count in (*wanted, *(each for event in reported for each in self._counting(event))):
                await _add(connection, count)
            return answer

        return await self._database.write(work, lambda: self._events.tell(reported))

    async def totals(self) -> list[Total]:
        """All stored totals, by name and labels."""
        query = sa.select(tables.counters).order_by(tables.counters.c.name, tables.counters.c.labels)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [Total(row.name, json.loads(row.labels), row.value) for row in rows]


def _from(origin: Origin | None, events: Sequence[Event]) -> Sequence[Event]:
    """The events with the place that the request came from which is being answered, if one is."""
    if origin is None:
        return events
    return [replace(event, data={**event.data, "origin": origin.to_json()}) for event in events]


async def _add(connection: AsyncConnection, count: Count) -> None:
    counters = tables.counters
    labels = json.dumps(count.labels, sort_keys=True)
    here = sa.and_(counters.c.name == count.name, counters.c.labels == labels)
    added = await connection.execute(sa.update(counters).where(here).values(value=counters.c.value + count.amount))
    if added.rowcount == 0:
        row = {"name": count.name, "labels": labels, "value": count.amount}
        await connection.execute(sa.insert(counters).values(row))
