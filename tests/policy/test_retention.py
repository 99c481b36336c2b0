"""Which backups stay, in golden tables, over ten thousand random histories, and over years of nights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.policy.histories import HOST, ZONES, counted, history, keeps
from vya_backupd.model.backup import GLOBALS_NAME, BackupType, Hold, Outline
from vya_backupd.policy.retention import Rules, Terms, Verdict, decide

HISTORIES = 10_000
SAO_PAULO = ZoneInfo("America/Sao_Paulo")

GOLDEN = {
    "the newest of each day, week and month that has one; one backup fills several": """
        gfs daily=3 weekly=2 monthly=3 now=2026-03-05T12:00
        shop 2026-03-05T02:00 keep: newest complete backup; daily 2026-03-05; weekly 2026-W10; monthly 2026-03
        shop 2026-03-04T23:00 keep: daily 2026-03-04
        shop 2026-03-04T02:00 expire: daily: 2026-03-04 has a newer one; weekly: 2026-W10 has a newer one; monthly: 2026-03 has a newer one
        shop 2026-03-02T02:00 keep: daily 2026-03-02
        shop 2026-03-01T02:00 keep: weekly 2026-W09
        shop 2026-02-27T02:00 keep: monthly 2026-02
        shop 2026-02-20T02:00 expire: daily: 2026-02-20 is before the last 3 days that have one; weekly: 2026-W08 is before the last 2 weeks that have one; monthly: 2026-02 has a newer one
        shop 2025-06-30T02:00 keep: monthly 2025-06
        shop 2025-05-31T02:00 expire: daily: 2025-05-31 is before the last 3 days that have one; weekly: 2025-W22 is before the last 2 weeks that have one; monthly: 2025-05 is before the last 3 months that have one
    """,
    "simple keeps the newest, whenever they were made": """
        simple daily=2 weekly=0 monthly=0 now=2026-03-05T12:00
        shop 2026-03-05T02:00 keep: newest complete backup; newest 1 of 2
        shop 2024-01-01T02:00 keep: newest 2 of 2
        shop 2023-12-31T02:00 expire: 2 newer ones stay
        blog 2019-01-01T02:00 keep: newest complete backup; newest 1 of 2
    """,
    "minimum_keep holds against the rules": """
        gfs daily=1 weekly=0 monthly=0 minimum=3 now=2026-03-05T12:00
        shop 2026-03-05T04:00 keep: newest complete backup; daily 2026-03-05
        shop 2026-03-05T03:00 keep: minimum_keep: 2 of 3
        shop 2026-03-05T02:00 keep: minimum_keep: 3 of 3
        shop 2026-03-05T01:00 expire: daily: 2026-03-05 has a newer one; weekly: 2026-W10 is before the last 0 weeks that have one; monthly: 2026-03 is before the last 0 months that have one
    """,
    "days are those of the time zone": """
        gfs daily=2 weekly=0 monthly=0 now=2026-03-05T12:00 zone=America/Sao_Paulo
        shop 2026-03-05T02:59 keep: newest complete backup; daily 2026-03-04
        shop 2026-03-04T03:00 expire: daily: 2026-03-04 has a newer one; weekly: 2026-W10 is before the last 0 weeks that have one; monthly: 2026-03 is before the last 0 months that have one
        shop 2026-03-04T02:59 keep: daily 2026-03-03
    """,
    "the first days of a year may belong to the last week of the one before": """
        gfs daily=1 weekly=2 monthly=0 now=2027-01-04T12:00
        shop 2027-01-04T02:00 keep: newest complete backup; daily 2027-01-04; weekly 2027-W01
        shop 2027-01-03T02:00 keep: weekly 2026-W53
        shop 2026-12-28T02:00 expire: daily: 2026-12-28 is before the last 1 days that have one; weekly: 2026-W53 has a newer one; monthly: 2026-12 is before the last 0 months that have one
    """,
    "what was taken in the future takes nobody's place, and stays": """
        simple daily=1 weekly=0 monthly=0 now=2026-03-05T12:00
        shop 2099-01-01T02:00 keep: taken in the future, at 2099-01-01 02:00: a clock was wrong
        shop 2026-03-05T02:00 keep: newest complete backup; newest 1 of 1
        shop 2026-03-04T02:00 expire: 1 newer ones stay
    """,
    "holds, use, other hosts, and what is not complete": """
        simple daily=1 weekly=0 monthly=0 now=2026-03-05T12:00
        shop 2026-03-05T03:00 incomplete keep: not complete: counts for nothing, and is left for a person to judge
        shop 2026-03-05T02:00 keep: newest complete backup; newest 1 of 1
        shop 2026-03-04T02:00 in-use keep: in use: verify x runs
        shop 2026-03-03T02:00 held keep: held by anna: audit
        shop 2026-03-02T02:00 held=2026-04-01T00:00 keep: held by anna until 2026-04-01 00:00: audit
        shop 2026-03-01T02:00 held=2026-03-05T12:00 expire: 1 newer ones stay; the hold by anna has ended
        shop 2026-02-28T02:00 host=there keep: belongs to host there
    """,
    "globals stay with their run, or else the nearest do": """
        simple daily=1 weekly=0 monthly=0 now=2026-03-05T12:00
        blog 2026-02-01T02:00 run=a keep: newest complete backup; newest 1 of 1
        shop 2026-03-05T02:00 run=d keep: newest complete backup; newest 1 of 1
        shop 2026-02-20T02:00 held keep: held by anna: audit
        @globals 2026-03-05T02:05 run=d keep: newest complete backup; newest 1 of 1; goes with shop of 2026-03-05 02:00
        @globals 2026-02-27T02:00 run=c expire: 1 newer ones stay
        @globals 2026-02-19T02:00 run=b keep: goes with shop of 2026-02-20 02:00
        @globals 2026-02-01T02:05 run=a keep: goes with blog of 2026-02-01 02:00
        @globals 2026-01-31T02:05 expire: 1 newer ones stay
    """,
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    head, *lines = [line.strip() for line in GOLDEN[name].strip().splitlines()]
    options = dict(word.partition("=")[::2] for word in head.split())
    rows = [_row(number, line) for number, line in enumerate(lines)]
    number = {key: int(options[key]) for key in ("daily", "weekly", "monthly", "minimum") if key in options}
    rules = Rules("gfs" if "gfs" in options else "simple", **number)
    in_use = {each.id: "in use: verify x runs" for each, line in zip(rows, lines, strict=True) if "in-use" in line}
    zone = ZoneInfo(options.get("zone", "UTC"))
    verdicts = {
        each.backup.id: each for each in decide(rows, Terms(_utc(options["now"]), zone, HOST, lambda _: rules, in_use))
    }
    shown = [
        re.sub(r"(keep|expire): .*", "", line) + _shown(verdicts[row.id]) for row, line in zip(rows, lines, strict=True)
    ]
    assert shown == lines


def _row(number: int, line: str) -> Outline:
    words = re.split(r" (?=keep:|expire:)", line)[0].split()
    options = dict(word.partition("=")[::2] for word in words[2:])
    hold = None
    if "held" in options:
        hold = Hold("audit", "anna", _utc(words[1]), _utc(options["held"]) if options["held"] else None)
    return backup(
        f"b{number}",
        words[0],
        _utc(words[1]),
        hostname=options.get("host", HOST),
        complete="incomplete" not in options,
        hold=hold,
        run=options.get("run", ""),
    )


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _shown(verdict: Verdict) -> str:
    return f"{'keep' if verdict.keep else 'expire'}: {'; '.join(verdict.reasons)}"


def backup(backup_id: str, database: str, taken_at: datetime, **changes: Any) -> Outline:
    kind = BackupType.GLOBALS if database == GLOBALS_NAME else BackupType.FULL
    fields: dict[str, Any] = {"hostname": HOST, "instance": "one", "size_bytes": 1}
    return Outline(id=backup_id, path=backup_id, database=database, type=kind, taken_at=taken_at, **fields | changes)


@pytest.mark.parametrize("seed", range(10))
def test_random_histories_are_judged_as_the_rules_say(seed: int) -> None:
    random = Random(seed)
    expired = 0
    for _ in range(HISTORIES // 10):
        backups, terms = history(random)
        verdicts = decide(backups, terms)
        stay = {each.backup.id for each in verdicts if each.keep}
        assert stay == keeps(backups, terms), (terms, backups)
        assert sorted(each.backup.id for each in verdicts) == sorted(each.id for each in backups)
        assert all(each.reasons for each in verdicts)
        expired += len(backups) - len(stay)
        _is_safe(backups, stay, terms)
    assert expired > HISTORIES // 10


def _is_safe(backups: Sequence[Outline], stay: set[str], terms: Terms) -> None:
    """What no rule may ever break, said once more without rules; and that a second run expires nothing."""
    left = [each for each in backups if each.id in stay]
    assert all(each.keep for each in decide(left, terms))
    for each in backups:
        alike = counted(backups, terms, each)
        newest = sorted(alike, key=lambda one: (one.taken_at, one.id))[-1:]
        assert {one.id for one in newest} <= stay
        least = min(len(alike), terms.rules_of(each.instance).minimum)
        assert len({one.id for one in alike} & stay) >= least
        if each.hostname != HOST or each.id in terms.in_use or each.taken_at > terms.now:
            assert each.id in stay


def test_the_order_in_which_backups_are_listed_is_of_no_matter() -> None:
    random = Random(11)
    for _ in range(200):
        backups, terms = history(random)
        verdicts = decide(backups, terms)
        random.shuffle(backups)
        assert decide(backups, terms) == verdicts


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_years_of_nights_end_with_as_many_backups_as_the_rules_have_places(zone: ZoneInfo) -> None:
    rules = Rules("gfs", 7, 4, 12)
    night = datetime(2017, 1, 1, 5, tzinfo=UTC)
    left: list[Outline] = []
    for number in range(800):
        now = night + timedelta(days=number)
        left.append(backup(f"b{number:04}", "shop", now))
        verdicts = decide(left, Terms(now + timedelta(minutes=5), zone, HOST, lambda _: rules))
        left = [each.backup for each in verdicts if each.keep]
    days = sorted((each.taken_at.astimezone(zone).date() for each in left), reverse=True)
    assert [(days[0] - day).days for day in days[:7]] == list(range(7))
    assert len({(day.year, day.month) for day in days}) == 12
    assert 7 + 2 + 10 <= len(left) <= 7 + 4 + 12


def test_a_clock_that_jumps_to_another_year_and_back_costs_no_more_than_a_night() -> None:
    rules = Rules("simple", 3)

    def terms(now: datetime) -> Terms:
        return Terms(now, SAO_PAULO, HOST, lambda _: rules)

    nights = [datetime(2026, 3, day, 5, tzinfo=UTC) for day in range(1, 4)]
    good = [backup(f"b{number}", "shop", night) for number, night in enumerate(nights)]
    for wrong in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)):
        strange = backup("strange", "shop", wrong)
        there = decide([*good, strange], terms(wrong + timedelta(minutes=1)))
        assert {each.backup.id for each in there if not each.keep} <= {"b0"}
        back = decide([*good, strange], terms(nights[-1] + timedelta(hours=1)))
        assert {each.id for each in good} <= {each.backup.id for each in back if each.keep}


def test_a_database_that_is_backed_up_no_more_keeps_what_it_has() -> None:
    rules = Rules("gfs", 7, 4, 12)
    old = [backup(f"b{day}", "gone", datetime(2010, 1, day, tzinfo=UTC)) for day in range(1, 8)]
    terms = Terms(datetime(2026, 1, 1, tzinfo=UTC), SAO_PAULO, HOST, lambda _: rules)
    assert all(each.keep for each in decide(old, terms))
