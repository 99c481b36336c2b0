"""What is to be told to the world, until it was told or given up.

A letter enters in the transaction that moves its reader's cursor over the event, so that a crash between the two loses
nothing and tells nothing twice. It leaves with the event that reports its end. ``body`` is the sender's business.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.ledger import Ledger
from vya_backupd.catalog.marks import write_mark
from vya_backupd.model.event import Event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

KEPT = timedelta(days=30)
"""How long ended letters stay on record."""

_X = tables.outbox.c
_FAR = timedelta(days=2)
"""A letter that is due later than this was put off by a clock that has gone back since."""


class LetterState(enum.StrEnum):
    """Where a letter stands. ``DROPPED``: nobody wants it any more, which is no failure."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Letter:
    """Something to be told. ``topic`` is what it is about, as far as the channel cares."""

    channel: str
    topic: str
    body: dict[str, Any]
    due_at: datetime


@dataclass(frozen=True, slots=True)
class WaitingLetter:
    """A letter that was not told yet; ``attempts`` were made."""

    id: int
    letter: Letter
    created_at: datetime
    attempts: int


class Outbox:
    """Letters, from the event that they tell of to their end."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def enqueue(self, letters: Sequence[Letter], cursor: tuple[str, str], now: datetime) -> None:
        """Enter letters and put ``cursor``, a mark's name and value, in one transaction."""
        rows = [
            {
                "channel": each.channel,
                "topic": each.topic,
                "body": json.dumps(each.body, default=str),
                "created_at": now,
                "due_at": each.due_at,
                "attempts": 0,
                "state": LetterState.WAITING.value,
            }
            for each in letters
        ]

        async def change(connection: AsyncConnection) -> None:
            if rows:
                await connection.execute(sa.insert(tables.outbox), rows)
            await write_mark(connection, *cursor)

        await self._ledger.write(change)

    async def due(self, channels: Sequence[str], now: datetime, limit: int = 500) -> list[WaitingLetter]:
        """Letters whose time has come, the oldest first."""
        ripe = sa.or_(_X.due_at <= now, _X.due_at > now + _FAR)
        query = sa.select(tables.outbox).where(_waiting(channels), ripe).order_by(_X.id).limit(limit)
        async with self._database.reading() as connection:
            return [_letter(row) for row in (await connection.execute(query)).mappings()]

    async def waiting(self, channels: Sequence[str], limit: int = 500) -> list[WaitingLetter]:
        """All that waits, due or not, the oldest first."""
        query = sa.select(tables.outbox).where(_waiting(channels)).order_by(_X.id).limit(limit)
        async with self._database.reading() as connection:
            return [_letter(row) for row in (await connection.execute(query)).mappings()]

    async def next_due(self, channels: Sequence[str]) -> datetime | None:
        """When the next letter's time comes; None when none waits."""
        query = sa.select(_X.due_at).where(_waiting(channels)).order_by(_X.due_at).limit(1)
        async with self._database.reading() as connection:
            found: datetime | None = await connection.scalar(query)
        return found

    async def recent(self, channel: str, topics: Sequence[str], since: datetime) -> int:
        """How many letters of these topics were entered since then, whatever became of them."""
        query = sa.select(sa.func.count()).select_from(tables.outbox)
        query = query.where(_X.channel == channel, _X.topic.in_(topics), _X.created_at >= since)
        async with self._database.reading() as connection:
            return await connection.scalar(query) or 0

    async def opened(self, channel: str, topic: str) -> datetime | None:
        """When the first waiting letter of this topic that nobody tried to send falls due."""
        query = sa.select(sa.func.min(_X.due_at))
        query = query.where(_waiting([channel]), _X.topic == topic, _X.attempts == 0)
        async with self._database.reading() as connection:
            found: datetime | None = await connection.scalar(query)
        return found

    async def postpone(
        self,
        letters: Sequence[WaitingLetter],
        due_at: datetime,
        error: str,
        *,
        events: Sequence[Event] = (),
        body: dict[str, Any] | None = None,
    ) -> None:
        """Record an attempt that failed. ``body`` replaces that of the letters: what is left to be told."""
        values: dict[str, Any] = {"due_at": due_at, "attempts": _X.attempts + 1, "error": error}
        if body is not None:
            values["body"] = json.dumps(body, default=str)
        await self._update(letters, values, events)

    async def finish(
        self,
        letters: Sequence[WaitingLetter],
        state: LetterState,
        at: datetime,
        *,
        error: str | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Record the end of letters."""
        values = {"state": state.value, "attempts": _X.attempts + 1, "error": error, "ended_at": at}
        await self._update(letters, values, events)

    async def _update(self, letters: Sequence[WaitingLetter], values: dict[str, Any], events: Sequence[Event]) -> None:
        here = sa.and_(_X.id.in_([each.id for each in letters]), _X.state == LetterState.WAITING.value)

        async def change(connection: AsyncConnection) -> None:
            await connection.execute(sa.update(tables.outbox).where(here).values(values))

        await self._ledger.write(change, events)

    async def forget(self, before: datetime) -> int:
        """Delete letters that ended before then; returns how many."""

        async def change(connection: AsyncConnection) -> int:
            return (await connection.execute(sa.delete(tables.outbox).where(_X.ended_at < before))).rowcount

        return await self._ledger.write(change)


def _waiting(channels: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(_X.state == LetterState.WAITING.value, _X.channel.in_(channels))


def _letter(row: Any) -> WaitingLetter:
    letter = Letter(row["channel"], row["topic"], json.loads(row["body"]), row["due_at"])
    return WaitingLetter(row["id"], letter, row["created_at"], row["attempts"])
