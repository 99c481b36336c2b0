"""Telling the world: events become letters, letters are carried out of the house, until they arrive or are too old.

Three tasks: one reads events and fills the outbox (``notify_collect``), and one for each carrier empties it; so a mail
server that keeps us waiting delays no ping. Nobody who works waits for any of them. A letter is on record before it is
tried, and is marked after: a crash between sends it twice, under the same name, rather than never.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Any

import structlog

from vya_backupd.catalog import Catalog
from vya_backupd.catalog.outbox import KEPT, LetterState, WaitingLetter
from vya_backupd.config.schema_notifications import Notifications
from vya_backupd.errors import NoticeError, VyaError
from vya_backupd.model.event import Event
from vya_backupd.observe.notify_carrier import Carrier, Means, Told
from vya_backupd.observe.notify_collect import Collector
from vya_backupd.observe.notify_http import PING_LIFE, HttpCarrier, overtaken
from vya_backupd.observe.notify_mail import MailCarrier
from vya_backupd.observe.notify_rules import PING, any_wanted
from vya_backupd.observe.redaction import redact_value
from vya_backupd.policy.retry import Budget, decide

LOOK_SECONDS = 60.0
"""Longest time between two looks at what is due: the wall clock may be set meanwhile."""
_FIRST_PAUSE = 1.0
"""Wait after a catalog that failed once; it doubles up to ``LOOK_SECONDS``."""
_IDLE_SECONDS = 3600.0
_DAY = timedelta(days=1)
_LONGEST_WAIT = 3600.0
_MOST_PINGS = 10_000
"""Pings that may wait for another attempt: they live for hours only."""

_log = structlog.get_logger("vya.notify")


class Notices:
    """The part of the daemon that tells people. Implements ``daemon.part.Part``."""

    name = "notices"

    def __init__(self, catalog: Catalog, means: Means) -> None:
        self._catalog = catalog
        self._means = means
        self.mail = MailCarrier(means)
        self.http = HttpCarrier(means)
        self._carriers: tuple[Carrier, ...] = (self.mail, self.http)
        self._turns = {each.name: asyncio.Lock() for each in self._carriers}
        self._posted = {each.name: asyncio.Event() for each in self._carriers}
        self.collector = Collector(catalog, means, self._on_posted)
        self._swept_at: datetime | None = None

    async def run(self) -> None:
        """Live until cancelled."""
        unsubscribe = self._catalog.events.subscribe(self.collector.observe)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._repeat(self.collector.collect, self._until_heard), name="notices: collect")
                for carrier in self._carriers:
                    group.create_task(self._carry_forever(carrier), name=f"notices: {carrier.name}")
        finally:
            unsubscribe()

    async def settle(self) -> None:
        """Tell now what waits: a letter that failed already gets one more try."""
        with suppress(VyaError):
            await self.collector.collect()
            await asyncio.gather(*(self.empty(each, everything=True) for each in self._carriers))

    @property
    def _config(self) -> Notifications:
        return self._means.config().notifications

    def _on_posted(self) -> None:
        for each in self._posted.values():
            each.set()

    async def empty(self, carrier: Carrier, *, everything: bool = False) -> None:
        """Carry what is due, or all that waits.

        Raises:
            StorageError: the catalog is not to be read or written.
        """
        async with self._turns[carrier.name]:
            outbox = self._catalog.outbox
            found = await (outbox.waiting(carrier.channels) if everything else self._due(carrier))
            untold = {each.id: each for each in found}
            if not untold:
                return
            try:
                async with aclosing(carrier.carry(found)) as answers:
                    async for told in answers:
                        await self._record(told)
                        for each in told.letters:
                            del untold[each.id]
            except VyaError:
                raise
            except Exception as error:  # noqa: BLE001 - a letter must not keep the daemon from living
                _log.exception("notification.carrier_failed", carrier=carrier.name)
                rest = list(untold.values())
                await self._record(Told(rest, error=NoticeError(f"unexpected: {error!r}", code="internal")))

    async def _due(self, carrier: Carrier) -> list[WaitingLetter]:
        """What is due, and before it the pings that wait for another attempt and would take back what it says."""
        found = await self._catalog.outbox.due(carrier.channels, self._means.now())
        if not any(each.letter.channel == PING for each in found):
            return found
        return [*overtaken(found, await self._catalog.outbox.waiting([PING], _MOST_PINGS)), *found]

    # what became of letters

    async def _record(self, told: Told) -> None:
        now, outbox = self._means.now(), self._catalog.outbox
        if told.unwanted:
            await outbox.finish(told.letters, LetterState.DROPPED, now, error=told.unwanted)
            return
        lost = [self._event("failed", told, {"recipient": name}, error) for name, error in told.lost.items()]
        if told.error is None:
            events = [self._event("sent", told, {"answer": told.answer}), *lost]
            await outbox.finish(told.letters, LetterState.SENT, now, events=events)
            return
        for each in told.letters:
            await self._failed(told, each, lost, now)
            lost = []

    async def _failed(self, told: Told, waiting: WaitingLetter, lost: Sequence[Event], now: datetime) -> None:
        """An attempt came to nothing: another one later, or none any more."""
        error = told.error or NoticeError("unknown")
        due_at = self._next_attempt(waiting, error, now)
        if due_at is None:
            events = lost or [self._event("failed", told, {}, error)]
            await self._catalog.outbox.finish([waiting], LetterState.GIVEN_UP, now, error=error.message, events=events)
            return
        delayed = [self._event("delayed", told, {}, error)] if waiting.attempts == 0 else []
        body = None if told.left is None else waiting.letter.body | told.left
        await self._catalog.outbox.postpone([waiting], due_at, error.message, events=[*lost, *delayed], body=body)

    def _next_attempt(self, waiting: WaitingLetter, error: VyaError, now: datetime) -> datetime | None:
        if not isinstance(error, NoticeError):
            # A secret that is not to be had, and the like: a person may mend it meanwhile.
            error = NoticeError(error.message, code=error.code)
        first = self._config.retry_wait.total_seconds()
        # It is age that ends it, not the number of attempts.
        budget = Budget(waiting.attempts + 2, first_wait=first, growth=2.0, longest_wait=_LONGEST_WAIT)
        decision = decide(error, waiting.attempts + 1, budget, roll=random.random())  # noqa: S311 - not a secret
        due_at = now + timedelta(seconds=decision.delay)
        life = PING_LIFE if waiting.letter.channel == PING else self._config.give_up_after
        return due_at if decision.again and due_at - waiting.created_at <= life else None

    def _event(self, what: str, told: Told, data: dict[str, Any], error: VyaError | None = None) -> Event:
        first = told.letters[0].letter
        about = first.body.get("report") or first.body.get("payload") or {}
        facts = {"channel": first.channel, "topic": first.topic, "letters": len(told.letters), **data}
        if error is not None:
            facts |= {"error_code": error.code, "reason": error.message}
        operation_id = (about.get("operation") or {}).get("id")
        return Event(f"notification.{what}", self._means.now(), operation_id, data=redact_value(facts))

    # staying alive

    async def _carry_forever(self, carrier: Carrier) -> None:
        async def later() -> None:
            await _wait(self._posted[carrier.name], await self._until_due(carrier))

        await self._repeat(lambda: self.empty(carrier), later)

    async def _until_due(self, carrier: Carrier) -> float:
        now = self._means.now()
        due_at = await self._catalog.outbox.next_due(carrier.channels)
        if due_at is not None:
            return min(max((due_at - now).total_seconds(), 0.0), LOOK_SECONDS)
        if any_wanted(self._config) and (self._swept_at is None or now - self._swept_at > _DAY):
            self._swept_at = now
            await self._catalog.outbox.forget(now - KEPT)
        return _IDLE_SECONDS

    async def _until_heard(self) -> None:
        await _wait(self.collector.heard, LOOK_SECONDS)

    async def _repeat(self, once: Callable[[], Awaitable[None]], later: Callable[[], Awaitable[None]]) -> None:
        """Do it, wait, and again. A catalog that fails is waited for, a moment first: what it holds is not lost."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await once()
                pause = _FIRST_PAUSE
                await later()
            except VyaError as error:
                _log.warning("notification.catalog_failed", code=error.code, reason=error.message)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LOOK_SECONDS)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
