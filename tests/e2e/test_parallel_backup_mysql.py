"""One database of MySQL or MariaDB dumped by several processes: the same state in all of them, or one stream.

The daemon under test decides by itself when commits cannot be held back: a busy machine may let it choose one stream.
So tests that do not force a choice accept both, and look at what must be right either way.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool, _labels
from tests.e2e.compare_mysql import Pair, assert_same, client, load_schema, option_file, running_pair
from tests.e2e.killing import all_gone, family
from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

FULL = "full in sessions"
BANK = "bank"
SESSIONS = {"backup": {"parallel_per_database": 3, "parallel_piece_size": 1 << 19}}
ROWS = 20_000
"""So many that no pipe takes what a process writes: it lives until it is read."""
_BALANCES = re.compile(r"\((\d+),(\d+),'x+'\)")
_FILL = f"""
SET SESSION {{limit}} = {ROWS + 1};
CREATE TABLE {{table}} (id int PRIMARY KEY, cents int NOT NULL, pad varchar(250) NOT NULL);
INSERT INTO {{table}} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
 SELECT i, 1000, REPEAT('x', 230) FROM n;
ANALYZE TABLE {{table}};
"""


def fill(server: PrivateServer, database: str, *tables: str) -> None:
    """Tables that are large enough to be cut in two."""
    limit = "max_recursive_iterations" if server.kind == "mariadb" else "cte_max_recursion_depth"
    for table in tables:
        server.sql(_FILL.format(table=table, limit=limit), database)


def manifest_of(product: Product, backup: dict[str, Any]) -> dict[str, Any]:
    path = product.base_path / str(backup["file"])
    return dict(json.loads(Path(f"{path}.metadata.json").read_text()))


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def pair(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    one = server_pool.get(request.param)
    load_schema(one, FULL, "mysql_common.sql", f"{one.kind}.sql")
    fill(one, FULL, "`zz big`")
    one.drop_database(BANK)
    one.create_database(BANK)
    fill(one, BANK, "savings", "current")
    with running_pair(one, tmp_path_factory.mktemp("parallel"), config=SESSIONS) as each:
        each.two.sql(f"CREATE DATABASE `{FULL} other`; CREATE TABLE `{FULL} other`.outside (id int)")
        yield each
    for name in (FULL, FULL + " other", BANK):
        one.drop_database(name)


def test_what_several_sessions_dump_is_what_one_dumps(pair: Pair) -> None:
    backup = pair.backup(FULL)
    several = manifest_of(pair.product, backup)
    pair.product.ok("verify", "--instance", "one")
    pair.restore(FULL, "--target-instance", "two", "--enable-events")
    assert_same(pair.one, FULL, pair.two, FULL)

    pair.two.create_database("by hand", "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    client(pair.two, gzip.decompress(pair.file_of(backup).read_bytes()), "by hand", "--comments")
    assert_same(pair.one, FULL, pair.two, "by hand")

    reconfigure(pair.product, parallel_per_database=1)
    one = manifest_of(pair.product, pair.backup(FULL))
    reconfigure(pair.product, parallel_per_database=3)
    assert one["facts"]["streams"] == 1
    assert one["schema_info"] == several["schema_info"]
    assert one["warnings"] == [each for each in several["warnings"] if "one stream" not in each]
    assert sequence_positions(one) == sequence_positions(several)


def sequence_positions(manifest: dict[str, Any]) -> list[str]:
    sequences = {"counter", "odd `seq`"}
    return sorted(
        each["name"] for each in manifest["extents"] if each["section"] == "data" and each["name"] in sequences
    )


def reconfigure(product: Product, **backup: Any) -> None:
    """Change settings of the running daemon."""
    product.settings["backup"] |= backup
    product.write_config()
    before = len(product.events("config.reloaded"))
    product.signal(signal.SIGHUP)
    until(lambda: len(product.events("config.reloaded")) > before)


class Transfers:
    """Somebody who moves money all the time, within tables and between them, one transaction for each transfer."""

    def __init__(self, server: PrivateServer) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        with option_file(self._server) as file:
            command = [str(self._server.tools["client"]), f"--defaults-file={file}", BANK]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
                assert process.stdin is not None
                while not self._stop.is_set():
                    number += 1
                    process.stdin.write(_transfer(number))
                    process.stdin.flush()
        assert process.returncode == 0


def _transfer(number: int) -> bytes:
    """From the one end of a table to the other end of one of them."""
    low, high = 1 + number * 7 % 500, ROWS - number * 11 % 500
    giving, taking = ("savings", "current")[:: 1 if number % 2 else -1]
    if number % 3 == 0:
        taking = giving
    return (
        f"BEGIN; UPDATE {giving} SET cents = cents - 1 WHERE id = {low};"
        f" UPDATE {taking} SET cents = cents + 1 WHERE id = {high}; COMMIT;\n"
    ).encode()


def test_money_that_is_moved_meanwhile_is_neither_lost_nor_doubled(pair: Pair) -> None:
    with Transfers(pair.one):
        backups = [pair.backup(BANK) for _ in range(2)]
    for backup in backups:
        text = gzip.decompress(pair.file_of(backup).read_bytes()).decode()
        rows = _BALANCES.findall(text)
        assert len(rows) == 2 * ROWS
        assert sum(int(cents) for _, cents in rows) == 2 * ROWS * 1000
        manifest = manifest_of(pair.product, backup)
        assert manifest["facts"]["streams"] > 1 or any("one stream" in each for each in manifest["warnings"])


@pytest.fixture(scope="module")
def armed(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Path]]:
    """Another installation for the first server, which can be held at named points, and the file that says at which."""
    folder = tmp_path_factory.mktemp("armed")
    faults = folder / "faults"
    faults.write_text("")
    product = Product(
        folder / "product",
        [instance(pair.one, "one")],
        servers=[pair.one],
        config=SESSIONS,
        environ={"VYA_FAULTS": f"@{faults}"},
    )
    with product:
        try:
            yield product, faults
        finally:
            faults.write_text("")


def held_at(faults: Path, point: str, backup: subprocess.Popen[str]) -> None:
    """Wait until the daemon hangs there; or has gone another way to the end."""
    hangs = faults.with_name("faults.hangs")
    until(lambda: (hangs.exists() and hangs.read_text() == point) or backup.poll() is not None)


def sessions_of_dumps(server: PrivateServer) -> list[tuple[str, ...]]:
    """Sessions on the server other than ours that are doing anything in the bank."""
    return [row for row in server.sql("SHOW PROCESSLIST") if row[3] == BANK]


def test_a_daemon_that_hangs_holds_nobody_up_and_does_not_trust_what_it_had(
    pair: Pair, armed: tuple[Product, Path]
) -> None:
    product, faults = armed
    faults.write_text("backup.held=hang")
    backup = product.begin("backup", "--instance", "one", "--database", BANK, "--output", "json")
    held_at(faults, "backup.held", backup)
    pair.one.sql("UPDATE savings SET cents = cents + 1 WHERE id = 1", BANK)
    pair.one.sql("UPDATE savings SET cents = cents - 1 WHERE id = 1", BANK)
    faults.write_text("")
    out, error = backup.communicate()
    assert backup.returncode == 0, error
    manifest = manifest_of(product, json.loads(out)["backups"][0])
    assert manifest["facts"]["streams"] == 1
    assert any("dumped in one stream" in each for each in manifest["warnings"])


def test_a_killed_dump_process_fails_the_backup_and_leaves_nothing(pair: Pair, armed: tuple[Product, Path]) -> None:
    product, faults = armed
    known = product.files()
    faults.write_text("backup.dumping=hang")
    backup = product.begin("backup", "--instance", "one", "--database", BANK, "--output", "json")
    held_at(faults, "backup.dumping", backup)
    dumping = [each for each in family(product.process.pid) if "--single-transaction" in each.command]
    os.kill(dumping[-1].pid, signal.SIGKILL)
    faults.write_text("")
    backup.communicate()
    assert backup.returncode != 0
    assert product.events("operation.finished")[-1]["state"] == "failed"
    assert product.files() == known
    assert not list(product.temp_path.rglob("*.partial"))
    all_gone(dumping)
    until(lambda: not sessions_of_dumps(pair.one))


def test_a_killed_daemon_holds_nobody_up(pair: Pair, armed: tuple[Product, Path]) -> None:
    product, faults = armed
    faults.write_text("backup.held=kill")
    while product.process.poll() is None:
        with product.begin("backup", "--instance", "one", "--database", BANK) as client_of_it:
            until(lambda: product.process.poll() is not None or client_of_it.poll() is not None)
            client_of_it.kill()  # it would look for a daemon that comes back
    faults.write_text("")
    pair.one.sql("UPDATE savings SET cents = cents + 1 WHERE id = 1", BANK)
    pair.one.sql("UPDATE savings SET cents = cents - 1 WHERE id = 1", BANK)
    until(lambda: not sessions_of_dumps(pair.one))
    product.start()


def test_an_account_with_fewer_rights_dumps_in_one_stream_and_says_so(pair: Pair, tmp_path: Path) -> None:
    server, user = pair.one, f"u{os.urandom(5).hex()}"
    grants = f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS ON *.* TO {user}@'%'"
    server.sql(f"CREATE USER {user}@'%' IDENTIFIED BY '{server.admin_password}'; {grants}")
    weak = instance(server, "one", username=user)
    try:
        with Product(tmp_path / "weak", [weak], servers=[server], config=SESSIONS) as product:
            (backup,) = product.ok("backup", "--instance", "one", "--database", BANK)["backups"]
            findings = product.ctl("doctor", "--output", "json").json
    finally:
        server.sql(f"DROP USER {user}@'%'")
    manifest = manifest_of(product, backup)
    assert manifest["facts"]["streams"] == 1
    assert "dumped in one stream: the account lacks RELOAD" in manifest["warnings"]
    assert f"GRANT RELOAD ON *.* TO `{user}`@`%`;" in json.dumps(findings)
