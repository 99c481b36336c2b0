"""What people write into settings and commands: schedules, durations, hours, rates, names of files."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.fuzz.target import Target
from vya_backupd.config.fields import duration, duration_text
from vya_backupd.errors import UsageError
from vya_backupd.model.backup import GLOBALS_NAME, BackupType
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.requests import parse_moment
from vya_backupd.policy.blackout import Blackout, calendar_of, parse_days, parse_hours
from vya_backupd.policy.cron import parse_cron
from vya_backupd.policy.limits import parse_rate
from vya_backupd.policy.naming import Naming, Subject
from vya_backupd.policy.schedule import Schedule

MOMENT = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
_ZONES = ("UTC", "America/Sao_Paulo", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")
_DAYS = [date(2027, 12, 25) + timedelta(days=number) for number in range(70)]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _cron(data: bytes) -> None:
    """An expression is refused, or means what cron's own manual says, day by day; and its next slot is found."""
    zone, expression = _ZONES[data[0] % len(_ZONES)] if data else "UTC", _text(data[1:])
    try:
        cron = parse_cron(expression)
    except ValueError:
        return
    schedule = Schedule.of(cron=expression, interval_minutes=1440, timezone=zone)
    found = schedule.next_after(MOMENT)
    assert found is None or found > MOMENT
    if found is not None:
        local = found.astimezone(ZoneInfo(zone))
        assert schedule.latest_at(found) == found
        assert cron.on(local.date()) or cron.on(local.date() - timedelta(days=1))
    minutes, hours, days, months, weekdays = (
        _members(field, first) for field, first in zip(expression.lower().split(), (0, 0, 1, 1, 0), strict=True)
    )
    assert list(cron.minutes) == [60 * h + m for h in range(24) if hours(h) for m in range(60) if minutes(m)]
    either = not any(expression.split()[place].startswith("*") for place in (2, 4))
    for day in _DAYS:
        weekday = day.isoweekday() % 7
        fits = (days(day.day), weekdays(weekday) or (weekday == 0 and weekdays(7)))
        assert cron.on(day) == (months(day.month) and (any(fits) if either else all(fits))), day


_WORDS = {
    word: number
    for words, first in (("jan feb mar apr may jun jul aug sep oct nov dec", 1), ("sun mon tue wed thu fri sat", 0))
    for number, word in enumerate(words.split(), first)
}


def _members(field: str, first: int) -> Callable[[int], bool]:
    """Whether a number is meant, reckoned in another way than the product does. ``first``: what a star begins with."""

    def number(text: str) -> int:
        return _WORDS[text] if text in _WORDS else int(text)

    def fits(value: int) -> bool:
        for part in field.split(","):
            span, _, step = part.partition("/")
            if span == "*":
                if not step or (value - first) % int(step) == 0:
                    return True
                continue
            low, dash, high = span.partition("-")
            top = number(high) if dash else (1 << 30 if step else number(low))
            if number(low) <= value <= top and (value - number(low)) % int(step or 1) == 0:
                return True
        return False

    return fits


def _settings(data: bytes) -> None:
    """Words of settings are refused by ValueError, or are read back from what they are shown as."""
    text = _text(data)
    try:
        found = duration(text)
    except ValueError:
        pass
    else:
        assert duration(duration_text(found)) == found
    for parse in (parse_rate, parse_days):
        with contextlib.suppress(ValueError):
            assert parse(text)
    try:
        begin, end = parse_hours(text)
    except ValueError:
        pass
    else:
        calendar = calendar_of("Europe/Berlin", [Blackout(frozenset(range(7)), begin, end)], "any")
        assert calendar.opens(MOMENT) >= MOMENT
    with contextlib.suppress(UsageError):
        assert parse_moment(text, UTC).tzinfo is not None


_ENGINES, _TYPES = list(EngineKind), list(BackupType)


def _naming(data: bytes) -> None:
    """Templates are refused, or give every subject a path that is safe, and from which it is read back."""
    shape, rest = data[:2].ljust(2, b"\0"), _text(data[2:])
    structure, pattern, moment_format, *names = (rest + "\n" * 5).split("\n")[:6]
    try:
        naming = Naming(structure, pattern, moment_format, ZoneInfo(_ZONES[shape[0] % len(_ZONES)]))
    except ValueError:
        return
    for text in names:
        naming.parse(text)
    host, instance, database = (name or "x" for name in names)
    engine, kind = _ENGINES[shape[0] % len(_ENGINES)], _TYPES[shape[1] % len(_TYPES)]
    database = GLOBALS_NAME if kind is BackupType.GLOBALS else database
    moment = MOMENT + timedelta(hours=977 * shape[1])
    path = naming.path(Subject(host, instance, database, engine, kind, moment), list(FileCodec)[shape[1] % 2])
    _check_safe(path)
    found = naming.parse(path)
    assert found is not None, path
    assert found.number == 1
    shortened = "~" in path
    for had, wanted in ((found.hostname, host), (found.instance, instance), (found.database, database)):
        assert had == wanted or had is None or (shortened and had is None), (had, wanted)
    assert found.engine in (None, engine)
    assert found.type in (None, kind)


def _check_safe(path: str) -> None:
    parts = path.split("/")
    assert all(part and part[0] not in ".-" and len(part.encode()) <= 255 for part in parts), path
    assert not any(unicodedata.category(char)[0] in "CZ" for char in path), path


_TEMPLATES = (
    ("{hostname}/{db_id}/{db_name}/{date}", "{db_name}_{datetime}_{type}.sql.gz", "%Y%m%d_%H%M%S"),
    ("{date}-{engine}-{hostname}-{db_name}", "{db_name}_{datetime}_{type}.sql.gz", "%Y%m%d_%H%M%S"),
    ("{db_id}", "{hostname}+{db_name}@{datetime}.gz", "%Y-%j"),
)
_NAMES = (
    b"db-01",
    b"prod\npg\nshop",
    b"a_2",
    b"%40globals",
    b"@globals",
    b"~0123456789abcdef",
    b"e\xcc\x81",
    b"x" * 300,
    b"\xff",
)


def _naming_seeds() -> list[bytes]:
    return [
        bytes((n, n)) + "\n".join((*texts, "db-01", "prod-pg", "shop")).encode() for n, texts in enumerate(_TEMPLATES)
    ]


TARGETS = (
    Target(
        "cron",
        _cron,
        lambda: [
            b"\0" + text
            for text in (b"0 2 * * *", b"*/20 9-17/4 1,15 jan-dec mon-fri", b"5/20 0 29 2 7", b"0 0 31 * */2")
        ],
        (
            b"*",
            b"*/",
            b",",
            b"-",
            b"/",
            b" ",
            b"7",
            b"59",
            b"0",
            b"sun",
            b"SAT",
            b"feb",
            b"31",
            b"9" * 30,
            b"\xd9\xa3",
            b"\xc2\xb2",
        ),
        examples=500,
    ),
    Target(
        "settings",
        _settings,
        lambda: [
            b"1h30m",
            b"90",
            b"2.5d",
            b"20MiB/s",
            b"500k",
            b"mon-fri,sun",
            b"22:00-06:00",
            b"2026-01-09 10:00:00+03:00",
        ],
        (
            b"w",
            b"ms",
            b"9" * 400,
            b"e9",
            b".",
            b"-",
            b":",
            b"24:00",
            b"\xd9\xa3",
            b"\0",
            b"0001-01-01",
            b"9999-12-31T23:59:59",
        ),
        examples=600,
    ),
    Target(
        "naming",
        _naming,
        _naming_seeds,
        (*_NAMES, b"{db_name}", b"{type}", b"{", b"%j", b"%Y", b".sql.gz", b"..", b"/"),
        examples=400,
    ),
)
