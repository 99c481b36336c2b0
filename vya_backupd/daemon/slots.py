"""The schedules of all instances, looked at and obeyed: what ``policy.due`` decides is submitted and recorded here.

An instance is looked at when its next start has come, and all of them after whatever could change a decision: the start
of the daemon, a leap of the clock, a reload, a pause, the end of a scheduled operation. Between those, a look costs
nothing and asks nobody.

A slot is submitted first, with all that is to be said of it, and accounted for second. A crash in between is harmless:
a slot that was submitted counts as dealt with, and the key stops a second submission.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from vya_backupd.catalog.schedules import EVERY_INSTANCE, ScheduleRow, slot_key, slot_of
from vya_backupd.config.schema_service import Scheduling
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.daemon.slot_events import events_of
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import GLOBALS_NAME
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, State
from vya_backupd.operations.site import Settings, Site
from vya_backupd.policy.due import (
    CLOCK_SLACK,
    Action,
    Cause,
    Decision,
    Pause,
    SlotRun,
    Standing,
    Terms,
    decide,
    unfinished,
)
from vya_backupd.policy.schedule import Schedule

ACTOR = "schedule"
"""Who submits a slot."""

RETRY = timedelta(seconds=30)
"""After a submission that was refused, or a catalog that did not answer."""

_LONGEST_WAIT = timedelta(hours=1)
_ASKED_AT_ONCE = 100
"""Instances whose slots are read together; what is read grows old while the first of them are obeyed."""
_MOST_DECISIONS = 8
"""At one look: skip, run, next attempt, give up; more would be a defect that must not spin."""

_log = structlog.get_logger("vya.schedule")


def terms_of(settings: Settings, instance: str) -> Terms:
    """The schedule of an instance as the policy wants it."""
    own: Scheduling = settings.scheduling(instance)
    schedule = Schedule.of(
        cron=own.cron, interval_minutes=own.interval_minutes, timezone=own.timezone, jitter=own.jitter
    )
    hostname = settings.config.application.hostname
    calendar = settings.calendar(instance)
    return Terms(instance, hostname, schedule, own.catch_up, own.catch_up_window, own.attempts, calendar)


def is_scheduled(settings: Settings, instance: str) -> bool:
    """Whether the daemon itself runs the backups of an instance."""
    known = settings.instances.get(instance)
    own = settings.scheduling(instance)
    return known is not None and known.enabled and own.enabled and own.method == "interval"


class Slots:
    """Who looks, one at a time. ``now`` of the site is the clock; ``next_looks`` tells when each instance wants a look."""

    def __init__(self, site: Site, queue: OperationQueue) -> None:
        self._site = site
        self._queue = queue
        self._turn = asyncio.Lock()
        self._seen: Settings | None = None
        self._terms: dict[str, Terms] = {}
        self.next_looks: dict[str, datetime] = {}

    @property
    def terms(self) -> Mapping[str, Terms]:
        """The terms of every instance that is scheduled here."""
        if self._seen is not self._site.settings:
            self._seen = settings = self._site.settings
            scheduled = [each for each in settings.instances if is_scheduled(settings, each)]
            self._terms = {instance: terms_of(settings, instance) for instance in scheduled}
            self.next_looks.clear()
        return self._terms

    @property
    def has_new_settings(self) -> bool:
        """Whether the configuration has changed since the last look."""
        return self._seen is not self._site.settings

    @property
    def lag_seconds(self) -> float:
        """For how long the look that is most overdue has been due; 0 where none is."""
        oldest = min(self.next_looks.values(), default=None)
        return 0.0 if oldest is None else max(0.0, (self._site.now() - oldest).total_seconds())

    def next_start(self, instance: str) -> datetime | None:
        """When this instance's next slot begins, by its schedule alone; None where it has none."""
        terms = self.terms.get(instance)
        return None if terms is None else terms.next_start(self._site.now())

    async def look(self, *, everywhere: bool = False) -> None:
        """Do what is due. ``everywhere``: also where nothing was expected yet."""
        async with self._turn:
            await self._look(everywhere=everywhere)

    async def pause(self, instance: str, pause: Pause, event: Event) -> None:
        """Pause an instance, or ``EVERY_INSTANCE``. What was due before is dealt with as before."""
        async with self._turn:
            await self._look(everywhere=True)
            await self._site.catalog.schedules.pause(instance, pause, event)
            await self._look(everywhere=True)

    async def resume(self, instance: str, event: Event) -> bool:
        """End a pause; False where there is none. The slots that lie in it stay left out."""
        async with self._turn:
            await self._look(everywhere=True)
            ended = await self._site.catalog.schedules.resume(instance, event)
            await self._look(everywhere=True)
        return ended

    def nudge(self, instances: Iterable[str]) -> None:
        """Something happened that may change what is decided of these: the next look goes there as well."""
        now = self._site.now()
        for instance in instances:
            if instance in self.terms:
                self.next_looks[instance] = now

    def soonest(self, number: int) -> list[str]:
        """The scheduled instances that want a look first."""
        now = self._site.now()
        return heapq.nsmallest(number, self.terms, key=lambda each: (self.next_looks.get(each, now), each))

    async def standings(self, rows: Mapping[str, ScheduleRow], now: datetime) -> dict[str, Standing]:
        """How far the schedule of every configured instance has come."""
        instances = list(self._site.settings.instances)
        attempts = await self._site.catalog.schedules.attempts_of(instances, now + CLOCK_SLACK)
        return {each: await self._standing(each, rows, attempts[each]) for each in instances}

    async def _standing(
        self, instance: str, rows: Mapping[str, ScheduleRow], attempts: Sequence[Operation]
    ) -> Standing:
        row = rows.get(instance, ScheduleRow(instance))
        both = (row, rows.get(EVERY_INSTANCE, ScheduleRow(EVERY_INSTANCE)))
        pauses = tuple(each.pause for each in both if each.pause is not None)
        run = await self._last_run(instance, attempts)
        given_up = False
        if run is not None and run.state is State.INTERRUPTED:
            given_up = await self._site.catalog.schedules.given_up(instance) == slot_key(instance, run.slot)
        return Standing(row.last_slot, run, pauses, given_up)

    # inside

    async def _look(self, *, everywhere: bool) -> None:
        changed = self.has_new_settings
        terms, now = self.terms, self._site.now()
        due = [each for each in terms if everywhere or self.next_looks.get(each, now) <= now]
        if not due and not changed:
            return
        rows = await self._site.catalog.schedules.rows()
        for instance, row in rows.items():
            if row.last_slot is not None and instance not in terms:
                # Switched on again, it begins anew: what lay in between was nobody's to run.
                await self._site.catalog.schedules.account(instance, None)
        for start in range(0, len(due), _ASKED_AT_ONCE):
            asked = due[start : start + _ASKED_AT_ONCE]
            attempts = await self._site.catalog.schedules.attempts_of(asked, now + CLOCK_SLACK)
            for instance in asked:
                self.next_looks[instance] = await self._look_at(terms[instance], rows, attempts[instance], now)

    async def _look_at(
        self, terms: Terms, rows: Mapping[str, ScheduleRow], attempts: Sequence[Operation], now: datetime
    ) -> datetime:
        """Decide and obey until there is nothing more to do. Returns when to look again."""
        schedules = self._site.catalog.schedules
        try:
            for _ in range(_MOST_DECISIONS):
                decision = decide(terms, await self._standing(terms.instance, rows, attempts), now)
                if decision.action is Action.WAIT:
                    await self._say_postponed(terms.instance, decision, now)
                    return min(decision.until or now + _LONGEST_WAIT, now + _LONGEST_WAIT)
                await self._obey(terms, decision, now)
                rows = await schedules.rows(terms.instance)
                attempts = await schedules.newest_attempts(terms.instance, now + CLOCK_SLACK)
        except VyaError as error:
            _log.warning("slot.postponed", instance=terms.instance, code=error.code, reason=error.message)
        return now + RETRY

    async def _obey(self, terms: Terms, decision: Decision, now: datetime) -> None:
        schedules = self._site.catalog.schedules
        instance, slot = terms.instance, decision.slot
        if slot is None:
            return
        events = events_of(instance, decision, now)
        if decision.action is Action.GIVE_UP:
            await schedules.give_up(instance, slot_key(instance, slot), events)
            return
        if decision.action is Action.RUN:
            # What is said of it goes with the operation: said once, whatever crashes, however the clock is set.
            await self._submit(instance, decision, slot, events)
            events = []
        if decision.attempt == 1:
            await schedules.account(instance, slot, events)

    async def _say_postponed(self, instance: str, decision: Decision, now: datetime) -> None:
        """That a slot waits for the end of a blackout: once for each of them."""
        until, schedules = decision.until, self._site.catalog.schedules
        if decision.cause is Cause.BLACKOUT and until is not None and await schedules.postponed(instance) != until:
            await schedules.postpone(instance, until, events_of(instance, decision, now))

    async def _submit(self, instance: str, decision: Decision, slot: datetime, also: Sequence[Event]) -> None:
        request: dict[str, Any] = {"instances": [instance]}
        if decision.databases is not None:
            request["databases"] = [name for name in decision.databases if name != GLOBALS_NAME]
            request["globals"] = GLOBALS_NAME in decision.databases
            request["resumed"] = True
        key = slot_key(instance, slot)
        await self._queue.submit(OperationKind.BACKUP, request, ACTOR, key=key, attempt=decision.attempt, also=also)

    async def _last_run(self, instance: str, attempts: Sequence[Operation]) -> SlotRun | None:
        if not attempts:
            return None
        last = attempts[-1]
        key = last.key or ""
        left: tuple[str, ...] | None = None
        if last.state is State.INTERRUPTED:
            left = unfinished(attempts, await self._site.catalog.schedules.published(instance, key))
        return SlotRun(slot_of(key), last.attempt, last.state, left, last.id)
