"""Events: written with the change that they report, and told to whoever watches, after the commit."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database
from vya_backupd.model.event import Event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Observer = Callable[[Event], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event and its place in the order of all events."""

    id: int
    event: Event


class EventLog:
    """All events, oldest first. ``observer_failures`` counts what observers raised and nobody else heard of."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._observers: list[Observer] = []
        self.observer_failures = 0

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Have ``observer`` called with each event once it is committed, in the event loop. Returns what ends it."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    async def after(self, after_id: int = 0, limit: int = 1000) -> list[RecordedEvent]:
        """The next events after this one."""
        query = sa.select(tables.events).where(tables.events.c.id > after_id).order_by(tables.events.c.id).limit(limit)
        async with self._database.reading() as connection:
            return [_recorded(row) for row in (await connection.execute(query)).mappings()]

    async def last_id(self) -> int:
        """The newest event's place; 0 before the first."""
        async with self._database.reading() as connection:
            return await connection.scalar(sa.select(sa.func.max(tables.events.c.id))) or 0

    async def of_operation(self, operation_id: str, limit: int = 1000) -> list[RecordedEvent]:
        """What happened in one operation."""
        events = tables.events
        query = sa.select(events).where(events.c.operation_id == operation_id).order_by(events.c.id).limit(limit)
        async with self._database.reading() as connection:
            return [_recorded(row) for row in (await connection.execute(query)).mappings()]

    async def insert(self, connection: AsyncConnection, events: Sequence[Event]) -> None:
        """Write events within a transaction; ``tell`` follows when it is committed."""
        if events:
            await connection.execute(sa.insert(tables.events), [_row(event) for event in events])

    def tell(self, events: Sequence[Event]) -> None:
        """Call the observers. What they raise is counted and logged: it must not undo what has happened."""
        for event in events:
            for observer in list(self._observers):
                try:
                    observer(event)
                except Exception:  # noqa: BLE001 - whatever it is, it is only an observer's
                    self.observer_failures += 1
                    _log.exception("an observer failed at the event %s", event.name)


def _row(event: Event) -> dict[str, Any]:
    return {each.name: getattr(event, each.name) for each in fields(event)} | {
        "data": json.dumps(event.data, default=str)
    }


def _recorded(row: Any) -> RecordedEvent:
    values = dict(row)
    number = values.pop("id")
    return RecordedEvent(number, Event(**values | {"data": json.loads(values["data"])}))
