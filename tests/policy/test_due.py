"""Decisions about slots, as an operator would argue them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vya_backupd.model.operation import Operation, OperationKind, State, Step
from vya_backupd.policy.due import (
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

NIGHTLY = Terms("one", "host", Schedule.of(cron="0 2 * * *", interval_minutes=1, timezone="UTC"))
SLOT = datetime(2026, 1, 9, 2, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
STANDING = Standing(last_slot=SLOT - DAY)


def brief(decision: Decision) -> tuple[Action, Cause, datetime | None]:
    return decision.action, decision.cause, decision.slot


def test_nothing_before_its_time() -> None:
    decision = decide(NIGHTLY, STANDING, SLOT - MINUTE)
    assert brief(decision) == (Action.WAIT, Cause.NOT_DUE, None)
    assert decision.until == SLOT


def test_a_slot_runs_at_its_time() -> None:
    decision = decide(NIGHTLY, STANDING, SLOT)
    assert brief(decision) == (Action.RUN, Cause.ON_TIME, SLOT)
    assert (decision.attempt, decision.databases, decision.missed) == (1, None, 0)


def test_a_new_schedule_begins_with_its_next_slot() -> None:
    decision = decide(NIGHTLY, Standing(), SLOT + HOUR)
    assert brief(decision) == (Action.SKIP, Cause.NEW, SLOT)
    assert decide(NIGHTLY, Standing(last_slot=SLOT), SLOT + HOUR).until == SLOT + DAY


def test_slots_that_were_missed_are_one() -> None:
    decision = decide(NIGHTLY, Standing(last_slot=SLOT - 4 * DAY), SLOT + HOUR)
    assert brief(decision) == (Action.RUN, Cause.CAUGHT_UP, SLOT)
    assert (decision.missed, decision.late) == (3, HOUR)


def test_what_is_too_late_is_missed() -> None:
    late = decide(NIGHTLY, Standing(last_slot=SLOT - 4 * DAY), SLOT + 13 * HOUR)
    assert brief(late) == (Action.SKIP, Cause.MISSED, SLOT)
    assert late.missed == 3
    assert "window" in late.reason


def test_without_catch_up_only_punctual_slots_run() -> None:
    strict = replace(NIGHTLY, catch_up=False)
    assert decide(strict, STANDING, SLOT + 5 * MINUTE).action is Action.RUN
    assert brief(decide(strict, STANDING, SLOT + 6 * MINUTE)) == (Action.SKIP, Cause.MISSED, SLOT)


def test_jitter_holds_back() -> None:
    schedule = Schedule.of(cron="0 2 * * *", interval_minutes=1, timezone="UTC", jitter=HOUR)
    terms = replace(NIGHTLY, schedule=schedule)
    start = terms.start_of(SLOT)
    assert start > SLOT
    assert decide(terms, STANDING, start - timedelta(seconds=1)).until == start
    assert brief(decide(terms, STANDING, start)) == (Action.RUN, Cause.ON_TIME, SLOT)


@pytest.mark.parametrize("until", [None, SLOT + HOUR])
def test_a_slot_in_a_pause_is_left_out(until: datetime | None) -> None:
    paused = replace(STANDING, pauses=(Pause(SLOT - HOUR, "root", until, "moving house"),))
    decision = decide(NIGHTLY, paused, SLOT + MINUTE)
    assert brief(decision) == (Action.SKIP, Cause.PAUSED, SLOT)
    assert "root" in decision.reason
    assert "moving house" in decision.reason


def test_a_pause_that_has_ended_still_covers_what_was_in_it_and_no_more() -> None:
    ended = Pause(SLOT - HOUR, "root", SLOT + HOUR)
    assert decide(NIGHTLY, replace(STANDING, pauses=(ended,)), SLOT + 2 * HOUR).cause is Cause.PAUSED
    tomorrow = replace(STANDING, last_slot=SLOT, pauses=(ended,))
    assert decide(NIGHTLY, tomorrow, SLOT + DAY).action is Action.RUN


def test_a_slot_from_before_a_pause_waits_for_its_end() -> None:
    paused = replace(STANDING, pauses=(Pause(SLOT + HOUR, "root"),))
    assert brief(decide(NIGHTLY, paused, SLOT + 2 * HOUR)) == (Action.WAIT, Cause.PAUSED, SLOT)


def run(state: State, attempt: int = 1, unfinished: tuple[str, ...] | None = ("b",)) -> Standing:
    return Standing(last_slot=SLOT, last_run=SlotRun(SLOT, attempt, state, unfinished))


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
def test_a_slot_that_meets_its_predecessor_is_merged_into_it(state: State) -> None:
    decision = decide(NIGHTLY, run(state), SLOT + DAY)
    assert brief(decision) == (Action.SKIP, Cause.STILL_RUNNING, SLOT + DAY)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.PARTIAL, State.FAILED, State.CANCELLED])
def test_an_end_is_an_end(state: State) -> None:
    assert decide(NIGHTLY, run(state), SLOT + HOUR).action is Action.WAIT
    assert decide(NIGHTLY, run(state), SLOT + DAY).action is Action.RUN


def test_an_interrupted_slot_goes_on_with_what_it_left_open() -> None:
    decision = decide(NIGHTLY, run(State.INTERRUPTED), SLOT + HOUR)
    assert brief(decision) == (Action.RUN, Cause.NEXT_ATTEMPT, SLOT)
    assert (decision.attempt, decision.databases) == (2, ("b",))
    assert decide(NIGHTLY, run(State.INTERRUPTED, 2, None), SLOT + HOUR).databases is None


def test_nothing_left_open_needs_no_attempt() -> None:
    assert decide(NIGHTLY, run(State.INTERRUPTED, 1, ()), SLOT + HOUR).action is Action.WAIT


def test_attempts_have_a_budget_and_a_window_and_end_once() -> None:
    exhausted = decide(NIGHTLY, run(State.INTERRUPTED, 3), SLOT + HOUR)
    assert brief(exhausted) == (Action.GIVE_UP, Cause.OUT_OF_ATTEMPTS, SLOT)
    late = decide(NIGHTLY, run(State.INTERRUPTED, 2), SLOT + 13 * HOUR)
    assert brief(late) == (Action.GIVE_UP, Cause.OUT_OF_TIME, SLOT)
    assert late.databases == ("b",)
    said = replace(run(State.INTERRUPTED, 3), given_up=True)
    assert decide(NIGHTLY, said, SLOT + HOUR).action is Action.WAIT


def test_attempts_wait_for_the_end_of_a_pause() -> None:
    paused = replace(run(State.INTERRUPTED), pauses=(Pause(SLOT + MINUTE, "root", SLOT + HOUR),))
    assert brief(decide(NIGHTLY, paused, SLOT + 2 * MINUTE)) == (Action.WAIT, Cause.PAUSED, SLOT)
    assert decide(NIGHTLY, paused, SLOT + HOUR).action is Action.RUN


def test_a_newer_slot_comes_before_a_next_attempt() -> None:
    given_up = decide(NIGHTLY, run(State.INTERRUPTED), SLOT + DAY)
    assert brief(given_up) == (Action.GIVE_UP, Cause.OVERTAKEN, SLOT)
    assert (given_up.attempt, given_up.databases) == (1, ("b",))
    decision = decide(NIGHTLY, replace(run(State.INTERRUPTED), given_up=True), SLOT + DAY)
    assert brief(decision) == (Action.RUN, Cause.ON_TIME, SLOT + DAY)
    assert decision.databases is None
    assert decide(NIGHTLY, run(State.INTERRUPTED, 1, ()), SLOT + DAY).action is Action.RUN


def test_a_crash_between_submission_and_mark_submits_nothing_twice() -> None:
    behind = Standing(last_slot=SLOT - DAY, last_run=SlotRun(SLOT, 1, State.SUCCEEDED))
    assert decide(NIGHTLY, behind, SLOT + MINUTE).action is Action.WAIT


def test_a_clock_that_was_years_ahead_does_not_stop_the_schedule() -> None:
    ahead = Standing(last_slot=datetime(2099, 1, 1, 2, tzinfo=UTC))
    decision = decide(NIGHTLY, ahead, SLOT + HOUR)
    assert brief(decision) == (Action.SKIP, Cause.CLOCK_SET_BACK, SLOT)
    just_ahead = Standing(last_slot=SLOT)
    assert decide(NIGHTLY, just_ahead, SLOT - timedelta(seconds=2)).action is Action.WAIT


def operation(state: State, *steps: tuple[str, State]) -> Operation:
    made = tuple(Step("one", database, step) for database, step in steps)
    return Operation("id", OperationKind.BACKUP, state, {}, SLOT, "schedule", steps=made)


def test_what_attempts_leave_open() -> None:
    first = operation(
        State.INTERRUPTED,
        ("a", State.SUCCEEDED),
        ("b", State.FAILED),
        ("c", State.INTERRUPTED),
        ("d", State.INTERRUPTED),
    )
    assert unfinished([first]) == ("c", "d")
    assert unfinished([first], published={"c"}) == ("d",)
    second = operation(State.INTERRUPTED, ("c", State.SUCCEEDED), ("d", State.INTERRUPTED))
    assert unfinished([first, second]) == ("d",)
    assert unfinished([first, operation(State.INTERRUPTED)]) == ("c", "d")
    assert unfinished([operation(State.INTERRUPTED)]) is None
    assert unfinished([operation(State.INTERRUPTED, ("*", State.INTERRUPTED))]) is None


# any life of a daemon

_ENDS = st.sampled_from([State.SUCCEEDED, State.FAILED, State.INTERRUPTED, State.RUNNING])


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(1, 2000), _ENDS), max_size=60),
    st.sampled_from(["0 * * * *", "30 1 * * *", "*/17 0-12 * * *"]),
    st.booleans(),
)
def test_every_slot_is_accounted_for_once(life: list[tuple[int, State]], text: str, catch_up: bool) -> None:
    """Look at random moments, obey, and let runs end at random: slots run in order, never twice, and none is lost."""
    schedule = Schedule.of(cron=text, interval_minutes=1, timezone="Europe/Lisbon")
    terms = Terms("one", "host", schedule, catch_up=catch_up, catch_up_window=timedelta(hours=6), attempts=3)
    begin = now = datetime(2026, 3, 27, tzinfo=UTC)
    standing = Standing(last_slot=schedule.latest_at(now))
    submitted: list[tuple[datetime, int]] = []
    given_up: list[datetime] = []
    accounted = 0
    for minutes, end in life:
        now += minutes * MINUTE
        while (decision := decide(terms, standing, now)).action is not Action.WAIT:
            assert decision.slot is not None
            if decision.action is Action.GIVE_UP:
                assert standing.last_run is not None
                assert (decision.slot, standing.last_run.state) == (standing.last_run.slot, State.INTERRUPTED)
                given_up.append(decision.slot)
                standing = replace(standing, given_up=True)
                continue
            if decision.attempt == 1:
                accounted += decision.missed + 1
                standing = replace(standing, last_slot=decision.slot)
            if decision.action is Action.RUN:
                submitted.append((decision.slot, decision.attempt))
                ran = standing.last_run
                overtakes = ran is not None and ran.state is State.INTERRUPTED and ran.slot != decision.slot
                assert not overtakes or standing.given_up, "an interrupted slot is followed by another without a word"
                run_now = SlotRun(decision.slot, decision.attempt, end)
                standing = replace(standing, last_run=run_now, given_up=False)
        assert decision.until is None or decision.until > now
    assert given_up == sorted(set(given_up))
    assert submitted == sorted(set(submitted))
    assert accounted == sum(1 for _ in schedule.between(begin, now))
    for slot, attempt in submitted:
        assert attempt == 1 or (slot, attempt - 1) in submitted
        assert attempt <= 3
