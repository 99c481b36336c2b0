"""Whether the installation does what it is there for, and if not, why: a verdict on facts, in words for people.

An objective that is missed degrades the installation; a server that is down does not, nor does a backup that failed
while the one before it is young enough. Nothing here asks a clock, a server or a disk.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

NAMES_SHOWN = 5
"""Names that one reason lists before it only counts."""

NOTIFICATIONS_LATE = timedelta(hours=1)
"""A mail that waits longer is stuck."""

RETENTION_LATE = timedelta(hours=48)
"""Retention runs daily: two days without are one missed run, and time to notice."""


class Objective(enum.StrEnum):
    """What may be missed."""

    WRITABLE = "writable"
    """Catalog and storage pass their checks."""
    FRESH = "fresh"
    """Each covered database has a complete backup that is young enough."""
    COVERED = "covered"
    """Each database of a server is backed up, or excluded by name."""
    RETENTION = "retention"
    """Old backups are cleaned up."""
    NOTIFIED = "notified"
    """Mails and other messages go out."""
    VERIFIED = "verified"
    """Each file was read again not too long ago."""
    AUDITED = "audited"
    """What happens is written to the audit."""
    MIRRORED = "mirrored"
    """Finished backups appear in the sync folder."""
    CONFIGURED = "configured"
    """The last reload of the configuration was not refused."""


@dataclass(frozen=True, slots=True)
class Protection:
    """A database that is ours to back up. ``newest``: the snapshot of its newest complete backup, if there is one.

    ``expected``: when a database without any should have its first one: the first slot since it is known.
    """

    instance: str
    database: str
    newest: datetime | None
    expected: datetime
    max_age: timedelta

    @property
    def due(self) -> datetime:
        """When the objective is missed, unless a backup comes before."""
        return (self.newest or self.expected) + self.max_age


@dataclass(frozen=True, slots=True)
class Duty:
    """Work that must come round. ``last``: when it was last done; before the first time, since when it is owed."""

    last: datetime
    within: timedelta

    def is_late(self, now: datetime) -> bool:
        """Whether it is overdue."""
        return now - self.last > self.within


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """What the verdict is made from. None: nothing to judge, since it is switched off or there is nothing yet.

    ``uncovered``: instance and name of databases that are neither backed up nor excluded. ``notification``: since when
    the longest waiting one waits. ``undelivered``: those given up lately. ``verification``: the file whose last reading
    is longest ago. ``troubles``: what failed its check, in words. ``failing``: what a part of the daemon fails at just
    now, in its own words.
    """

    protected: Sequence[Protection] = ()
    uncovered: Sequence[tuple[str, str]] = ()
    retention: Duty | None = None
    notification: datetime | None = None
    undelivered: int = 0
    verification: Duty | None = None
    troubles: Sequence[str] = ()
    failing: Sequence[tuple[Objective, str]] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """A missed objective. ``text`` says what, where and since when; ``count`` is how many databases, files or messages."""

    objective: Objective
    text: str
    count: int = 1


def judge(facts: HealthFacts, now: datetime) -> tuple[Reason, ...]:
    """Everything that is missed; nothing when all is well."""
    return (
        *(Reason(Objective.WRITABLE, trouble) for trouble in facts.troubles),
        *_stale(facts.protected, now),
        *_uncovered(facts.uncovered),
        *_retention(facts.retention, now),
        *_notifications(facts, now),
        *_verification(facts.verification, now),
        *(Reason(objective, text) for objective, text in facts.failing),
    )


def _stale(protected: Iterable[Protection], now: datetime) -> Iterator[Reason]:
    late: dict[tuple[str, bool, timedelta], list[Protection]] = {}
    for each in protected:
        if each.due < now:
            late.setdefault((each.instance, each.newest is not None, each.max_age), []).append(each)
    for (instance, had_one, max_age), found in late.items():
        worst = min(found, key=lambda each: each.due)
        names = _names(each.database for each in found)
        if had_one:
            text = (
                f"no complete backup of {names} younger than {span(max_age)}; the oldest is of {moment(worst.newest)}"
            )
        else:
            text = f"{names} never backed up, which should have been done by {moment(worst.due)}"
        yield Reason(Objective.FRESH, f"{instance}: {text}", len(found))


def _uncovered(databases: Iterable[tuple[str, str]]) -> Iterator[Reason]:
    by_instance: dict[str, list[str]] = {}
    for instance, database in databases:
        by_instance.setdefault(instance, []).append(database)
    for instance, names in by_instance.items():
        text = f"{instance}: {_names(names)} on the server, neither backed up nor excluded by the credentials file"
        yield Reason(Objective.COVERED, text, len(names))


def _retention(duty: Duty | None, now: datetime) -> Iterator[Reason]:
    if duty is not None and duty.is_late(now):
        yield Reason(Objective.RETENTION, f"retention has not run since {moment(duty.last)}: old backups pile up")


def _notifications(facts: HealthFacts, now: datetime) -> Iterator[Reason]:
    if facts.notification is not None and now - facts.notification > NOTIFICATIONS_LATE:
        text = f"notifications have been waiting to be sent since {moment(facts.notification)}"
        yield Reason(Objective.NOTIFIED, text)
    if facts.undelivered:
        what = "1 notification" if facts.undelivered == 1 else f"{facts.undelivered} notifications"
        text = (
            f"{what} of the last day could not be delivered and {'was' if facts.undelivered == 1 else 'were'} given up"
        )
        yield Reason(Objective.NOTIFIED, text, facts.undelivered)


def _verification(duty: Duty | None, now: datetime) -> Iterator[Reason]:
    if duty is not None and duty.is_late(now):
        text = f"a backup was last read again on {moment(duty.last)}, longer ago than {span(duty.within)}"
        yield Reason(Objective.VERIFIED, text)


def _names(databases: Iterable[str]) -> str:
    names = sorted(databases)
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def moment(at: datetime | None) -> str:
    """A time in a reason."""
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def span(length: timedelta) -> str:
    """A length of time in the largest unit that leaves a number to picture."""
    seconds = length.total_seconds()
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
