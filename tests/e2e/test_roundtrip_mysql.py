"""Everything that MySQL and MariaDB can hold goes through the daemon, comes back, and is the same."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from tests.conftest import ServerPool, _labels
from tests.e2e.compare_mysql import Pair, assert_same, client, load_schema, running_pair

FULL = "full schema"


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def pair(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    one = server_pool.get(request.param)
    load_schema(one, FULL, "mysql_common.sql", f"{one.kind}.sql")
    with running_pair(one, tmp_path_factory.mktemp("pair")) as each:
        each.two.sql(f"CREATE DATABASE `{FULL} other`; CREATE TABLE `{FULL} other`.outside (id int)")
        each.backup(FULL)
        yield each
    one.drop_database(FULL)
    one.drop_database(FULL + " other")


def test_a_database_comes_back_under_its_name_on_another_server(pair: Pair) -> None:
    seen = "SELECT @@GLOBAL.gtid_purged" if pair.one.kind == "mysql" else "SELECT ''"
    before = pair.two.sql(seen)
    pair.restore(FULL, "--target-instance", "two", "--enable-events")
    assert_same(pair.one, FULL, pair.two, FULL)
    assert pair.two.sql(seen) == before, "a database brings along what its server has seen"


def test_a_database_comes_back_under_another_name_beside_itself(pair: Pair) -> None:
    before = pair.one.sql("SELECT COUNT(*) FROM audit", FULL)
    restored = pair.restore(FULL, "--target-database", "a copy")
    assert_same(pair.one, FULL, pair.one, "a copy", events_off=True)
    assert pair.one.sql("SELECT COUNT(*) FROM audit", "a copy") == before
    notes = restored["restored"][0]["notes"]
    assert any("events" in note and "--enable-events" in note for note in notes)
    pair.one.drop_database("a copy")


def test_the_file_restores_without_this_product(pair: Pair) -> None:
    pair.two.create_database("by hand", "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    (file,) = pair.product.base_path.rglob("full*.sql.gz")
    text = gzip.decompress(file.read_bytes())
    assert b"GTID_PURGED" not in text
    client(pair.two, text, "by hand", "--comments")
    assert_same(pair.one, FULL, pair.two, "by hand")
