"""The verdict on an installation: each objective alone, at its edge, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.policy.health import (
    NAMES_SHOWN,
    NOTIFICATIONS_LATE,
    Duty,
    HealthFacts,
    Objective,
    Protection,
    judge,
    span,
)

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)


def protection(database: str = "shop", newest: datetime | None = NOW, expected: datetime = NOW) -> Protection:
    return Protection("pg", database, newest, expected, DAY)


def objectives(facts: HealthFacts, now: datetime = NOW) -> list[Objective]:
    return [reason.objective for reason in judge(facts, now)]


def test_nothing_to_do_is_healthy() -> None:
    assert judge(HealthFacts(), NOW) == ()


def test_a_backup_is_young_enough_to_the_end_of_its_age() -> None:
    facts = HealthFacts([protection(newest=NOW - DAY)])
    assert judge(facts, NOW) == ()
    (reason,) = judge(facts, NOW + MOMENT)
    assert reason.objective is Objective.FRESH
    assert "pg" in reason.text
    assert "shop" in reason.text
    assert "24 hours" in reason.text
    assert "2026-01-08 12:00 UTC" in reason.text


def test_a_database_without_a_backup_is_late_after_its_first_slot_and_the_age() -> None:
    facts = HealthFacts([protection(newest=None, expected=NOW)])
    assert judge(facts, NOW + DAY) == ()
    (reason,) = judge(facts, NOW + DAY + MOMENT)
    assert "never backed up" in reason.text
    assert reason.count == 1


def test_late_databases_of_one_instance_are_one_reason_that_stays_short() -> None:
    late = [protection(f"db{number:02}", NOW - 2 * DAY) for number in range(40)]
    never = [protection("new", None, NOW - 2 * DAY)]
    other = [replace(protection("x", NOW - 3 * DAY), instance="mysql")]
    reasons = judge(HealthFacts([*late, *never, *other]), NOW)
    assert [(reason.objective, reason.count) for reason in reasons] == [(Objective.FRESH, n) for n in (40, 1, 1)]
    assert f"db00, db01, db02, db03, db04 and {40 - NAMES_SHOWN} more" in reasons[0].text
    assert all(len(reason.text) < 200 for reason in reasons)


def test_what_nobody_backs_up_is_named() -> None:
    (reason,) = judge(HealthFacts(uncovered=[("pg", "b"), ("pg", "a")]), NOW)
    assert reason.objective is Objective.COVERED
    assert reason.count == 2
    assert "pg: a, b " in reason.text


@pytest.mark.parametrize(
    ("facts", "objective", "late_at"),
    [
        (HealthFacts(retention=Duty(NOW, 2 * DAY)), Objective.RETENTION, NOW + 2 * DAY),
        (HealthFacts(verification=Duty(NOW, 30 * DAY)), Objective.VERIFIED, NOW + 30 * DAY),
        (HealthFacts(notification=NOW), Objective.NOTIFIED, NOW + NOTIFICATIONS_LATE),
    ],
)
def test_a_duty_is_late_after_its_time(facts: HealthFacts, objective: Objective, late_at: datetime) -> None:
    assert objectives(facts, late_at) == []
    assert objectives(facts, late_at + MOMENT) == [objective]


def test_given_up_messages_and_failed_checks_count_at_once() -> None:
    assert objectives(HealthFacts(undelivered=2)) == [Objective.NOTIFIED]
    (reason,) = judge(HealthFacts(troubles=["disk_full: no space"]), NOW)
    assert (reason.objective, reason.text) == (Objective.WRITABLE, "disk_full: no space")


ages = st.integers(0, 5000).map(lambda minutes: timedelta(minutes=minutes))


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.none() | ages, ages, ages.filter(bool))))
def test_every_late_database_is_counted_once(rows: list[tuple[str, timedelta | None, timedelta, timedelta]]) -> None:
    protected = [
        Protection(instance, f"d{number}", None if age is None else NOW - age, NOW - known, max_age)
        for number, (instance, age, known, max_age) in enumerate(rows)
    ]
    late = sum((known if age is None else age) > max_age for _, age, known, max_age in rows)
    assert sum(reason.count for reason in judge(HealthFacts(protected), NOW)) == late


def test_what_was_given_up_is_said_in_one_or_many() -> None:
    texts = [judge(HealthFacts(undelivered=number), NOW)[0].text for number in (1, 2)]
    assert texts == [
        "1 notification of the last day could not be delivered and was given up",
        "2 notifications of the last day could not be delivered and were given up",
    ]


def test_spans_are_said_in_units_people_use() -> None:
    hour = timedelta(hours=1)
    texts = [span(each) for each in (36 * hour, 48 * hour, 30 * DAY, 90 * timedelta(seconds=60), timedelta(seconds=5))]
    assert texts == ["36 hours", "2 days", "30 days", "90 minutes", "5 seconds"]


def test_what_a_part_fails_at_is_missed_in_its_words() -> None:
    facts = HealthFacts(failing=[(Objective.AUDITED, "no space left"), (Objective.MIRRORED, "no such folder")])
    assert [(each.objective, each.text, each.count) for each in judge(facts, NOW)] == [
        (Objective.AUDITED, "no space left", 1),
        (Objective.MIRRORED, "no such folder", 1),
    ]
