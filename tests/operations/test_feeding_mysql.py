"""Several sessions of MySQL and MariaDB bring back the same database as one does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.compare_mysql import assert_same, load_schema
from tests.operations.feeding_rig import FeedingRig, feeding_rig
from vya_backupd.operations import feeding_mysql_jobs
from vya_backupd.operations.feeding_mysql import MysqlFeeder
from vya_backupd.operations.feeding_serial import SerialFeeder
from vya_backupd.testing.servers import PrivateServer


@pytest.fixture
async def rig(
    mysql_family: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FeedingRig]:
    monkeypatch.setattr(feeding_mysql_jobs, "_LATE_KEYS_FROM", 1)
    async with feeding_rig(mysql_family, tmp_path) as each:
        yield each


async def test_everything_that_a_database_can_hold_comes_back(rig: FeedingRig, fresh_name: str) -> None:
    load_schema(rig.server, fresh_name, "mysql_common.sql", f"{rig.server.kind}.sql")
    file = await rig.packed(fresh_name)
    serial, parallel = f"{fresh_name} serial", f"{fresh_name} parallel"
    await rig.restored(SerialFeeder(), file, serial)
    fed = await rig.restored(MysqlFeeder(3), file, parallel)
    assert fed.sessions == 3
    assert_same(rig.server, serial, rig.server, parallel)
    assert_same(rig.server, fresh_name, rig.server, parallel)
    await rig.drop(fresh_name, f"{fresh_name} other", serial, parallel)


async def test_nothing_reaches_the_binary_log_when_it_shall_not(
    mysql: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    mysql.create_database(fresh_name)
    mysql.sql(
        "CREATE TABLE t (id int PRIMARY KEY, t longtext); INSERT INTO t VALUES (1, REPEAT('x', 100000))", fresh_name
    )
    copy = f"{fresh_name} copy"

    def logged() -> int:
        return sum(int(row[1]) for row in mysql.sql("SHOW BINARY LOGS"))

    async with feeding_rig(mysql, tmp_path) as rig:
        file = await rig.packed(fresh_name)
        for feeder in (SerialFeeder(), MysqlFeeder(2)):
            before = logged()
            await rig.restored(feeder, file, copy, skip_binlog=True)
            assert logged() - before < 50_000
            assert mysql.sql("SELECT LENGTH(t) FROM t", copy) == [("100000",)]
        before = logged()
        await rig.restored(MysqlFeeder(2), file, copy)
        assert logged() - before > 100_000
        await rig.drop(fresh_name, copy)


async def test_large_tables_without_transactions_come_back_where_gtids_forbid_to_mix(
    mysql: PrivateServer, tmp_path: Path, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding_mysql_jobs, "_LATE_KEYS_FROM", 1)
    assert mysql.sql("SELECT @@gtid_mode") == [("ON",)]
    mysql.create_database(fresh_name)
    rows = ",".join("(REPEAT('x', 1000))" for _ in range(2500))
    mysql.sql(f"CREATE TABLE t (t text) ENGINE=MyISAM; INSERT INTO t VALUES {rows}", fresh_name)
    async with feeding_rig(mysql, tmp_path) as rig:
        file = await rig.packed(fresh_name, 2 << 20)
        await rig.restored(MysqlFeeder(2), file, f"{fresh_name} copy")
        assert mysql.sql("SELECT COUNT(*) FROM t", f"{fresh_name} copy") == [("2500",)]
        await rig.drop(fresh_name, f"{fresh_name} copy")


async def test_the_history_of_a_large_table_comes_back_whoever_brings_it(
    mariadb: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    """The tool lets a session write history once, before a table's first row; its rows go to several sessions."""
    mariadb.create_database(fresh_name)
    rows = ",".join(f"({number}, REPEAT('x', 1000))" for number in range(2500))
    mariadb.sql(
        "CREATE TABLE t (id int PRIMARY KEY, t text) WITH SYSTEM VERSIONING;"
        f"INSERT INTO t VALUES {rows}; UPDATE t SET t = REPEAT('y', 1000)",
        fresh_name,
    )
    history = "SELECT COUNT(*), BIT_XOR(CRC32(CONCAT(id, t, row_start, row_end))) FROM t FOR SYSTEM_TIME ALL"
    async with feeding_rig(mariadb, tmp_path) as rig:
        file = await rig.packed(fresh_name, 1 << 20)
        for feeder in (SerialFeeder(), MysqlFeeder(3)):
            await rig.restored(feeder, file, f"{fresh_name} copy")
            assert mariadb.sql(history, f"{fresh_name} copy") == mariadb.sql(history, fresh_name)
        await rig.drop(fresh_name, f"{fresh_name} copy")
