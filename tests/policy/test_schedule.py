from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vya_backupd.policy.schedule import Schedule, instant_of

MINUTE = timedelta(minutes=1)


def cron(text: str, zone: str) -> Schedule:
    return Schedule.of(cron=text, interval_minutes=1, timezone=zone)


def every(minutes: int, zone: str) -> Schedule:
    return Schedule.of(cron=None, interval_minutes=minutes, timezone=zone)


def local(schedule: Schedule, start: str, count: int) -> list[str]:
    """The next slots after a UTC time, as people there read them off the wall."""
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return [f"{slot.astimezone(schedule.zone):%d %H:%M %z}" for slot in itertools.islice(schedule.after(moment), count)]


# the slots of named places


def test_a_midnight_that_does_not_exist_runs_at_the_first_minute_of_the_day() -> None:
    daily = cron("0 0 * * *", "America/Sao_Paulo")
    assert local(daily, "2018-11-03T12:00", 2) == ["04 01:00 -0200", "05 00:00 -0200"]


def test_a_skipped_hour_is_one_slot_with_the_end_of_the_gap() -> None:
    quarter_hours = cron("*/15 0-1 * * *", "America/Sao_Paulo")
    assert local(quarter_hours, "2018-11-04T02:59", 5) == [
        "04 01:00 -0200",
        "04 01:15 -0200",
        "04 01:30 -0200",
        "04 01:45 -0200",
        "05 00:00 -0200",
    ]


def test_a_repeated_hour_runs_once() -> None:
    late = cron("30 23 * * *", "America/Sao_Paulo")
    assert local(late, "2018-02-17T12:00", 2) == ["17 23:30 -0200", "18 23:30 -0300"]
    hourly = every(60, "Europe/Lisbon")
    assert local(hourly, "2026-10-24T23:30", 3) == ["25 01:00 +0100", "25 02:00 +0000", "25 03:00 +0000"]


def test_lisbon_in_spring() -> None:
    assert local(cron("30 1 * * *", "Europe/Lisbon"), "2026-03-28T12:00", 2) == ["29 02:00 +0100", "30 01:30 +0100"]


def test_lord_howe_moves_by_half_an_hour() -> None:
    half_hours = cron("15,45 1-2 * * *", "Australia/Lord_Howe")
    assert local(half_hours, "2026-04-04T13:30", 4) == [
        "05 01:15 +1100",
        "05 01:45 +1100",
        "05 02:15 +1030",
        "05 02:45 +1030",
    ]
    assert local(half_hours, "2026-10-03T15:00", 3) == ["04 01:45 +1030", "04 02:30 +1100", "04 02:45 +1100"]


def test_a_day_that_never_was() -> None:
    noon = cron("0 12 * * *", "Pacific/Apia")
    assert local(noon, "2011-12-29T12:00", 3) == ["29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400"]


def test_an_interval_counts_from_midnight_and_not_from_now() -> None:
    assert local(every(360, "America/Sao_Paulo"), "2026-06-10T04:17", 4) == [
        "10 06:00 -0300",
        "10 12:00 -0300",
        "10 18:00 -0300",
        "11 00:00 -0300",
    ]
    assert local(every(7 * 1440, "UTC"), "2026-06-10T04:17", 1) == ["15 00:00 +0000"]  # a Monday
    odd = every(2880, "UTC")
    assert local(odd, "2026-06-10T04:17", 2) == local(odd, "2026-06-10T00:00", 2)


def test_rare_dates_are_found_and_impossible_ones_are_not_waited_for_in_vain() -> None:
    leap = cron("0 0 29 2 */6", "UTC")
    assert leap.next_after(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2032, 2, 29, tzinfo=UTC)
    assert leap.latest_at(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2020, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (1, "every minute"),
        (90, "every 90 minutes"),
        (120, "every 2 hours"),
        (1440, "every day"),
        (20160, "every 2 weeks"),
    ],
)
def test_words(minutes: int, words: str) -> None:
    assert every(minutes, "UTC").text == words
    assert cron("0  2 * * *", "UTC").text == "cron 0 2 * * *"


def test_jitter_is_always_the_same_and_spreads() -> None:
    schedule = Schedule.of(cron=None, interval_minutes=1440, timezone="UTC", jitter=timedelta(hours=1))
    slot = datetime(2026, 1, 9, tzinfo=UTC)
    starts = {name: schedule.start_of(slot, "host", name) for name in map(str, range(200))}
    assert starts == {name: schedule.start_of(slot, "host", name) for name in starts}
    assert all(slot <= start < slot + timedelta(hours=1) for start in starts.values())
    quarters = {int((start - slot) / timedelta(minutes=15)) for start in starts.values()}
    assert quarters == {0, 1, 2, 3}
    assert schedule.start_of(slot, "other", "1") != starts["1"]


# any schedule, over any clock change, against one who looks at the wall every minute

CHANGES = [
    ("America/Sao_Paulo", "2018-11-04T03:00"),
    ("America/Sao_Paulo", "2018-02-18T02:00"),
    ("America/Sao_Paulo", "2026-02-18T02:00"),
    ("Europe/Lisbon", "2026-03-29T01:00"),
    ("Europe/Lisbon", "2026-10-25T01:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Asia/Kathmandu", "2026-01-01T00:00"),
]


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high).map(str)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, max(high // 2, 1))).map("{0[0]}/{0[1]}".format)
    return st.one_of(st.just("*"), st.lists(st.one_of(one, span, stepped), min_size=1, max_size=3).map(",".join))


CRONS = st.tuples(numbers(0, 59), numbers(0, 23), st.one_of(st.just("*"), numbers(1, 28)), st.just("*"), numbers(0, 7))
RULES = st.one_of(CRONS.map(" ".join), st.integers(1, 4000))


def matches(rule: str | int, wall: datetime) -> bool:
    """What the fields say of one minute, worked out for itself."""
    if isinstance(rule, int):
        return (wall - datetime(2001, 1, 1)) // MINUTE % rule == 0
    minute, hour, day, month, weekday = rule.split()
    by_date = in_field(day, wall.day, 1, 31)
    by_weekday = in_field(weekday, wall.isoweekday() % 7, 0, 7) or in_field(weekday, wall.isoweekday() % 7 + 7, 0, 7)
    both = day[0] != "*" and weekday[0] != "*"
    return (
        in_field(minute, wall.minute, 0, 59)
        and in_field(hour, wall.hour, 0, 23)
        and in_field(month, wall.month, 1, 12)
        and ((by_date or by_weekday) if both else (by_date and by_weekday))
    )


def in_field(field: str, value: int, low: int, high: int) -> bool:
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        if begin <= value <= end and (value - begin) % int(step or 1) == 0:
            return True
    return False


def seen_on_the_wall(rule: str | int, zone: ZoneInfo, begin: datetime, minutes: int) -> list[datetime]:
    """Walk through time; what the wall shows for the first time, or has just leapt over, counts."""
    found = []
    latest = begin.astimezone(zone).replace(tzinfo=None)
    for number in range(1, minutes):
        moment = begin + number * MINUTE
        wall = moment.astimezone(zone).replace(tzinfo=None)
        passed = [latest + step * MINUTE for step in range(1, (wall - latest) // MINUTE + 1)]
        if any(matches(rule, each) for each in passed):
            found.append(moment)
        latest = max(latest, wall)
    return found


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(CHANGES), RULES)
def test_slots_are_what_a_watcher_of_the_wall_sees(change: tuple[str, str], rule: str | int) -> None:
    zone, at = change
    begin = datetime.fromisoformat(at).replace(tzinfo=UTC) - timedelta(hours=5)
    schedule = every(rule, zone) if isinstance(rule, int) else cron(rule, zone)
    minutes = 11 * 60
    expected = seen_on_the_wall(rule, schedule.zone, begin, minutes)
    end = begin + (minutes - 1) * MINUTE
    assert list(schedule.between(begin, end)) == expected
    for earlier, later in itertools.pairwise(expected):
        assert schedule.next_after(earlier) == later
        assert schedule.latest_at(later - MINUTE) == earlier
        assert schedule.latest_at(later) == later


@given(st.datetimes(datetime(2017, 1, 1), datetime(2027, 1, 1)), st.sampled_from([zone for zone, _ in CHANGES]))
def test_instants_never_decrease(wall: datetime, zone: str) -> None:
    place = ZoneInfo(zone)
    instants = [instant_of(wall + minutes * MINUTE, place) for minutes in range(0, 180, 7)]
    assert instants == sorted(instants)
