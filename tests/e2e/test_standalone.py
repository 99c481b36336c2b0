"""Work without a daemon: the same results, the same lock, and a clean end when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests.waiting import PATIENCE, until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer


def test_backup_verify_and_restore_without_a_daemon(server: PrivateServer, tmp_path: Path, fresh_name: str) -> None:
    server.create_database(fresh_name)
    server.sql("create table t (a int); insert into t values (3)", fresh_name)
    product = Product(tmp_path, [instance(server, "one", database=[fresh_name])], servers=[server])
    try:
        done = product.ok("backup", "--standalone")
        assert {each["type"] for each in done["backups"]} == {"full", "globals"}
        assert done["operation"]["state"] == "succeeded"
        assert len(product.ok("verify", "--standalone", "--instance", "one")["verified"]) == 2
        copy = f"{fresh_name}_c"
        where = ("--instance", "one", "--database", fresh_name, "--latest", "--target-database", copy)
        product.ok("restore", "--standalone", *where)
        assert server.sql("select a from t", copy) == [("3",)]
        assert product.ctl("restore", "--standalone", *where).code == 6
        assert not product.socket_path.exists()

        with product:
            known = {each["id"] for each in product.ok("backups", "list")["backups"]}
            assert known == {each["id"] for each in done["backups"]}
            refused = product.ctl("backup", "--standalone", "--output", "json")
            assert (refused.code, refused.json["error"]["code"]) == (6, "state_locked")
            assert str(product.process.pid) in refused.json["error"]["message"]
            assert product.ctl("status").code == 0
        assert product.ctl("backup", "--standalone", "--database", fresh_name).code == 0
    finally:
        for name in (fresh_name, f"{fresh_name}_c"):
            server.drop_database(name)


@contextmanager
def locked_table(server: PrivateServer, database: str) -> Iterator[None]:
    """Nobody can dump the table as long as this lasts."""
    with (
        psycopg.connect(
            host=server.host,
            port=server.port,
            user=server.admin_user,
            password=server.admin_password,
            dbname=database,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("lock table t in access exclusive mode")
        yield


def _waiting_dumps(server: PrivateServer, database: str) -> int:
    query = "select count(*) from pg_stat_activity where application_name like 'pg_dump%' or application_name = 'vya-backupd'"
    return int(server.sql(f"{query} and datname = '{database}' and wait_event_type = 'Lock'")[0][0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_when_it_is_stopped(
    number: signal.Signals, any_postgresql: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    server = any_postgresql
    server.create_database(fresh_name)
    server.sql("create table t (a int); insert into t values (3)", fresh_name)
    product = Product(tmp_path, [instance(server, "one", database=[fresh_name])], servers=[server])
    command = [str(Path(sys.executable).parent / "vyactl"), "backup", "--standalone", "--config"]
    command += [str(product.config_path), "--output", "json"]
    try:
        with locked_table(server, fresh_name):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            until(lambda: _waiting_dumps(server, fresh_name))
            children = _children(process.pid)
            assert children
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 130, err
            assert "Traceback" not in err
            until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        assert not out or json.loads(out)
        assert not product.files()
        assert not list(product.temp_path.rglob("*.partial*"))
        assert not list((product.state_dir / "run").glob("child-*"))
        # The lock is free, and what was broken off is on record.
        assert product.ctl("backup", "--standalone").code == 0
        with product:
            states = [each["state"] for each in product.ok("operations", "list")["operations"]]
        assert states[0] == "succeeded"
        assert states[1] in {"interrupted", "cancelled"}
    finally:
        server.drop_database(fresh_name)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with suppress(FileNotFoundError):  # a thread that ended meanwhile
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found
