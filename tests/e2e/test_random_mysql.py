"""Tables and rows that nobody thought of, on MySQL and MariaDB; a table of many segments; DDL while a dump runs."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ServerPool, _labels
from tests.e2e.compare_mysql import Pair, assert_same, client, running_pair
from tests.e2e.killing import staged
from vya_backupd.engines.mysql_sql import quote

NAME, COPY = "random", "random copy"


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def pair(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    one = server_pool.get(request.param)
    with running_pair(one, tmp_path_factory.mktemp("random")) as each:
        yield each
    one.drop_database(NAME)


def _hex(text: bytes) -> str:
    return f"0x{text.hex()}" if text else "''"


_text = st.text(st.characters(codec="utf-8"), max_size=60).map(lambda text: _hex(text.encode()))
_bytes = st.binary(max_size=60).map(_hex)
_TYPES: dict[str, st.SearchStrategy[str]] = {
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "int unsigned zerofill": st.integers(0, 2**32 - 1).map(str),
    "decimal(30,10)": st.decimals(Decimal("-9e19"), Decimal("9e19"), places=10).map(str),
    "double": st.floats(-1e300, 1e300, allow_subnormal=False).map(lambda number: repr(number + 0.0 or 0.0)),
    "varchar(60) character set utf8mb4": _text,
    "longtext character set utf8mb4 collate utf8mb4_bin": _text,
    "varbinary(60)": _bytes,
    "longblob": _bytes,
    "bit(40)": st.integers(0, 2**40 - 1).map(lambda number: f"b'{number:b}'"),
    "datetime(6)": st.datetimes().map(lambda moment: f"'{moment.isoformat(' ', 'microseconds')}'"),
    "date": st.dates().map(lambda day: f"'{day.isoformat()}'"),
    "time(3)": st.integers(-(838 * 3600), 838 * 3600).map(
        lambda seconds: (
            f"'{'-' if seconds < 0 else ''}{abs(seconds) // 3600}:{abs(seconds) // 60 % 60}:{abs(seconds) % 60}.5'"
        )
    ),
    "enum('a','ü','it''s','') character set latin1": st.sampled_from(["'a'", "'ü'", "'it''s'", "''"]),
    "json": st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('aü"\\🦄\n', max_size=9),
        lambda inner: st.lists(inner, max_size=3),
    ).map(lambda value: f"CONVERT({_hex(_json(value))} USING utf8mb4)"),
}
_names = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\0"), min_size=1, max_size=20)
_name = _names.map(lambda text: text.rstrip() or "x").filter(lambda text: len(text) <= 60)


def _json(value: Any) -> bytes:
    import json

    return json.dumps(value, ensure_ascii=False).encode()


@st.composite
def tables(draw: st.DrawFn) -> str:
    """CREATE TABLE and its INSERT, with a place for the table's number."""
    kinds = draw(st.lists(st.sampled_from(sorted(_TYPES)), min_size=1, max_size=6))
    names = draw(st.lists(_name, min_size=len(kinds), max_size=len(kinds), unique_by=lambda name: name.casefold()))
    columns = ", ".join(
        f"{quote(f'{name}{number}')} {kind}" for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    )
    values = [st.none().map(lambda _: "NULL") | _TYPES[kind] for kind in kinds]
    rows = draw(st.lists(st.tuples(*values), max_size=8))
    table = quote(draw(_name) + " {number}")
    key = draw(st.sampled_from(["", ", id int AUTO_INCREMENT PRIMARY KEY"]))
    ids = ", NULL" if key else ""
    inserts = "".join(f"INSERT INTO {table} VALUES ({', '.join(row)}{ids});\n" for row in rows)
    return f"CREATE TABLE {table} ({columns}{key});\n{inserts}"


@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(made=st.lists(tables(), min_size=8, max_size=8))
def test_random_tables_and_rows_come_back(pair: Pair, made: list[str]) -> None:
    pair.one.drop_database(NAME)
    pair.one.create_database(NAME, "CHARACTER SET utf8mb4")
    sql = "".join(text.replace("{number}", str(number)) for number, text in enumerate(made))
    client(pair.one, sql.encode(), NAME, "--default-character-set=utf8mb4")
    pair.backup(NAME)
    pair.two.drop_database(COPY)
    pair.restore(NAME, "--target-instance", "two", "--target-database", COPY)
    assert_same(pair.one, NAME, pair.two, COPY)


def test_a_table_of_many_segments_comes_back(pair: Pair) -> None:
    name = "large"
    pair.one.create_database(name, "CHARACTER SET utf8mb4")
    pair.one.sql("CREATE TABLE t (id int PRIMARY KEY AUTO_INCREMENT, v longtext, f float)", name)
    pair.one.sql("INSERT INTO t (v, f) SELECT REPEAT(SHA2(1, 256), 1000), 1.2345678", name)
    for _ in range(8):
        pair.one.sql("INSERT INTO t (v) SELECT CONCAT(v, ');\\n', SHA2(id, 256)) FROM t", name)
    made = pair.backup(name)
    shown = pair.product.ok("backups", "show", made["id"])
    shown = shown.get("backup") or shown
    assert shown["raw_size_bytes"] > 15_000_000
    assert any("FLOAT" in warning and "t.f" in warning for warning in shown["warnings"])
    pair.restore(name, "--target-instance", "two")
    assert pair.two.sql("CHECKSUM TABLE t", name) != []
    digest = "SELECT COUNT(*), SHA2(GROUP_CONCAT(SHA2(v, 256) ORDER BY id), 256) FROM t"
    widen = "SET SESSION group_concat_max_len = 100000000; "
    assert pair.two.sql(widen + digest, name) == pair.one.sql(widen + digest, name)
    (file,) = pair.product.base_path.rglob("large_*.sql.gz")
    text = gzip.decompress(file.read_bytes())
    assert b"GTID_PURGED" not in text
    assert b"SQL_LOG_BIN" not in text
    pair.one.drop_database(name)


@pytest.mark.parametrize("label", _labels("mariadb", "mysql"))
def test_ddl_during_the_dump_is_tried_again(label: str, server_pool: ServerPool, tmp_path: Path) -> None:
    """A table that is rebuilt after the dump's transaction began, and before the dump comes to it."""
    name, retrying = "altered", {"attempts": 2, "retry_wait": "1s"}
    with staged(server_pool.get(label), tmp_path, name, backup=retrying) as scene:
        scene.gate.arm("data")
        operation = scene.control.back_up()
        scene.gate.held()
        scene.gate.disarm()
        scene.server.sql("ALTER TABLE c_small ADD COLUMN extra int DEFAULT 1", name)
        scene.server.sql("ALTER TABLE c_small DROP COLUMN extra, ENGINE=InnoDB", name)
        scene.gate.release()
        scene.succeeded(operation)
        (retried,) = scene.product.events("backup.retry")
        assert retried["database"] == name
