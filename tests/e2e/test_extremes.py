"""Very many, very large, nothing at all, and gone before its turn."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

TABLES = {"postgresql": 2000, "mariadb": 800, "mysql": 800}
"""Each costs MySQL and MariaDB some hundredths of a second, made, restored and dropped. Benchmarks have 10,000."""
VALUE = 300_000_000
_SESSIONS = {"postgresql": "3", "mariadb": "1", "mysql": "1"}
MOST_MEMORY = 150 * 1024
"""KiB that the daemon may ever have in memory."""


def peak_memory(product: Product) -> int:
    """The most that the daemon ever had in memory, in KiB."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{product.process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.slow
def test_very_many_tables(server: PrivateServer, tmp_path: Path, fresh_name: str) -> None:
    server.create_database(fresh_name)
    tables = TABLES[server.kind]
    with _one_file_for_all(server):
        _many_tables(server, tmp_path, fresh_name, tables)


@contextmanager
def _one_file_for_all(server: PrivateServer) -> Iterator[None]:
    """InnoDB makes no file for each table, which is half of the time in which it drops them."""
    if server.kind == "postgresql":
        yield
        return
    server.sql("set global innodb_file_per_table = 0")
    try:
        yield
    finally:
        server.sql("set global innodb_file_per_table = 1")


def _many_tables(server: PrivateServer, tmp_path: Path, fresh_name: str, tables: int) -> None:
    server.sql(
        "".join(
            f"create table t{number} (id int primary key, v varchar(20)); insert into t{number} values ({number}, 'x');\n"
            for number in range(tables)
        ),
        fresh_name,
    )
    copy = f"{fresh_name}_c"
    entry = instance(server, "one", database=[fresh_name])
    try:
        with Product(tmp_path, [entry], servers=[server]) as product:
            done = product.ok("backup", "--database", fresh_name)
            print(f"\n{server.spec.label}: backup_seconds {done['backups'][0]['duration_seconds']}")
            began = time.monotonic()
            where = ("--instance", "one", "--database", fresh_name, "--latest", "--target-database", copy)
            product.ok("restore", *where, "--sessions", _SESSIONS[server.kind])
            print(f"\n{server.spec.label}: restore_seconds {round(time.monotonic() - began, 1)}")
            print(f"\n{server.spec.label}: peak_kib {peak_memory(product)}")
            assert peak_memory(product) < MOST_MEMORY
        assert _count_tables(server, copy) == tables
        last = tables - 1
        assert server.sql(f"select v from t{last} where id = {last}", copy) == [("x",)]
    finally:
        for name in (fresh_name, copy):
            server.drop_database(name)


def _count_tables(server: PrivateServer, database: str) -> int:
    schema = "public" if server.kind == "postgresql" else database
    query = f"select count(*) from information_schema.tables where table_schema = '{schema}'"
    return int(server.sql(query, database)[0][0])


_LARGE = {
    "postgresql": ("text", f"left(repeat('0123456789 éclair ', {VALUE // 16}), {VALUE})"),
    "mariadb": ("longblob", f"repeat(x'00ff1727225c0a0d1a41', {VALUE // 10})"),
    "mysql": ("longblob", f"repeat(x'00ff1727225c0a0d1a41', {VALUE // 10})"),
}


@pytest.mark.slow
def test_a_value_of_300_megabytes_in_bounded_memory(server: PrivateServer, tmp_path: Path, fresh_name: str) -> None:
    kind, value = _LARGE[server.kind]
    server.create_database(fresh_name)
    server.sql(f"create table t (id int primary key, v {kind}); insert into t values (1, {value})", fresh_name)
    digest = "md5(v)" if server.kind == "postgresql" else "sha2(v, 256)"
    looked = f"select length(v), {digest} from t"
    before = server.sql(looked, fresh_name)
    assert int(before[0][0]) >= VALUE * 0.99
    copy = f"{fresh_name}_c"
    try:
        with Product(tmp_path, [instance(server, "one", database=[fresh_name])], servers=[server]) as product:
            backup = product.ok("backup", "--database", fresh_name)["backups"][0]
            assert backup["raw_size_bytes"] >= VALUE * 0.99
            print(f"\n{server.spec.label}: peak_kib_of_backup {peak_memory(product)}")
            product.ok("verify", "--backup", backup["id"])
            product.ok("restore", "--backup", backup["id"], "--target-database", copy)
            print(f"\n{server.spec.label}: peak_kib {peak_memory(product)}")
            assert peak_memory(product) < MOST_MEMORY
        assert server.sql(looked, copy) == before
    finally:
        for name in (fresh_name, copy):
            server.drop_database(name)


def test_an_empty_database_and_a_server_without_any(server: PrivateServer, tmp_path: Path, fresh_name: str) -> None:
    server.create_database(fresh_name)
    copy = f"{fresh_name}_c"
    entries = [
        instance(server, "one", database=[fresh_name]),
        instance(server, "none", database=["there_is_no_such_database"]),
    ]
    try:
        with Product(tmp_path, entries, servers=[server]) as product:
            done = product.ok("backup", "--instance", "one", "--database", fresh_name)
            assert [each["database"] for each in done["backups"]] == [fresh_name]
            product.ok("verify", "--backup", done["backups"][0]["id"])
            product.ok("restore", "--backup", done["backups"][0]["id"], "--target-database", copy)
            assert _count_tables(server, copy) == 0
            sessions = _SESSIONS[server.kind]
            # Empty, the copy may be restored over without a question; several sessions find nothing to do.
            product.ok(
                "restore", "--backup", done["backups"][0]["id"], "--target-database", copy, "--sessions", sessions
            )

            nothing = product.ok("backup", "--instance", "none")
            assert [(each["type"], each["database"]) for each in nothing["backups"]] == [("globals", "@globals")]
            listed = product.ok("backup", "--list-databases", "--instance", "none")["databases"]
            assert {each["covered"] for each in listed} == {False}
    finally:
        for name in (fresh_name, copy):
            server.drop_database(name)


@asynccontextmanager
async def locked(server: PrivateServer, database: str) -> AsyncIterator[None]:
    """The table ``t`` cannot be dumped as long as this lasts."""
    login: dict[str, Any] = {"host": server.host, "port": server.port, "user": server.admin_user}
    if server.kind == "postgresql":
        async with await psycopg.AsyncConnection.connect(
            **login, dbname=database, password=server.admin_password
        ) as connection:
            await connection.execute("lock table t in access exclusive mode")
            yield
        return
    import asyncmy

    login["password"] = server.admin_password.encode()
    async with asyncmy.connect(**login, db=database) as session, session.cursor() as cursor:
        await cursor.execute("lock tables t write")
        yield


async def test_a_database_that_is_dropped_before_its_turn(
    server: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    held, gone, last = (f"{fresh_name}_{order}" for order in ("a_held", "b_gone", "c_last"))
    for name in (held, gone, last):
        server.create_database(name)
        server.sql("create table t (a int)", name)
    try:
        # It is looked at while another one is dumped: the drop may end the very session that looks, which is tried again.
        again = {"backup": {"attempts": 2, "retry_wait": "1s"}}
        ours = [instance(server, "one", database=[held, gone, last])]
        with Product(tmp_path, ours, servers=[server], config=again) as product:
            async with locked(server, held):
                begun = product.ok("backup", "--no-wait")["operation"]["id"]
                until(lambda: any(each["database"] == held for each in product.events("step.started")))
                server.drop_database(gone)
            assert product.ctl("operations", "watch", begun).code == 3
            steps = product.ok("operations", "show", begun)["steps"]
            states = {step["database"]: (step["state"], (step["error"] or {}).get("code")) for step in steps}
            assert states == {
                held: ("succeeded", None),
                gone: ("failed", "unknown_database"),
                last: ("succeeded", None),
                "@globals": ("succeeded", None),
            }
            assert not list(product.temp_path.rglob("*.partial*"))
            assert not [path for path in product.files() if "b_gone" in str(path)]
    finally:
        for name in (held, gone, last):
            server.drop_database(name)
