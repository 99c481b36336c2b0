"""Random histories of backups for retention, and an oracle that judges each backup by the words of the rules alone.

The oracle is as slow as it is plain: it looks at every other backup anew for each question, and shares no code and no
way of counting with the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal
from zoneinfo import ZoneInfo

from vya_backupd.model.backup import GLOBALS_NAME, BackupType, Hold, Outline
from vya_backupd.policy.retention import Rules, Terms

ZONES = [ZoneInfo(name) for name in ("America/Sao_Paulo", "Europe/Lisbon", "Australia/Lord_Howe", "UTC")]
HOST = "here"
_WRONG_YEARS = (1, 1970, 2000, 2038, 2099, 9999)


def history(random: Random) -> tuple[list[Outline], Terms]:
    """Some databases backed up for a while, by a machine whose clock, disks and people are what they are."""
    now = datetime(random.randint(2016, 2026), 1, 1, tzinfo=UTC) + timedelta(minutes=random.randrange(366 * 1440))
    rules = {instance: _rules(random) for instance in ("one", "two")}
    backups: list[Outline] = []
    for instance in random.choice((["one"], ["one"], ["one", "two"])):
        names = random.choice((["shop"], ["shop", "blog"], ["shop", GLOBALS_NAME], ["shop", "blog", GLOBALS_NAME]))
        every = timedelta(hours=random.choice((3, 24, 24, 24, 160, 700)))
        for run in range(random.randint(0, 9)):
            moment = now - every * run + timedelta(minutes=random.randint(-90, 90))
            if random.random() < 0.08:
                moment += timedelta(days=random.choice((-4000, -30, -1, 1, 2, 400)))
            if random.random() < 0.03:
                moment = moment.replace(year=random.choice(_WRONG_YEARS), month=random.choice((1, 12)), day=2)
            for name in names:
                if random.random() < 0.9:
                    backups.append(_backup(random, len(backups), instance, name, moment, run))
    random.shuffle(backups)
    in_use = {each.id: "in use" for each in backups if random.random() < 0.03}
    return backups, Terms(now, random.choice(ZONES), HOST, rules.__getitem__, in_use)


def _rules(random: Random) -> Rules:
    strategy: Literal["simple", "gfs"] = random.choice(("simple", "gfs", "gfs"))
    return Rules(
        strategy, random.randint(1, 5), random.randint(0, 4), random.choice((0, 1, 3, 12)), random.choice((1, 1, 2, 4))
    )


def _backup(random: Random, number: int, instance: str, name: str, moment: datetime, run: int) -> Outline:
    hold = None
    if random.random() < 0.08:
        length = random.choice((None, timedelta(days=1), timedelta(days=4000)))
        hold = Hold("note", "anna", moment, moment + length if length and moment.year < 9000 else None)
    return Outline(
        id=f"b{random.randrange(10**9):09}-{number}",
        path=f"{instance}/{name}/{number}",
        hostname="there" if random.random() < 0.06 else HOST,
        instance=instance,
        database=name,
        type=BackupType.GLOBALS if name == GLOBALS_NAME else BackupType.FULL,
        taken_at=moment if random.random() < 0.2 or moment.year > 9000 else moment + timedelta(seconds=number),
        size_bytes=1,
        complete=random.random() > 0.07,
        hold=hold,
        run=f"run-{run}" if random.random() < 0.8 else "",
    )


def keeps(backups: Sequence[Outline], terms: Terms) -> set[str]:
    """The ids of what the rules keep."""
    kept = {each.id for each in backups if _by_itself(each, terms) or _by_a_rule(each, backups, terms)}
    ours = [each for each in backups if each.hostname == terms.hostname]
    for database in [each for each in ours if each.type is BackupType.FULL and each.id in kept]:
        kept |= _companions(database, ours)
    return kept


def counted(backups: Sequence[Outline], terms: Terms, like: Outline) -> list[Outline]:
    """What counts for the rules in the database of this backup."""
    return [
        each
        for each in backups
        if each.complete
        and each.taken_at <= terms.now
        and each.hostname == terms.hostname
        and (each.instance, each.database) == (like.instance, like.database)
    ]


def _by_itself(backup: Outline, terms: Terms) -> bool:
    held = backup.hold is not None and (backup.hold.until is None or terms.now < backup.hold.until)
    foreign = backup.hostname != terms.hostname
    return held or foreign or backup.id in terms.in_use or not backup.complete or terms.now < backup.taken_at


def _by_a_rule(backup: Outline, backups: Sequence[Outline], terms: Terms) -> bool:
    others = counted(backups, terms, backup)
    if backup not in others:
        return False
    newer = [each for each in others if (each.taken_at, each.id) > (backup.taken_at, backup.id)]
    rules = terms.rules_of(backup.instance)
    if len(newer) < max(1, rules.minimum):
        return True
    if rules.strategy == "simple":
        return len(newer) < rules.daily

    def is_newest_of(period: Callable[[datetime], str], number: int) -> bool:
        later = {period(each.taken_at) for each in newer}
        return period(backup.taken_at) not in later and len(later) < number

    def local(moment: datetime) -> datetime:
        return moment.astimezone(terms.zone) if moment.year > 1 else moment

    return (
        is_newest_of(lambda moment: str(local(moment).date()), rules.daily)
        or is_newest_of(lambda moment: str(local(moment).isocalendar()[:2]), rules.weekly)
        or is_newest_of(lambda moment: str((local(moment).year, local(moment).month)), rules.monthly)
    )


def _companions(database: Outline, ours: Sequence[Outline]) -> set[str]:
    """The globals that a database's backup would be restored with."""
    there = [
        each
        for each in ours
        if each.type is BackupType.GLOBALS and each.complete and each.instance == database.instance
    ]
    same_run = {each.id for each in there if each.run == database.run != ""}
    if same_run or not there:
        return same_run
    distance = min(abs(each.taken_at - database.taken_at) for each in there)
    nearest = [each for each in there if abs(each.taken_at - database.taken_at) == distance]
    older = min(each.taken_at for each in nearest)
    return {max(each.id for each in nearest if each.taken_at == older)}
