"""Blackouts: spans against a clock on the wall, and what they do to slots."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vya_backupd.model.operation import State
from vya_backupd.policy.blackout import (
    Blackout,
    Calendar,
    always_waits,
    calendar_of,
    longest_wait,
    parse_days,
    parse_hours,
    slowed_to,
)
from vya_backupd.policy.due import Action, Cause, SlotRun, Standing, Terms, decide
from vya_backupd.policy.schedule import Schedule

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = ["UTC", "America/Sao_Paulo", "Europe/Lisbon", "Australia/Lord_Howe", "Asia/Kolkata"]
OFFICE = Blackout(parse_days("mon-fri"), *parse_hours("09:00-18:00"))
MONDAY = datetime(2026, 6, 8, tzinfo=UTC)


def calendar(*blackouts: Blackout, zone: str = "UTC") -> Calendar:
    return Calendar(ZoneInfo(zone), blackouts)


@pytest.mark.parametrize(
    ("text", "days"),
    [("mon-fri", {0, 1, 2, 3, 4}), ("sat,sun", {5, 6}), ("FRI-mon", {4, 5, 6, 0}), ("*", set(range(7))), ("wed", {2})],
)
def test_days(text: str, days: set[int]) -> None:
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "monday", "mon-", "mon;tue", "1-5", "mon,,tue"])
def test_what_are_no_days(text: str) -> None:
    with pytest.raises(ValueError, match="days such as"):
        parse_days(text)


@pytest.mark.parametrize("text", ["", "9", "09:00", "09:00-09:00", "24:00-06:00", "09:60-10:00", "10:00-24:30"])
def test_what_are_no_hours(text: str) -> None:
    with pytest.raises(ValueError, match="hours such as"):
        parse_hours(text)


def test_hours() -> None:
    assert parse_hours("9:00-18:00") == (540, 1080)
    assert parse_hours("22:00-06:00") == (1320, 360)
    assert parse_hours("00:00-24:00") == (0, 1440)


windows = st.builds(
    lambda days, begin, length: Blackout(days, begin, (begin + length) % 1440),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1439),
)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(lambda wall: wall.replace(tzinfo=UTC))


def _on_the_wall(blackout: Blackout, wall: datetime) -> bool:
    minute, day = wall.hour * 60 + wall.minute, wall.weekday()
    if blackout.begin < blackout.end:
        return day in blackout.days and blackout.begin <= minute < blackout.end
    tail = (day - 1) % 7 in blackout.days and minute < blackout.end
    return tail or (day in blackout.days and minute >= blackout.begin)


@given(windows, moments, st.sampled_from(ZONES))
def test_closed_is_what_the_clock_on_the_wall_shows(blackout: Blackout, moment: datetime, zone: str) -> None:
    """Where the clock is not being changed; and where it is, never open while the wall says closed."""
    here = calendar(blackout, zone=zone)
    span = here.closed(moment)
    wall = moment.astimezone(here.zone)
    if not here.never_opens():
        if _on_the_wall(blackout, wall):
            assert span is not None
        elif len({(moment + off).astimezone(here.zone).utcoffset() for off in (-DAY, timedelta(0), DAY)}) == 1:
            assert span is None
    if span is not None:
        assert span.begin <= moment < span.end
        assert here.opens(moment) == span.end
        assert here.closed(span.end) is None
        assert here.closed(span.begin) == span
        assert here.closed(span.begin - MINUTE / 60) is None


@given(st.lists(windows, max_size=3), moments, st.integers(0, 5000))
def test_open_time_is_counted_minute_by_minute(blackouts: list[Blackout], since: datetime, minutes: int) -> None:
    here = calendar(*blackouts)
    since = since.replace(second=0, microsecond=0)
    counted = sum(here.closed(since + MINUTE * n) is None for n in range(minutes))
    assert here.open_time(since, since + MINUTE * minutes) == MINUTE * counted


def test_a_clock_that_is_put_back_opens_no_gap() -> None:
    """In Lisbon it is 01:00-02:00 twice on 25 October 2026."""
    here = calendar(Blackout(parse_days("*"), *parse_hours("00:30-01:30")), zone="Europe/Lisbon")
    span = here.closed(datetime(2026, 10, 25, 0, 10, tzinfo=UTC))
    assert span is not None
    assert (span.begin, span.end) == (
        datetime(2026, 10, 24, 23, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    )


def test_a_clock_that_skips_the_beginning_begins_at_the_gaps_end() -> None:
    """In Lisbon there is no 01:00-02:00 on 29 March 2026."""
    here = calendar(Blackout(parse_days("*"), *parse_hours("01:30-03:00")), zone="Europe/Lisbon")
    span = here.closed(datetime(2026, 3, 29, 1, tzinfo=UTC))
    assert span is not None
    assert (span.begin, span.end) == (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC))
    inside = calendar(Blackout(parse_days("*"), *parse_hours("01:10-01:50")), zone="Europe/Lisbon")
    assert inside.closed(datetime(2026, 3, 29, 1, tzinfo=UTC)) is None


def test_a_week_of_darkness_is_not_heeded() -> None:
    always = calendar(Blackout(parse_days("*"), *parse_hours("00:00-24:00")))
    assert always.never_opens()
    assert always.closed(MONDAY) is None
    assert always.opens(MONDAY) == MONDAY
    assert not calendar(OFFICE).never_opens()
    assert not calendar(Blackout(parse_days("mon-sat"), *parse_hours("00:00-24:00"))).never_opens()


def test_who_is_meant_and_what_is_slowed() -> None:
    slow = replace(OFFICE, instances=("prod-*",), bytes_per_second=5000)
    at_ten = MONDAY + 10 * HOUR
    assert calendar_of("UTC", (OFFICE, slow), "prod-1").blackouts == (OFFICE,)
    assert slowed_to("UTC", (OFFICE, slow, replace(slow, bytes_per_second=9000)), "prod-1", at_ten) == 5000
    assert slowed_to("UTC", (slow,), "test-1", at_ten) is None
    assert slowed_to("UTC", (slow,), "prod-1", at_ten + 8 * HOUR) is None
    night = Blackout(parse_days("sun"), *parse_hours("22:00-06:00"), ("*",), 7000)
    assert slowed_to("UTC", (night,), "any", MONDAY + 5 * HOUR) == 7000


# slots


def terms(cron: str, *blackouts: Blackout, **more: Any) -> Terms:
    schedule = Schedule.of(cron=cron, interval_minutes=1, timezone="UTC")
    return replace(Terms("one", "host", schedule, calendar=calendar(*blackouts)), **more)


HOURLY = terms("0 * * * *", OFFICE)
AT_EIGHT = Standing(last_slot=MONDAY + 8 * HOUR)


def test_what_is_due_waits_for_the_end() -> None:
    before = decide(HOURLY, AT_EIGHT, MONDAY + 8.5 * HOUR)
    assert (before.action, before.cause, before.until) == (Action.WAIT, Cause.NOT_DUE, MONDAY + 9 * HOUR)
    waiting = decide(HOURLY, AT_EIGHT, MONDAY + 9 * HOUR)
    assert (waiting.action, waiting.cause, waiting.slot) == (Action.WAIT, Cause.BLACKOUT, MONDAY + 9 * HOUR)
    assert waiting.until == MONDAY + 18 * HOUR
    runs = decide(HOURLY, AT_EIGHT, MONDAY + 18 * HOUR)
    assert (runs.action, runs.cause, runs.slot) == (Action.RUN, Cause.ON_TIME, MONDAY + 18 * HOUR)
    assert (runs.missed, runs.held) == (0, 9)


def test_a_slot_that_waited_is_on_time_even_without_catch_up() -> None:
    strict = terms("0 10 * * *", OFFICE, catch_up=False, catch_up_window=HOUR)
    runs = decide(strict, AT_EIGHT, MONDAY + 18 * HOUR + MINUTE)
    assert (runs.action, runs.cause, runs.slot) == (Action.RUN, Cause.ON_TIME, MONDAY + 10 * HOUR)
    late = decide(strict, AT_EIGHT, MONDAY + 18 * HOUR + 6 * MINUTE)
    assert (late.action, late.cause) == (Action.SKIP, Cause.MISSED)


def test_a_missed_slot_is_not_caught_up_inside() -> None:
    """The daemon was down from half past seven to ten."""
    standing = Standing(last_slot=MONDAY + 7 * HOUR)
    found = decide(HOURLY, standing, MONDAY + 10 * HOUR)
    assert (found.action, found.cause, found.until) == (Action.WAIT, Cause.BLACKOUT, MONDAY + 18 * HOUR)
    then = decide(HOURLY, standing, MONDAY + 18 * HOUR)
    assert (then.action, then.missed, then.held) == (Action.RUN, 1, 9)


@pytest.mark.parametrize(("window", "action"), [(3 * HOUR, Action.RUN), (HOUR, Action.GIVE_UP)])
def test_a_next_attempt_waits_and_does_not_grow_old_meanwhile(window: timedelta, action: Action) -> None:
    """Interrupted at eight; half an hour passes before the blackout and one after it."""
    patient = terms("0 8 * * *", OFFICE, catch_up_window=window)
    standing = Standing(last_slot=MONDAY + 8 * HOUR, last_run=SlotRun(MONDAY + 8 * HOUR, 1, State.INTERRUPTED, ("b",)))
    inside = decide(patient, standing, MONDAY + 12 * HOUR)
    assert (inside.action, inside.cause) == (Action.WAIT, Cause.BLACKOUT)
    assert decide(patient, standing, MONDAY + 18.5 * HOUR).action is action


schedules = st.builds(
    lambda every, shift: Schedule.of(cron=None, interval_minutes=every, timezone="UTC", jitter=shift),
    st.sampled_from([15, 60, 360, 1440]),
    st.sampled_from([timedelta(0), 20 * MINUTE]),
)


@settings(max_examples=40)
@given(schedules, st.lists(windows, max_size=3), moments)
def test_nothing_ever_begins_inside(schedule: Schedule, blackouts: list[Blackout], moment: datetime) -> None:
    """A scheduler that obeys for two days, woken when it asked to be: it begins only in the open, and misses nothing."""
    one = Terms("one", "host", schedule, catch_up=False, calendar=calendar(*blackouts))
    standing, now, covered = Standing(last_slot=schedule.latest_at(moment)), moment, 0
    while now < moment + 2 * DAY:
        found = decide(one, standing, now)
        if found.action is Action.WAIT:
            assert found.until is not None
            assert found.until > now
            now = found.until
            continue
        assert found.action is Action.RUN
        assert one.calendar.closed(now) is None
        assert found.slot is not None
        covered += 1 + found.missed + found.held
        standing = Standing(last_slot=found.slot)
    last = standing.last_slot
    assert last is not None
    assert covered == len(list(schedule.between(schedule.latest_at(moment) or moment, last)))


@settings(max_examples=40)
@given(schedules, st.lists(windows, max_size=2), moments)
def test_the_next_start_is_told_as_it_will_be(schedule: Schedule, blackouts: list[Blackout], moment: datetime) -> None:
    one = Terms("one", "host", schedule, calendar=calendar(*blackouts))
    start = one.next_start(moment)
    near = schedule.between(moment - 7.5 * DAY, moment + 2 * DAY)
    assert start == min(each for each in map(one.start_of, near) if each > moment)


def test_what_an_operator_should_be_told() -> None:
    at_ten = Schedule.of(cron="0 10 * * mon-fri", interval_minutes=1, timezone="UTC")
    at_two = Schedule.of(cron="0 2 * * *", interval_minutes=1, timezone="UTC")
    hourly = Schedule.of(cron="0 * * * *", interval_minutes=1, timezone="UTC")
    assert always_waits(at_ten, calendar(OFFICE))
    assert not always_waits(at_two, calendar(OFFICE))
    assert not always_waits(hourly, calendar(OFFICE))
    assert longest_wait(hourly, calendar(OFFICE)) == 10 * HOUR
    assert longest_wait(at_two, calendar(OFFICE)) == DAY
