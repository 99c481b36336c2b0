"""Which backups stay and which expire, and why: a pure decision about a list of outlines.

What the rules count, and in which order:

* Databases are judged one by one, and only by the backups of this site's own host. Another host's files stay, always.
* Only complete backups count, newest snapshot first; of two at the same moment the higher id is the newer one.
* Nothing is ever too old: a rule keeps the last N days *that have a backup*. A database that is backed up no more keeps
  what it has, and a clock that jumped ahead by years makes nothing expire.
* A snapshot that lies in the future of ``now`` was taken while a clock was wrong. It fills no place of a rule, since it
  would push out good backups, and it stays, since it may be the only good one; a person decides about it.
* Users and grants are judged like a database of their own. Beyond that, each backup of a database that stays keeps the
  globals that belong to it: those of the same run, or where its run has none, the nearest in time.

Each of these sets of what is kept is found from what is kept alone, so a second run expires nothing more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from operator import attrgetter, itemgetter
from typing import Literal, NamedTuple

from vya_backupd.model.backup import BackupType, Hold, Outline

LAST_SUCCESS = "retention.last_success"
"""The mark of the catalog that says when the rules were last applied to all instances, without any failure."""
SINCE = "retention.since"
"""The mark that says since when this catalog is looked after: a new one is not overdue on its first day."""

_BY_AGE = attrgetter("taken_at", "id")


@dataclass(frozen=True, slots=True)
class Rules:
    """How much of one instance stays: numbers of backups (``simple``), or of days, weeks and months (``gfs``)."""

    strategy: Literal["simple", "gfs"] = "gfs"
    daily: int = 7
    weekly: int = 4
    monthly: int = 12
    minimum: int = 1


@dataclass(frozen=True, slots=True)
class Terms:
    """What a decision depends on besides the backups.

    ``zone`` is where days, ISO weeks and months begin; ``hostname`` is this site's; ``in_use`` says of a backup's id
    why it cannot go now.
    """

    now: datetime
    zone: tzinfo
    hostname: str
    rules_of: Callable[[str], Rules]
    in_use: Mapping[str, str] = field(default_factory=dict)


class Verdict(NamedTuple):
    """What becomes of one backup: every reason for which it stays, or why no rule keeps it."""

    backup: Outline
    keep: bool
    reasons: tuple[str, ...]


@dataclass(slots=True)
class _Case:
    """One backup while it is judged."""

    backup: Outline
    keep: tuple[str, ...] = ()
    against: tuple[str, ...] = ()

    def verdict(self, now: datetime) -> Verdict:
        """What has come of it."""
        hold, reasons = self.backup.hold, self.keep or self.against
        if hold is not None and not is_held(hold, now):
            reasons += (f"the hold by {hold.by} has ended",)
        return Verdict(self.backup, bool(self.keep), reasons)


def is_held(hold: Hold | None, now: datetime) -> bool:
    """Whether a hold protects its backup now: there is one, and it has not ended."""
    return hold is not None and (hold.until is None or hold.until > now)


def decide(backups: Iterable[Outline], terms: Terms) -> list[Verdict]:
    """A verdict on each backup, by instance and database, newest first."""
    places: dict[tuple[str, str, str], list[Outline]] = defaultdict(list)
    for backup in backups:
        places[backup.instance, backup.database, backup.hostname].append(backup)
    cases: list[_Case] = []
    ours: dict[str, list[_Case]] = defaultdict(list)
    calendar = _Calendar(terms.zone)
    for (instance, _, hostname), found in sorted(places.items(), key=itemgetter(0)):
        found.sort(key=_BY_AGE, reverse=True)
        group = [_Case(backup) for backup in found]
        cases += group
        is_ours = hostname == terms.hostname
        for case in group:
            if not (is_ours and _is_usual(case.backup, terms)):
                _consider_alone(case, terms)
        if is_ours:
            ours[instance] += group
            counted = [case for case in group if case.backup.complete and case.backup.taken_at <= terms.now]
            _apply_rules(counted, terms.rules_of(instance), calendar)
    for group in ours.values():
        _keep_globals(group, terms.zone)
    return [case.verdict(terms.now) for case in cases]


def _is_usual(backup: Outline, terms: Terms) -> bool:
    """Whether a backup of this host has no reason of its own: most have none, and there are very many."""
    return backup.hold is None and backup.complete and backup.taken_at <= terms.now and backup.id not in terms.in_use


def _consider_alone(case: _Case, terms: Terms) -> None:
    """The reasons that need no other backup."""
    backup = case.backup
    if backup.hostname != terms.hostname:
        case.keep += (f"belongs to host {backup.hostname}",)
    if backup.hold is not None and is_held(backup.hold, terms.now):
        until = f" until {_shown(backup.hold.until, terms.zone)}" if backup.hold.until else ""
        case.keep += (f"held by {backup.hold.by}{until}: {backup.hold.note or 'no note'}",)
    if backup.id in terms.in_use:
        case.keep += (terms.in_use[backup.id],)
    if not backup.complete:
        case.keep += ("not complete: counts for nothing, and is left for a person to judge",)
    if backup.taken_at > terms.now:
        case.keep += (f"taken in the future, at {_shown(backup.taken_at, terms.zone)}: a clock was wrong",)


def _apply_rules(counted: Sequence[_Case], rules: Rules, calendar: _Calendar) -> None:
    """``counted``: the complete backups of one database, newest first."""
    for case in counted[:1]:
        case.keep += ("newest complete backup",)
    for number, case in enumerate(counted[1 : rules.minimum], 2):
        case.keep += (f"minimum_keep: {number} of {rules.minimum}",)
    if rules.strategy == "simple":
        _keep_newest(counted, rules.daily)
        return
    if not counted:
        return
    days, weeks, months = zip(*(calendar.periods(case.backup.taken_at) for case in counted), strict=True)
    _fill(counted, days, rules.daily)
    _fill(counted, weeks, rules.weekly)
    _fill(counted, months, rules.monthly)


def _keep_newest(counted: Sequence[_Case], number: int) -> None:
    for place, case in enumerate(counted, 1):
        if place <= number:
            case.keep += (f"newest {place} of {number}",)
        else:
            case.against += (f"{number} newer ones stay",)


def _fill(counted: Sequence[_Case], periods: Sequence[_Period], number: int) -> None:
    """Keep the newest backup of each of the last ``number`` periods that have one."""
    filled: set[_Period] = set()
    for case, period in zip(counted, periods, strict=True):
        if period in filled:
            case.against += period.taken
        elif len(filled) < number:
            filled.add(period)
            case.keep += period.filled
        else:
            case.against += period.before(number)


def _keep_globals(cases: Sequence[_Case], zone: tzinfo) -> None:
    """Give each database backup that stays the globals it would be restored with. ``cases``: one instance's."""
    globals_ = [case for case in cases if case.backup.type is BackupType.GLOBALS and case.backup.complete]
    by_time = {case.backup.taken_at: case for case in reversed(globals_)}
    moments = sorted(by_time)
    of_run: dict[str, list[_Case]] = defaultdict(list)
    for case in globals_:
        if case.backup.run:
            of_run[case.backup.run].append(case)
    told: set[str] = set()
    for case in cases:
        if not case.keep or case.backup.type is BackupType.GLOBALS:
            continue
        for companion in of_run.get(case.backup.run) or _nearest(case.backup.taken_at, by_time, moments):
            if companion.backup.id not in told:
                told.add(companion.backup.id)
                when = _shown(case.backup.taken_at, zone)
                companion.keep += (f"goes with {case.backup.database} of {when}",)


def _nearest(moment: datetime, by_time: Mapping[datetime, _Case], moments: Sequence[datetime]) -> list[_Case]:
    """The globals nearest to a moment; of two as near, the older."""
    place = bisect_left(moments, moment)
    around = moments[max(place - 1, 0) : place + 1]
    return [by_time[min(around, key=lambda each: abs(each - moment))]] if around else []


class _Period:
    """A day, week or month, and what is said of a backup that lies in it: each sentence is made once for very many."""

    __slots__ = ("_before", "_name", "_plural", "_rule", "filled", "taken")

    def __init__(self, name: str, rule: str, plural: str) -> None:
        self._name, self._rule, self._plural = name, rule, plural
        self.filled = (f"{rule} {name}",)
        self.taken = (f"{rule}: {name} has a newer one",)
        self._before: dict[int, tuple[str]] = {}

    def before(self, number: int) -> tuple[str]:
        """Against a backup that is older than the last ``number`` periods that have one."""
        if number not in self._before:
            text = f"{self._rule}: {self._name} is before the last {number} {self._plural} that have one"
            self._before[number] = (text,)
        return self._before[number]


class _Calendar:
    """Local days, each with its week and month: a hundred thousand backups lie on some hundred days."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._known: dict[str, _Period] = {}
        self._days: dict[date, tuple[_Period, _Period, _Period]] = {}

    def periods(self, moment: datetime) -> tuple[_Period, _Period, _Period]:
        """Day, ISO week and month of a moment."""
        try:
            day = moment.astimezone(self._zone).date()
        except (OverflowError, ValueError):  # at the very ends of the calendar there is no local time
            day = moment.date()
        found = self._days.get(day)
        if found is None:
            of_day = self._period(day.isoformat(), "daily", "days")
            of_week = self._period(_week(day), "weekly", "weeks")
            of_month = self._period(f"{day.year:04}-{day.month:02}", "monthly", "months")
            found = self._days[day] = (of_day, of_week, of_month)
        return found

    def _period(self, name: str, rule: str, plural: str) -> _Period:
        return self._known.setdefault(name, _Period(name, rule, plural))


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year:04}-W{week:02}"


def _shown(moment: datetime, zone: tzinfo) -> str:
    try:
        local = moment.astimezone(zone)
    except (OverflowError, ValueError):
        local = moment
    return f"{local:%Y-%m-%d %H:%M}"
