"""Schedules on the control socket: what runs when, what ran last, and stopping it for a while."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from vya_backupd.api.access import Role
from vya_backupd.api.route import Asked, Record, Route
from vya_backupd.catalog.schedules import EVERY_INSTANCE, ScheduleRow
from vya_backupd.daemon.slots import Slots, terms_of
from vya_backupd.errors import UsageError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import State
from vya_backupd.operations.requests import parse_moment
from vya_backupd.operations.site import Site
from vya_backupd.policy.due import Pause, SlotRun, Standing, Terms

_MOST_NOTE = 500

_OUTSIDE = {
    "systemd": "a systemd timer runs the client (scheduling.method: systemd)",
    "cron": "cron runs the client (scheduling.method: cron)",
}


class SchedulePanel:
    """Implements ``api.route.Panel``."""

    def __init__(self, site: Site, slots: Slots) -> None:
        self._site = site
        self._slots = slots

    def routes(self) -> list[Route]:
        """See ``Panel``."""
        return [
            Route("GET", "/v1/schedule", Role.VIEWER, self._list),
            Route("POST", "/v1/schedule/pause", Role.OPERATOR, self._pause),
            Route("POST", "/v1/schedule/resume", Role.OPERATOR, self._resume),
        ]

    async def overview(self) -> Record:
        """Every instance with its schedule; ``paused`` beside them is the pause of all."""
        now = self._site.now()
        rows = await self._site.catalog.schedules.rows()
        standings = await self._slots.standings(rows, now)
        records = [self._record(instance, rows, standing, now) for instance, standing in standings.items()]
        return {
            "method": self._site.config.scheduling.method,
            "paused": _paused(rows.get(EVERY_INSTANCE), now),
            "schedules": records,
        }

    async def _list(self, _: Asked) -> Record:
        return await self.overview()

    async def _pause(self, asked: Asked) -> Record:
        instance = self._named(asked)
        now = self._site.now()
        until = self._until(asked.text("until"), now)
        note = (asked.text("note") or "").strip()
        if len(note) > _MOST_NOTE:
            raise UsageError(f"the note is longer than {_MOST_NOTE} characters")
        facts = {"until": until.isoformat() if until else None, "note": note}
        event = self._event("schedule.paused", instance, asked, facts)
        await self._slots.pause(instance, Pause(now, asked.actor, until, note), event)
        return await self.overview()

    async def _resume(self, asked: Asked) -> Record:
        instance = self._named(asked)
        event = self._event("schedule.resumed", instance, asked, {})
        ended = await self._slots.resume(instance, event)
        return {"resumed": ended} | await self.overview()

    def _named(self, asked: Asked) -> str:
        """The instance that is meant. Raises NotFoundError for an unknown one."""
        name = asked.text("instance")
        return EVERY_INSTANCE if name is None else self._site.instance(name).id

    def _until(self, text: str | None, now: datetime) -> datetime | None:
        if text is None:
            return None
        until = parse_moment(text, ZoneInfo(self._site.config.scheduling.timezone))
        if until <= now:
            raise UsageError(f"{text} has passed", hint="Say a time in the future, or leave --until out.")
        return until

    def _event(self, name: str, instance: str, asked: Asked, facts: dict[str, Any]) -> Event:
        whom = None if instance == EVERY_INSTANCE else instance
        return Event(name, self._site.now(), instance=whom, actor=asked.actor, data=facts)

    def _record(self, instance: str, rows: Mapping[str, ScheduleRow], standing: Standing, now: datetime) -> Record:
        settings = self._site.settings
        terms, row = terms_of(settings, instance), rows.get(instance)
        off = self._why_off(instance)
        pause = standing.pause_at(now)
        zone = terms.schedule.zone
        start = None if off or pause else terms.next_start(now)
        return {
            "instance": instance,
            "type": str(settings.instances[instance].kind),
            "state": "off" if off else "paused" if pause else "on",
            "reason": off,
            "schedule": terms.schedule.text,
            "timezone": zone.key,
            "next_start": start.astimezone(zone).isoformat() if start else None,
            "blackout": _blackout(terms, now),
            "paused": _paused(row, now) or _paused(rows.get(EVERY_INSTANCE), now),
            "last": _last(standing.last_run, zone),
        }

    def _why_off(self, instance: str) -> str | None:
        own, known = self._site.settings.scheduling(instance), self._site.settings.instances[instance]
        if not known.enabled:
            return "the instance is disabled"
        if not own.enabled:
            return "scheduling is disabled"
        return _OUTSIDE.get(own.method)


def _last(run: SlotRun | None, zone: ZoneInfo) -> Record | None:
    """The newest slot that was submitted. ``whole``: every database of it is backed up, whatever became of the run."""
    if run is None:
        return None
    return {
        "slot": run.slot.astimezone(zone).isoformat(),
        "operation": run.operation,
        "attempt": run.attempt,
        "state": str(run.state),
        "whole": run.state is State.SUCCEEDED or (run.state is State.INTERRUPTED and run.unfinished == ()),
    }


def _blackout(terms: Terms, now: datetime) -> Record | None:
    """The blackout of this moment: what is due in it waits for its end."""
    closed = terms.calendar.closed(now)
    return {"until": closed.end.astimezone(terms.schedule.zone).isoformat()} if closed else None


def _paused(row: ScheduleRow | None, now: datetime) -> Record | None:
    pause = row.pause if row else None
    if pause is None or not pause.covers(now):
        return None
    until = pause.until.isoformat() if pause.until else None
    return {"by": pause.by, "at": pause.at.isoformat(), "until": until, "note": pause.note}
