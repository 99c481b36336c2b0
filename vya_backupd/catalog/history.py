"""Forgetting: what was done and what happened long ago, so that a catalog of ten years is no larger than one of two.

What others still need stays: operations that have not ended; the last slot of each instance, by which its schedule goes
on; events that an observer has not read yet. Of how an instance's backup last ended, which metrics show for good, the
facts are kept as a mark when their event goes. Totals are rows of their own, and backups are not history.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.catalog.database import Database
from vya_backupd.catalog.marks import write_mark
from vya_backupd.catalog.schedules import newest_key
from vya_backupd.model.event import Event
from vya_backupd.model.operation import State, is_final

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

LAST_END = "last_end."
"""How the name of a mark begins that keeps the last end of an instance's backup."""

_O = tables.operations.c
_E = tables.events.c
_PAGE = 500
_ENDED = tuple(state.value for state in State if is_final(state))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much went: operations, each with its steps, and events."""

    operations: int = 0
    events: int = 0


class History:
    """Operations and events of the past."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget(self, before: datetime, read_to: int) -> Forgotten:
        """Delete what was submitted, or happened, before this moment; of events, those that were read: up to this one.

        Page by page, each a transaction of its own, so that others come in between.
        """
        return Forgotten(await self._forget_operations(before), await self._forget_events(before, read_to))

    async def _forget_operations(self, before: datetime) -> int:
        gone, last_at, last_id = 0, None, ""
        old = sa.and_(_O.submitted_at < before, _O.state.in_(_ENDED))
        query = sa.select(_O.id, _O.key, _O.submitted_at).where(old).order_by(_O.submitted_at, _O.id).limit(_PAGE)
        while True:
            page = query
            if last_at is not None:
                here = sa.tuple_(sa.literal(last_at, tables.Moment), sa.literal(last_id))
                page = query.where(sa.tuple_(_O.submitted_at, _O.id) > here)
            async with self._database.reading() as connection:
                rows = (await connection.execute(page)).all()
            if not rows:
                return gone
            last_id, _, last_at = rows[-1]
            gone += await self._database.write(partial(_drop_operations, rows))

    async def _forget_events(self, before: datetime, read_to: int) -> int:
        gone = last = 0
        query = sa.select(tables.events).where(_E.id <= read_to).order_by(_E.id).limit(_PAGE)
        while True:
            async with self._database.reading() as connection:
                rows = (await connection.execute(query.where(_E.id > last))).mappings().all()
            old = [row for row in rows if row["at"] < before]
            if not old:
                return gone  # numbers follow time, but for a clock that was set: those in between went with their page
            last = rows[-1]["id"]
            gone += await self._database.write(partial(_drop_events, old))


async def read_last_ends(connection: AsyncConnection, instances: Iterable[str]) -> list[Event]:
    """The last ends of these instances whose events are gone, as events, within a transaction."""
    wanted = [LAST_END + each for each in instances]
    found: list[Event] = []
    marks = tables.marks.c
    for start in range(0, len(wanted), _PAGE):
        query = sa.select(marks.name, marks.value).where(marks.name.in_(wanted[start : start + _PAGE]))
        for name, text in await connection.execute(query):
            record = json.loads(text)
            data = {"kind": "backup", "instances": {name.removeprefix(LAST_END): record["facts"]}}
            found.append(Event("operation.finished", datetime.fromisoformat(record["at"]), data=data))
    return found


async def _drop_operations(rows: Sequence[Any], connection: AsyncConnection) -> int:
    """Delete those that no schedule counts from. Their steps go with them."""
    instances = {key.partition("@")[0] for _, key, _ in rows if key}
    newest = {await newest_key(connection, each) for each in instances}
    ids = [operation_id for operation_id, key, _ in rows if not key or key not in newest]
    if ids:
        await connection.execute(sa.delete(tables.operations).where(_O.id.in_(ids)))
    return len(ids)


async def _drop_events(rows: Sequence[Any], connection: AsyncConnection) -> int:
    """Delete events, the oldest first, and note what was the last end of an instance so far."""
    for row in rows:
        data = json.loads(row["data"]) if row["name"] == "operation.finished" else {}
        if data.get("kind") == "backup" and not data.get("dry_run"):
            for instance, facts in data.get("instances", {}).items():
                text = json.dumps({"at": row["at"].isoformat(), "facts": facts})
                await write_mark(connection, LAST_END + instance, text)
    await connection.execute(sa.delete(tables.events).where(_E.id.in_([row["id"] for row in rows])))
    return len(rows)
