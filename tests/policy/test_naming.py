"""Paths of backups: safe, distinct, and read back, for any name that a server can have."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vya_backupd.model.backup import GLOBALS_NAME, BackupType
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.model.instance import EngineKind
from vya_backupd.policy import encoding
from vya_backupd.policy.naming import Naming, Subject, check_pattern, check_structure, data_suffixes, numbered

ZONE = ZoneInfo("America/Sao_Paulo")
STRUCTURE = "{hostname}/{db_id}/{db_name}/{date}"
PATTERN = "{db_name}_{datetime}_{type}.sql.gz"
FORMAT = "%Y%m%d_%H%M%S"
MOMENT = datetime(2026, 1, 9, 5, 0, tzinfo=UTC)

TEMPLATES = [
    (STRUCTURE, PATTERN, FORMAT),
    ("{date}-{engine}-{hostname}-{db_name}", PATTERN, FORMAT),
    ("{type}/{db_id}.{hostname}_{db_name}", "{datetime}-{db_id}-{db_name}.gz", "%Y.%j-%H%M%S"),
    ("flat", "{hostname}={db_id}={type}={db_name}={date}.sql.gz", "%d_%m_%Y"),
    ("x/{engine}{db_name}", "{db_id}{datetime}.gz", "%Y_%m_%d"),
]
NAMINGS = [Naming(*template, ZONE) for template in TEMPLATES]
DEFAULT = NAMINGS[0]

names = st.one_of(
    st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=70),
    st.text("ab-_.~%@/ '\"2\u0301é", min_size=1, max_size=12),
    st.sampled_from(["..", ".", "-rf", "%40globals", GLOBALS_NAME, "a_2", "~", "x_20260109_020000_full", "日本" * 40]),
)
short = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4)
moments = st.datetimes(datetime(1900, 1, 3), datetime(9000, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


def subject(database: str, **changes: object) -> Subject:
    facts: dict[str, object] = {
        "hostname": "db-01.example.org",
        "instance": "prod-pg",
        "database": database,
        "engine": EngineKind.POSTGRESQL,
        "type": BackupType.FULL,
        "moment": MOMENT,
    }
    return Subject(**(facts | changes))  # type: ignore[arg-type]


def test_the_default_name_is_in_the_zone_of_the_schedule() -> None:
    assert DEFAULT.path(subject("shop")) == (
        "db-01.example.org/prod-pg/shop/2026-01-09/shop_20260109_020000_full.sql.gz"
    )


def test_the_flat_layout_of_older_installations() -> None:
    path = NAMINGS[1].path(subject("shop", engine=EngineKind.MYSQL, hostname="srv-1"))
    assert path == "2026-01-09-mysql-srv-1-shop/shop_20260109_020000_full.sql.gz"


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("são_paulo.v2-x", "são_paulo.v2-x"),
        ("日本", "日本"),
        ("my db/1", "my%20db%2F1"),
        ("..", "%2E%2E"),
        ("-rf", "%2Drf"),
        ('it\'s "q"', "it%27s%20%22q%22"),
        ("a%2Fb", "a%252Fb"),
        ("a\nb", "a%0Ab"),
        ("end.", "end%2E"),
        ("e\u0301", "e%CC%81"),
        ("~x", "%7Ex"),
        (GLOBALS_NAME, "%40%67lobals"),
    ],
)
def test_what_is_encoded(name: str, encoded: str) -> None:
    assert encoding.encode(name) == encoded
    assert encoding.decode(encoded) == name


@given(st.sampled_from(NAMINGS), names, short, short, st.sampled_from(EngineKind), moments)
@example(NAMINGS[1], "b-c", "a", "x", EngineKind.MYSQL, MOMENT)
@example(NAMINGS[2], "a_2", "a", "b-c", EngineKind.MYSQL, MOMENT)
def test_every_path_is_safe_and_read_back(
    naming: Naming, database: str, hostname: str, instance: str, engine: EngineKind, moment: datetime
) -> None:
    wanted = subject(database, hostname=hostname, instance=instance, engine=engine, moment=moment)
    path = naming.path(wanted)
    parts = PurePosixPath(path).parts
    assert "/".join(parts) == path
    assert not path.startswith("/")
    assert all(part not in (".", "..") and part[0] not in ".-" for part in parts)
    assert all(len(part.encode()) <= 255 for part in parts)
    assert len(parts[-1].encode()) <= 224
    assert not any(unicodedata.category(char)[0] in "CZ" for char in path)
    parsed = naming.parse(path)
    assert parsed is not None
    assert parsed.number == 1
    local = moment.astimezone(ZONE).replace(tzinfo=None)
    for found, expected in [
        (parsed.hostname, hostname),
        (parsed.instance, instance),
        (parsed.database, database),
        (parsed.engine, engine),
        (parsed.type, BackupType.FULL),
        (parsed.day, local.date()),
    ]:
        assert found is None or found == expected
    if len(encoding.encode(database)) < 60:
        assert naming is NAMINGS[4] or parsed.database == database
    if naming in NAMINGS[:3]:
        assert parsed.moment is not None
        assert parsed.moment.replace(tzinfo=None) == local


@given(st.sampled_from(NAMINGS), st.tuples(names, short, short), st.tuples(names, short, short))
@example(NAMINGS[1], ("b-c", "a", "i"), ("c", "a-b", "i"))
@example(NAMINGS[2], ("x", "a_b", "c"), ("b_x", "a", "c"))
def test_distinct_names_never_collide(naming: Naming, one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    paths = []
    for database, hostname, instance in (one, two):
        told = hostname if "{hostname}" in str(TEMPLATES[NAMINGS.index(naming)]) else "h"
        paths.append(naming.path(subject(database, hostname=told, instance=instance)))
    template = str(TEMPLATES[NAMINGS.index(naming)])
    same = one[0] == two[0] and all(
        one[index] == two[index] or placeholder not in template
        for index, placeholder in ((1, "{hostname}"), (2, "{db_id}"))
    )
    assert (paths[0] == paths[1]) == same


@given(st.sampled_from(NAMINGS), names, st.integers(2, 999))
def test_a_taken_name_gets_a_number_that_is_read_back(naming: Naming, database: str, number: int) -> None:
    path = naming.path(subject(database))
    taken = numbered(path, number)
    assert taken.endswith(".gz")
    parsed, plain = naming.parse(taken), naming.parse(path)
    assert parsed is not None
    assert plain is not None
    assert parsed.number == number
    assert parsed.database == plain.database


@given(st.sampled_from(NAMINGS), names, st.integers(2, 999))
def test_names_of_both_codecs_differ_in_their_ending_alone(naming: Naming, database: str, number: int) -> None:
    packed, framed = naming.path(subject(database)), naming.path(subject(database), FileCodec.ZSTD)
    assert framed == packed.removesuffix(".gz") + ".zst"
    assert naming.parse(framed) == naming.parse(packed)
    assert naming.parse(numbered(framed, number)) == naming.parse(numbered(packed, number))


@pytest.mark.parametrize("pattern", ["{db_name}_x.sql.gz", "{db_name}_x.sql.zst"])
def test_a_store_knows_the_files_of_both_codecs_by_their_endings(pattern: str) -> None:
    assert data_suffixes(pattern) == ("_x.sql.gz", "_x.sql.zst")
    naming = Naming("a", pattern, FORMAT, ZONE)
    assert [naming.path(subject("d"), codec) for codec in FileCodec] == ["a/d_x.sql.gz", "a/d_x.sql.zst"]


def test_a_name_that_ends_like_a_number_is_another_file() -> None:
    naming = Naming("x", "{db_name}.sql.gz", FORMAT, ZONE)
    assert naming.path(subject("a_2")) != numbered(naming.path(subject("a")), 2)
    assert naming.parse(naming.path(subject("a_2"))).database == "a_2"  # type: ignore[union-attr]


@pytest.mark.parametrize("naming", NAMINGS)
def test_globals_and_a_database_called_so_are_kept_apart(naming: Naming) -> None:
    whole = naming.path(subject(GLOBALS_NAME, type=BackupType.GLOBALS))
    single = naming.path(subject(GLOBALS_NAME))
    assert whole != single
    for path, kind in ((whole, BackupType.GLOBALS), (single, BackupType.FULL)):
        parsed = naming.parse(path)
        assert parsed is not None
        assert (parsed.database, parsed.type) == (GLOBALS_NAME, kind)


@given(st.text("ab/%20_-.~4Fé", max_size=40) | st.text(max_size=40))
def test_what_we_did_not_write_is_not_read(path: str) -> None:
    assert DEFAULT.parse(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "h/i/d/2026-01-09/d_20260110_020000_full.sql.gz",  # two days
        "h/i/d/2026-02-30/d_20260230_020000_full.sql.gz",  # no such day
        "h/i/d/2026-01-09/e_20260109_020000_full.sql.gz/..",
        "h/i/%64/2026-01-09/d_20260109_020000_full.sql.gz",  # an escape that is not needed
        "h/i/d/2026-01-09/d_20260109_020000_globals.sql.gz",  # globals of a database
        "h/i/d/2026-01-09/d_20260109_020000_full_1.sql.gz",
        "h/i/d/2026-01-09/d_20260109_020000_full_02.sql.gz",
    ],
)
def test_contradictions_are_not_read(path: str) -> None:
    assert DEFAULT.parse(path) is None


def test_long_names_are_cut_with_a_digest() -> None:
    one, two = "日本語" * 60 + "a", "日本語" * 60 + "b"
    paths = [DEFAULT.path(subject(name)) for name in (one, two)]
    assert paths[0] != paths[1]
    assert all(re.search(r"~[0-9a-f]{16}_\d{8}_", path) for path in paths)
    parsed = DEFAULT.parse(paths[0])
    assert parsed is not None
    assert parsed.database is None
    assert parsed.instance == "prod-pg"


def test_sixty_bytes_of_spaces_still_fit() -> None:
    name = "a" + " " * 59
    parsed = DEFAULT.parse(DEFAULT.path(subject(name)))
    assert parsed is not None
    assert parsed.database == name


def test_the_repeated_hour_gives_one_name_for_two_moments() -> None:
    naming = Naming(STRUCTURE, PATTERN, FORMAT, ZoneInfo("Europe/Berlin"))
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    paths = {naming.path(subject("d", moment=first + timedelta(hours=hours))) for hours in (0, 1)}
    assert len(paths) == 1  # the store gives the second one a number


@pytest.mark.parametrize(
    "structure",
    ["/abs/{db_name}", "a//b", "a/", "../{db_name}", "{db_name}/.hidden", "{nope}", "{hostname}{db_name}", "a%2F", "",
     "{hostname}x{db_name}", "a b", "{db_name", "-x"],
)  # fmt: skip
def test_unsafe_structures_are_refused(structure: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_structure(structure)


@pytest.mark.parametrize(
    ("pattern", "times"),
    [
        ("{db_name}.sql", FORMAT),
        ("a/{db_name}.sql.gz", FORMAT),
        (PATTERN, "%H%M%S"),
        (PATTERN, "%Y%m%d %H"),
        (PATTERN, "%c"),
        (PATTERN, "%Y%m%d%"),
        (".gz", FORMAT),
        ("{db_name}" + "x" * 200 + ".gz", FORMAT),
    ],
)
def test_unsafe_patterns_are_refused(pattern: str, times: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_pattern(pattern, times)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        DEFAULT.path(subject(""))


def test_only_a_day_in_the_name() -> None:
    naming = Naming("{date}", "{db_name}.gz", FORMAT, ZONE)
    parsed = naming.parse(naming.path(subject("d")))
    assert parsed is not None
    assert (parsed.day, parsed.moment, parsed.engine) == (date(2026, 1, 9), None, None)
