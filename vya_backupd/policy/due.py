"""What is to be done now for the schedule of one instance, and why. A decision is a value; the scheduler obeys.

The newest slot whose time has come decides; older ones that nobody ran are merged into it and counted. A slot is
*accounted for* once it was submitted, or knowingly left out: what lies at or before the last such slot never comes again,
except for the next attempt of a run that was interrupted.

A slot that lies in a blackout begins at the end of it, and that is its time: waiting for it makes nothing late. Several
that wait for the same end are one.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from vya_backupd.model.operation import Operation, State, is_final
from vya_backupd.policy.blackout import Calendar
from vya_backupd.policy.schedule import Schedule

ON_TIME = timedelta(minutes=5)
"""A slot that begins no later than this after its time was not missed."""

CLOCK_SLACK = timedelta(minutes=1)
"""A last slot this far in the future is an ordinary correction of the clock; further, and the clock was set back."""

MOST_COUNTED = 10_000
"""Missed slots are counted up to here: a minute schedule that slept for a week need not be counted to the end."""

EVERYTHING = "*"
"""The step of an instance that did not answer (see ``operations.backup``)."""

_ALWAYS_OPEN = Calendar(ZoneInfo("UTC"))
_TICK = timedelta(microseconds=1)
_SETTLED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
"""States of a step that need no further attempt: it was made, or its failure is a verdict."""


class Action(enum.StrEnum):
    """What to do: nothing yet, submit the slot, account for it without running it, or end its attempts."""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"
    GIVE_UP = "give up"


class Cause(enum.StrEnum):
    """Why."""

    NOT_DUE = "not due"
    ON_TIME = "on time"
    CAUGHT_UP = "caught up"
    NEXT_ATTEMPT = "next attempt"
    NEW = "new schedule"
    CLOCK_SET_BACK = "clock set back"
    PAUSED = "paused"
    BLACKOUT = "blackout"
    MISSED = "missed"
    STILL_RUNNING = "still running"
    OUT_OF_ATTEMPTS = "out of attempts"
    OUT_OF_TIME = "out of time"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True, slots=True)
class Terms:
    """The schedule of one instance, and how patient it is. ``hostname`` and ``instance`` fix its jitter.

    ``calendar`` says when nothing begins.
    """

    instance: str
    hostname: str
    schedule: Schedule
    catch_up: bool = True
    catch_up_window: timedelta = timedelta(hours=12)
    attempts: int = 3
    calendar: Calendar = _ALWAYS_OPEN

    def wanted_start(self, slot: datetime) -> datetime:
        """When the work of a slot would begin if there were no blackouts."""
        return self.schedule.start_of(slot, self.hostname, self.instance)

    def start_of(self, slot: datetime) -> datetime:
        """When the work of a slot begins."""
        return self.calendar.opens(self.wanted_start(slot))

    def next_start(self, moment: datetime) -> datetime | None:
        """The first start after this moment; None where there is no further slot."""
        closed = self.calendar.closed(moment)
        since = moment if closed is None else closed.begin - _TICK
        starts = (self.start_of(slot) for slot in self.schedule.after(since - self.schedule.jitter))
        return next((start for start in starts if start > moment), None)

    def age_of(self, slot: datetime, now: datetime) -> timedelta:
        """For how long the work of a slot could have begun: blackouts do not count."""
        return self.calendar.open_time(self.start_of(slot), now)


@dataclass(frozen=True, slots=True)
class Pause:
    """Somebody stopped the schedule: from ``at`` until ``until``, or until it is resumed (times are UTC)."""

    at: datetime
    by: str
    until: datetime | None = None
    note: str = ""

    def covers(self, moment: datetime) -> bool:
        """Whether it holds at this moment."""
        return self.at <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class SlotRun:
    """The newest slot that was submitted: its last attempt. ``unfinished`` None: nothing is known, so all of it."""

    slot: datetime
    attempt: int
    state: State
    unfinished: tuple[str, ...] | None = None
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a schedule has come. ``given_up``: that the last run's slot was given up is on record already."""

    last_slot: datetime | None = None
    last_run: SlotRun | None = None
    pauses: tuple[Pause, ...] = ()
    given_up: bool = False

    def pause_at(self, moment: datetime) -> Pause | None:
        """The pause that holds at this moment."""
        return next((pause for pause in self.pauses if pause.covers(moment)), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with ``slot``. ``until`` is when to look again.

    ``missed`` counts older slots merged into it that could have run, ``held`` those that waited for the same end of a
    blackout.
    """

    action: Action
    cause: Cause
    reason: str
    slot: datetime | None = None
    attempt: int = 1
    databases: tuple[str, ...] | None = None
    missed: int = 0
    late: timedelta = timedelta(0)
    until: datetime | None = None
    held: int = 0


def decide(terms: Terms, standing: Standing, now: datetime) -> Decision:
    """What this moment asks for. Called again after anything but a wait was obeyed and recorded."""
    last = _accounted(standing)
    if last is None:
        return _begin(terms, now, Cause.NEW, "the schedule begins with its next slot")
    if last > now + CLOCK_SLACK:
        return _begin(terms, now, Cause.CLOCK_SET_BACK, f"the last slot, {last.isoformat()}, lies in the future")
    due = _newest_due(terms, last, now)
    if due is None:
        return _go_on(terms, standing, last, now)
    older = itertools.islice(terms.schedule.between(last, due), MOST_COUNTED)
    missed, held = _merged(terms, older, due)
    decision = replace(_judge(terms, standing, due, missed, now), held=held)
    if decision.action is Action.RUN and (overtaken := _left_open(standing)):
        reason = f"interrupted in attempt {overtaken.attempt}, and the slot of {due.isoformat()} is due"
        cause = Cause.OVERTAKEN
        return Decision(Action.GIVE_UP, cause, reason, overtaken.slot, overtaken.attempt, overtaken.unfinished)
    return decision


def _left_open(standing: Standing) -> SlotRun | None:
    """The last run, if it was interrupted with something left to do, and nobody has said that this is the end of it."""
    run = standing.last_run
    if run is None or run.state is not State.INTERRUPTED or run.unfinished == () or standing.given_up:
        return None
    return run


def unfinished(attempts: Sequence[Operation], published: Collection[str] = ()) -> tuple[str, ...] | None:
    """The databases of a slot that its attempts, in order, have left open; None: nothing is known, so all of them.

    ``published`` are those of which the slot has a backup all the same: a crash came between it and its record.
    """
    open_ones: tuple[str, ...] | None = None
    for operation in attempts:
        if operation.steps:
            open_ones = tuple(step.database for step in operation.steps if step.state not in _SETTLED)
    if open_ones is None or EVERYTHING in open_ones:
        return None
    return tuple(database for database in open_ones if database not in published)


def _accounted(standing: Standing) -> datetime | None:
    """The last slot that needs no look; a crash may have come between a submission and its mark."""
    if standing.last_slot is None or standing.last_run is None:
        return standing.last_slot
    return max(standing.last_slot, standing.last_run.slot)


def _begin(terms: Terms, now: datetime, cause: Cause, reason: str) -> Decision:
    """Take the newest slot as done."""
    latest = terms.schedule.latest_at(now)
    if latest is None:
        return Decision(Action.WAIT, Cause.NOT_DUE, "the schedule has no slot yet", until=_next_start(terms, now))
    return Decision(Action.SKIP, cause, reason, slot=latest)


def _newest_due(terms: Terms, last: datetime, now: datetime) -> datetime | None:
    """The newest slot after ``last`` whose start has come; jitter may hold back slots that are due already."""
    slot = terms.schedule.latest_at(now)
    while slot is not None and slot > last:
        if terms.start_of(slot) <= now:
            return slot
        slot = terms.schedule.latest_at(slot - _TICK)
    return None


def _merged(terms: Terms, slots: Iterable[datetime], due: datetime) -> tuple[int, int]:
    """How many slots before the one that is due were missed, and how many waited for the same end of a blackout."""
    older = [slot for slot in slots if slot != due]
    start, closes = terms.start_of(due), bool(terms.calendar.blackouts)
    held = sum(terms.start_of(slot) == start for slot in older) if closes else 0
    return len(older) - held, held


def _judge(terms: Terms, standing: Standing, due: datetime, missed: int, now: datetime) -> Decision:
    """A slot is due: does it run?"""
    start = terms.start_of(due)
    late = terms.age_of(due, now)
    if pause := standing.pause_at(start):
        return Decision(Action.SKIP, Cause.PAUSED, _paused(pause), slot=due, missed=missed)
    if pause := standing.pause_at(now):
        return Decision(Action.WAIT, Cause.PAUSED, _paused(pause), slot=due, until=pause.until)
    if standing.last_run is not None and not is_final(standing.last_run.state):
        reason = f"the run of {standing.last_run.slot.isoformat()} has not ended"
        return Decision(Action.SKIP, Cause.STILL_RUNNING, reason, slot=due, missed=missed)
    if closed := terms.calendar.closed(now):
        return _held(due, closed.end)
    if late <= ON_TIME:
        return Decision(Action.RUN, Cause.ON_TIME, "its time has come", slot=due, missed=missed, late=late)
    if not terms.catch_up:
        return Decision(Action.SKIP, Cause.MISSED, "catch_up is off", slot=due, missed=missed, late=late)
    if late > terms.catch_up_window:
        return Decision(Action.SKIP, Cause.MISSED, "catch_up_window has passed", slot=due, missed=missed, late=late)
    return Decision(Action.RUN, Cause.CAUGHT_UP, f"missed, {late} ago", slot=due, missed=missed, late=late)


def _go_on(terms: Terms, standing: Standing, last: datetime, now: datetime) -> Decision:
    """No slot is due: does the last run need a next attempt?"""
    wait = _waits(terms, last, now)
    run = _left_open(standing)
    if run is None:
        return wait
    if pause := standing.pause_at(now):
        return Decision(Action.WAIT, Cause.PAUSED, _paused(pause), slot=run.slot, until=pause.until or wait.until)
    if closed := terms.calendar.closed(now):
        return _held(run.slot, closed.end)
    if run.attempt >= terms.attempts:
        reason = f"interrupted in attempt {run.attempt} of {terms.attempts}"
        return Decision(Action.GIVE_UP, Cause.OUT_OF_ATTEMPTS, reason, run.slot, run.attempt, run.unfinished)
    if terms.age_of(run.slot, now) > terms.catch_up_window:
        reason = "interrupted, and catch_up_window has passed"
        return Decision(Action.GIVE_UP, Cause.OUT_OF_TIME, reason, run.slot, run.attempt, run.unfinished)
    reason = f"attempt {run.attempt} was interrupted"
    return Decision(Action.RUN, Cause.NEXT_ATTEMPT, reason, run.slot, run.attempt + 1, run.unfinished)


def _waits(terms: Terms, last: datetime, now: datetime) -> Decision:
    """For the next slot's time; or, where that has come, for the end of the blackout that it lies in."""
    following = terms.schedule.next_after(last)
    if following is None:
        return Decision(Action.WAIT, Cause.NOT_DUE, "there is no further slot")
    wanted, start = terms.wanted_start(following), terms.start_of(following)
    if wanted <= now < start:
        return _held(following, start)
    return Decision(Action.WAIT, Cause.NOT_DUE, "its time has not come", until=wanted)


def _held(slot: datetime, until: datetime) -> Decision:
    return Decision(Action.WAIT, Cause.BLACKOUT, f"a blackout until {until.isoformat()}", slot=slot, until=until)


def _next_start(terms: Terms, last: datetime) -> datetime | None:
    following = terms.schedule.next_after(last)
    return None if following is None else terms.start_of(following)


def _paused(pause: Pause) -> str:
    words = f"paused by {pause.by}" + (f" until {pause.until.isoformat()}" if pause.until else "")
    return words + (f": {pause.note}" if pause.note else "")
