"""From events to letters: the reader of the event table that tells people.

Its cursor is put where letters are entered, and at the end of each operation; what was read after that is read again by
the next start, and decided alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from vya_backupd.catalog import Catalog
from vya_backupd.catalog.events import RecordedEvent
from vya_backupd.catalog.outbox import Letter
from vya_backupd.config.schema_notifications import Notifications
from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, is_final
from vya_backupd.observe.notify_carrier import Means
from vya_backupd.observe.notify_facts import event_record, operation_report, same_places, site_record
from vya_backupd.observe.notify_rules import ALERT, DIGEST, EMAIL, ERROR, Gathering, any_wanted, letters_of, wants
from vya_backupd.observe.redaction import redact_value

CURSOR = "cursor.notify"
"""The mark of the last event that was looked at; empty while nobody is to be told of anything."""
_BATCH = 200
_LOOKED_BACK = 10
"""How many earlier operations are looked at for one to compare with."""

_log = structlog.get_logger("vya.notify")


class Collector:
    """Enters letters. ``posted`` is called when there are new ones; ``heard`` is set when there is something to read."""

    def __init__(self, catalog: Catalog, means: Means, posted: Callable[[], None]) -> None:
        self._catalog = catalog
        self._means = means
        self._posted = posted
        self._turn = asyncio.Lock()
        self._read_to: int | None = None
        self._heard_since: datetime | None = None
        self._is_off = False
        self.heard = asyncio.Event()

    def observe(self, event: Event) -> None:
        """The observer of the catalog's events."""
        if wants(event, self._config):
            self._heard_since = self._heard_since or event.at
            self.heard.set()

    @property
    def _config(self) -> Notifications:
        return self._means.config().notifications

    def read_to(self) -> int | None:
        """The number of the last event that needs no reading any more; None while nobody wants to hear of any."""
        return (self._read_to or 0) if any_wanted(self._config) else None

    async def collect(self) -> None:
        """Read the events that came since, and enter a letter for each that somebody wants to hear of.

        Raises:
            StorageError: the catalog is not to be read or written.
        """
        async with self._turn:
            if not any_wanted(self._config):
                await self._switch_off()
                return
            position = await self._position()
            while found := await self._catalog.events.after(position, _BATCH):
                for recorded in found:
                    await self._take(recorded)
                    position = self._read_to = recorded.id

    async def _switch_off(self) -> None:
        """Forget the place: whoever switches this on again wants to hear of what comes, not of all that was."""
        self._read_to = self._heard_since = None
        if not self._is_off and await self._catalog.marks.get(CURSOR):
            await self._catalog.marks.set(CURSOR, "")
        self._is_off = True

    async def _position(self) -> int:
        if self._read_to is None:
            mark = await self._catalog.marks.get(CURSOR)
            self._read_to = int(mark) if mark else await self._beginning()
            await self._catalog.marks.set(CURSOR, str(self._read_to))
        self._is_off = False
        return self._read_to

    async def _beginning(self) -> int:
        """Where to begin without a cursor: before the event that woke us, or after all that there are."""
        last = await self._catalog.events.last_id()
        since = self._heard_since
        if since is None:
            return last
        newest = await self._catalog.events.after(max(0, last - _BATCH), _BATCH)
        return min((each.id for each in newest if each.event.at >= since), default=last + 1) - 1

    async def _take(self, recorded: RecordedEvent) -> None:
        event = recorded.event
        letters: list[Letter] = []
        if wants(event, self._config):
            try:
                letters = await self._letters(recorded)
            except VyaError:
                raise
            except Exception:  # noqa: BLE001 - one event must not keep the daemon from starting, again and again
                await self._give_up(recorded)
        if letters or event.name == "operation.finished":
            await self._catalog.outbox.enqueue(letters, (CURSOR, str(recorded.id)), self._means.now())
        if letters:
            self._posted()

    async def _give_up(self, recorded: RecordedEvent) -> None:
        """Say that an event could not be told of."""
        _log.exception("notification.not_written", about=recorded.event.name, event_id=recorded.id)
        if not recorded.event.name.startswith("notification."):
            data = {"channel": "all", "topic": recorded.event.name, "error_code": "internal"}
            event = Event("notification.failed", self._means.now(), recorded.event.operation_id, data=data)
            await self._catalog.record(event)

    async def _letters(self, recorded: RecordedEvent) -> list[Letter]:
        now = self._means.now()
        outbox, window = self._catalog.outbox, self._config.email.digest_window
        gathering = Gathering(
            await outbox.recent(EMAIL, (ERROR, ALERT, DIGEST), now - window), await outbox.opened(EMAIL, DIGEST)
        )
        report = redact_value(await self._report(recorded.event))
        return list(letters_of(recorded.event, recorded.id, report, self._config, now, gathering))

    async def _report(self, event: Event) -> dict[str, Any]:
        report: dict[str, Any] = {"site": site_record(self._means.config().application), "event": event_record(event)}
        operation = None
        if event.name == "operation.finished" and event.operation_id:
            operation = await self._catalog.operations.get(event.operation_id)
        if operation is None:
            return report
        instances = sorted({each.instance for each in operation.steps} | set(event.data.get("instances", {})))
        recent = await self._catalog.recency.newest(instances)
        return report | operation_report(event, operation, recent, await self._run_before(operation))

    async def _run_before(self, operation: Operation) -> Operation | None:
        for each in await self._catalog.operations.list(limit=_LOOKED_BACK, kind=operation.kind):
            older = is_final(each.state) and each.submitted_at < operation.submitted_at
            if older and same_places(each, operation) and not each.request.get("dry_run"):
                return each
        return None
