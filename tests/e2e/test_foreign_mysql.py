"""Dumps that scripts left behind, and files that must not be taken, on MySQL and MariaDB."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool, _labels, require_spec
from tests.e2e.compare_mysql import Pair, assert_same, client, option_file, running_pair
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

SHOP = "foreign shop"
_SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY AUTO_INCREMENT, v varchar(50) CHARACTER SET utf8mb4);
INSERT INTO t (v) VALUES ('a'), ('🦄'), (NULL), ('-- Dump completed');
CREATE VIEW w AS SELECT * FROM t;
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'triggered';
CREATE DEFINER=somebody@`%` EVENT ev ON SCHEDULE EVERY 1 SECOND DO INSERT INTO t (v) VALUES ('ran');
"""


def dumped(server: PrivateServer, *options: str) -> bytes:
    """What the server's own tool writes."""
    with option_file(server) as login:
        command = [str(server.tools["dump"]), f"--defaults-file={login}", "--routines", "--events", *options]
        return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def pair(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    one = server_pool.get(request.param)
    one.drop_database(SHOP)
    one.create_database(SHOP)
    one.sql("SET GLOBAL event_scheduler = OFF")
    one.sql(_SCHEMA, SHOP)
    with running_pair(one, tmp_path_factory.mktemp("foreign")) as each:
        yield each
    one.drop_database(SHOP)


def restore(pair: Pair, file: Path, *more: str) -> Ran:
    return pair.product.ctl("restore", "--file", str(file), "--target-instance", "two", "--output", "json", *more)


def error_of(ran: Ran) -> dict[str, Any]:
    said = ran.json
    failed = [step["error"] for step in said.get("steps", []) if step["error"]]
    return dict(failed[0] if failed else said.get("error") or said["operation"]["error"])


@pytest.mark.parametrize("packed", [False, True])
def test_a_script_s_dump_is_restored(pair: Pair, tmp_path: Path, packed: bool) -> None:
    text, name = dumped(pair.one, SHOP), f"scripted {packed}"
    file = tmp_path / ("shop.sql.gz" if packed else "shop.sql")
    file.write_bytes(gzip.compress(text) if packed else text)
    ran = restore(pair, file, "--target-database", name)
    assert ran.code == 0, ran.err
    assert_same(pair.one, SHOP, pair.two, name, events_off=True)


def test_a_dump_for_replicas_that_came_through_windows_is_restored(pair: Pair, tmp_path: Path) -> None:
    """What mysqldump writes with --source-data, --dump-replica and GTIDs is left out, and said; line ends are restored."""
    lines = {
        "mariadb": [
            "SET GLOBAL gtid_slave_pos='0-99-7';",
            "STOP ALL SLAVES;",
            "CHANGE MASTER '' TO MASTER_HOST='nowhere.invalid', MASTER_LOG_FILE='b.1', MASTER_LOG_POS=4;",
        ],
        "mysql": [
            "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23';",
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='nowhere.invalid', SOURCE_LOG_FILE='b.1', SOURCE_LOG_POS=4;",
        ],
    }
    text, file = dumped(pair.one, SHOP), tmp_path / "windows.sql.gz"
    text = text.replace(b"\n--\n", b"\n" + "\n".join(lines[pair.one.kind]).encode() + b"\n--\n", 1)
    file.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")))
    ran = restore(pair, file, "--target-database", "windows")
    assert ran.code == 0, ran.err
    assert "what the dump has for replicas is left out (SET GLOBAL GTID" in ran.err + ran.out
    assert_same(pair.one, SHOP, pair.two, "windows", events_off=True)
    status = "SHOW ALL SLAVES STATUS" if pair.one.kind == "mariadb" else "SHOW REPLICA STATUS"
    assert pair.two.sql(status) == []


def test_a_dump_that_was_cut_off_is_refused(pair: Pair, tmp_path: Path) -> None:
    text = dumped(pair.one, SHOP)
    plain, packed = tmp_path / "cut.sql", tmp_path / "cut.sql.gz"
    plain.write_bytes(text[: -len(b"-- Dump completed on 2026-01-01  0:00:00\n") - 30])
    packed.write_bytes(gzip.compress(text)[:-9])
    for file in (plain, packed):
        ran = restore(pair, file, "--target-database", "cut off")
        assert (ran.code, error_of(ran)["code"]) in {
            (5, "incomplete_file"),
            (5, "damaged_file"),
            (5, "dump_incomplete"),
        }
    assert ("cut off",) not in pair.two.sql("SHOW DATABASES")


def test_what_a_failing_dump_leaves_in_a_database_of_others_is_told(pair: Pair, tmp_path: Path) -> None:
    pair.two.create_database("half")
    file = tmp_path / "failing.sql"
    file.write_bytes(
        dumped(pair.one, SHOP).replace(b"\n-- Dump completed on", b"\nDO nothing();\n-- Dump completed on")
    )
    ran = restore(pair, file, "--target-database", "half")
    assert ran.code == 1, ran.err + ran.out
    assert "stands in 'half': empty it first" in error_of(ran)["hint"]
    assert pair.two.sql("SHOW TABLES", "half") != []
    pair.two.drop_database("half")


def test_a_dump_that_chooses_its_own_database_is_refused(pair: Pair, tmp_path: Path) -> None:
    pair.two.drop_database(SHOP)
    file = tmp_path / "named.sql"
    file.write_bytes(dumped(pair.one, "--databases", SHOP))
    ran = restore(pair, file, "--target-database", "elsewhere")
    error = error_of(ran)
    assert ran.code in (2, 5), ran.err + ran.out
    assert "CREATE DATABASE" in error["message"]
    assert "--databases" in error["hint"]
    file.write_bytes(b"use mysql;\n" + dumped(pair.one, SHOP))
    assert "(use mysql;)" in error_of(restore(pair, file, "--target-database", "elsewhere"))["message"]
    before = pair.two.sql("SELECT @@global.max_connections")
    file.write_bytes(dumped(pair.one, SHOP).replace(b"\n--\n", b"\nSET GLOBAL max_connections = 77;\n--\n", 1))
    assert (
        "changes more than its database (SET GLOBAL"
        in error_of(restore(pair, file, "--target-database", "elsewhere"))["message"]
    )
    assert pair.two.sql("SELECT @@global.max_connections") == before
    names = pair.two.sql("SHOW DATABASES")
    assert (SHOP,) not in names
    assert ("elsewhere",) not in names


def test_what_a_dump_says_of_itself_is_part_of_the_plan(pair: Pair, tmp_path: Path) -> None:
    """Where it comes from and which definers it lacks; a view upon such a view is restored all the same."""
    pair.one.sql("CREATE USER gone@'%'; GRANT ALL ON *.* TO gone@'%'")
    pair.one.sql(
        "CREATE DEFINER=gone@'%' VIEW w1 AS SELECT * FROM t; CREATE DEFINER=gone@'%' VIEW w2 AS SELECT * FROM w1", SHOP
    )
    text = dumped(pair.one, "--skip-comments", SHOP)
    said = dumped(pair.one, "--no-data", SHOP)
    pair.one.sql("DROP VIEW w1, w2", SHOP)
    pair.one.sql("DROP USER gone@'%'")
    file = tmp_path / "views.sql"
    file.write_bytes(b"-- phpMyAdmin SQL Dump\n-- Server version: " + _version_line(said) + b"\n" + text)
    ran = pair.product.ctl("restore", "--file", str(file), "--target-instance", "two", "--target-database", "views")
    assert ran.code == 0, ran.err
    assert f"it says that it is of {pair.one.kind} " in ran.err
    assert "by phpMyAdmin" in ran.err
    assert "gone***@%" in ran.err
    assert {("w1",), ("w2",)} <= set(pair.two.sql("SHOW TABLES", "views"))
    assert ("gone",) not in pair.two.sql("SELECT User FROM mysql.user")
    pair.two.drop_database("views")
    other = b"8.0.36" if pair.one.kind == "mariadb" else b"10.11.6-MariaDB"
    file.write_bytes(file.read_bytes().replace(_version_line(said), other, 1))
    refused = restore(pair, file, "--target-database", "views")
    assert (refused.code, error_of(refused)["code"]) == (6, "target_unsuitable")
    file.write_bytes(text[: -len(b"OLD_SQL_NOTES */;\n\n")])
    assert restore(pair, file, "--target-database", "views").code == 5
    assert ("views",) not in pair.two.sql("SHOW DATABASES")


def _version_line(text: bytes) -> bytes:
    return text.partition(b"-- Server version\t")[2].partition(b"\n")[0]


def test_rows_that_look_like_use_are_rows(pair: Pair, tmp_path: Path) -> None:
    pair.one.sql("CREATE TABLE u (v text); INSERT INTO u VALUES ('\\nUSE `mysql`;\\nCREATE DATABASE x;')", SHOP)
    file = tmp_path / "rows.sql"
    file.write_bytes(dumped(pair.one, SHOP, "u"))
    pair.one.sql("DROP TABLE u", SHOP)
    ran = restore(pair, file, "--target-database", "rows")
    assert ran.code == 0, ran.err


def test_the_sandbox_line_troubles_no_other_client(server_pool: ServerPool, tmp_path: Path) -> None:
    """A backup of MariaDB, fed by hand to MySQL's own client: what both know is restored."""
    mariadb, mysql = (server_pool.get(require_spec(kind).label) for kind in ("mariadb", "mysql"))
    name = f"sandboxed {tmp_path.name}"
    for server in (mariadb, mysql):
        server.create_database(name)
    mariadb.sql(
        "CREATE TABLE t (a int PRIMARY KEY) CHARSET utf8mb4 COLLATE utf8mb4_bin; INSERT INTO t VALUES (7)", name
    )
    with Product(tmp_path / "product", [instance(mariadb, "one", database=[name])], servers=[mariadb]) as product:
        product.ok("backup", "--database", name)
        text = gzip.decompress(product.files()[0].read_bytes())
    assert text.startswith(b"/*M!999999\\- enable the sandbox mode */")
    client(mysql, text, name)
    assert mysql.sql("SELECT a FROM t", name) == [("7",)]
    for server in (mariadb, mysql):
        server.drop_database(name)


def test_the_other_vendor_s_backup_is_refused(server_pool: ServerPool, tmp_path: Path) -> None:
    servers = [server_pool.get(require_spec(kind).label) for kind in ("mariadb", "mysql")]
    name = f"crossed {tmp_path.name}"
    for server in servers:
        server.create_database(name)
        server.sql("CREATE TABLE t (a int)", name)
    entries = [instance(server, server.kind, database=[name]) for server in servers]
    with Product(tmp_path / "product", entries, servers=servers) as product:
        product.ok("backup")
        for one, other in (("mariadb", "mysql"), ("mysql", "mariadb")):
            ran = product.ctl(
                "restore", "--instance", one, "--database", name, "--latest",
                "--target-instance", other, "--target-database", "never", "--output", "json",
            )  # fmt: skip
            assert (ran.code, error_of(ran)["code"]) == (6, "target_unsuitable")
    for server in servers:
        server.drop_database(name)
