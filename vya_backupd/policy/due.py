"""What is to be done now for the schedule of one instance, and why. A decision is a value; the scheduler obeys.

The newest slot whose time has come decides; older ones that nobody ran are merged into it and counted. A slot is
*accounted for* once it was submitted, or knowingly left out: what lies at or before the last such slot never comes again,
except for the next attempt of a run that was interrupted.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vya_backupd.model.operation import Operation, State, is_final
from vya_backupd.policy.schedule import Schedule

ON_TIME = timedelta(minutes=5)
"""A slot that begins no later than this after its time was not missed."""

CLOCK_SLACK = timedelta(minutes=1)
"""A last slot this far in the future is an ordinary correction of the clock; further, and the clock was set back."""

MOST_COUNTED = 10_000
"""Missed slots are counted up to here: a minute schedule that slept for a week need not be counted to the end."""

EVERYTHING = "*"
"""The step of an instance that did not answer (see ``operations.backup``)."""

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
    MISSED = "missed"
    STILL_RUNNING = "still running"
    OUT_OF_ATTEMPTS = "out of attempts"
    OUT_OF_TIME = "out of time"


@dataclass(frozen=True, slots=True)
class Terms:
    """The schedule of one instance, and how patient it is. ``hostname`` and ``instance`` fix its jitter."""

    instance: str
    hostname: str
    schedule: Schedule
    catch_up: bool = True
    catch_up_window: timedelta = timedelta(hours=12)
    attempts: int = 3

    def start_of(self, slot: datetime) -> datetime:
        """When the work of a slot begins."""
        return self.schedule.start_of(slot, self.hostname, self.instance)

    def next_start(self, moment: datetime) -> datetime | None:
        """The first start after this moment; None where there is no further slot."""
        starts = (self.start_of(slot) for slot in self.schedule.after(moment - self.schedule.jitter))
        return next((start for start in starts if start > moment), None)


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
    """What to do with ``slot``. ``missed`` counts older slots merged into it; ``until`` is when to look again."""

    action: Action
    cause: Cause
    reason: str
    slot: datetime | None = None
    attempt: int = 1
    databases: tuple[str, ...] | None = None
    missed: int = 0
    late: timedelta = timedelta(0)
    until: datetime | None = None


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
    counted = itertools.islice(terms.schedule.between(last, due), MOST_COUNTED)
    return _judge(terms, standing, due, sum(1 for _ in counted) - 1, now)


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
        slot = terms.schedule.latest_at(slot - timedelta(microseconds=1))
    return None


def _judge(terms: Terms, standing: Standing, due: datetime, missed: int, now: datetime) -> Decision:
    """A slot is due: does it run?"""
    start = terms.start_of(due)
    late = now - start
    if pause := standing.pause_at(start):
        return Decision(Action.SKIP, Cause.PAUSED, _paused(pause), slot=due, missed=missed)
    if pause := standing.pause_at(now):
        return Decision(Action.WAIT, Cause.PAUSED, _paused(pause), slot=due, until=pause.until)
    if standing.last_run is not None and not is_final(standing.last_run.state):
        reason = f"the run of {standing.last_run.slot.isoformat()} has not ended"
        return Decision(Action.SKIP, Cause.STILL_RUNNING, reason, slot=due, missed=missed)
    if late <= ON_TIME:
        return Decision(Action.RUN, Cause.ON_TIME, "its time has come", slot=due, missed=missed, late=late)
    if not terms.catch_up:
        return Decision(Action.SKIP, Cause.MISSED, "catch_up is off", slot=due, missed=missed, late=late)
    if late > terms.catch_up_window:
        return Decision(Action.SKIP, Cause.MISSED, "catch_up_window has passed", slot=due, missed=missed, late=late)
    return Decision(Action.RUN, Cause.CAUGHT_UP, f"missed, {late} ago", slot=due, missed=missed, late=late)


def _go_on(terms: Terms, standing: Standing, last: datetime, now: datetime) -> Decision:
    """No slot is due: does the last run need a next attempt?"""
    wait = Decision(Action.WAIT, Cause.NOT_DUE, "its time has not come", until=_next_start(terms, last))
    run = standing.last_run
    if run is None or run.state is not State.INTERRUPTED or run.unfinished == () or standing.given_up:
        return wait
    if pause := standing.pause_at(now):
        return Decision(Action.WAIT, Cause.PAUSED, _paused(pause), slot=run.slot, until=pause.until or wait.until)
    if run.attempt >= terms.attempts:
        reason = f"interrupted in attempt {run.attempt} of {terms.attempts}"
        return Decision(Action.GIVE_UP, Cause.OUT_OF_ATTEMPTS, reason, run.slot, run.attempt, run.unfinished)
    if now - terms.start_of(run.slot) > terms.catch_up_window:
        reason = "interrupted, and catch_up_window has passed"
        return Decision(Action.GIVE_UP, Cause.OUT_OF_TIME, reason, run.slot, run.attempt, run.unfinished)
    reason = f"attempt {run.attempt} was interrupted"
    return Decision(Action.RUN, Cause.NEXT_ATTEMPT, reason, run.slot, run.attempt + 1, run.unfinished)


def _next_start(terms: Terms, last: datetime) -> datetime | None:
    following = terms.schedule.next_after(last)
    return None if following is None else terms.start_of(following)


def _paused(pause: Pause) -> str:
    words = f"paused by {pause.by}" + (f" until {pause.until.isoformat()}" if pause.until else "")
    return words + (f": {pause.note}" if pause.note else "")
