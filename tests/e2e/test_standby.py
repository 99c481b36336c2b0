"""Backups from a real streaming standby that applies its primary's changes at once, and cancels whom they disturb."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import require_spec
from tests.e2e.gate import Gate, fill
from tests.e2e.killing import Control, Scene, Store
from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer, ServerOptions

DATABASE = "standby"


@dataclass
class Pair:
    """A primary and its standby."""

    primary: PrivateServer
    standby: PrivateServer

    def settle(self) -> None:
        """Wait until the standby has everything that the primary has."""
        (position,) = self.primary.sql("select pg_current_wal_insert_lsn()")[0]
        query = f"select pg_last_wal_replay_lsn() >= '{position}'"
        until(lambda: self.standby.sql(query) == [("t",)], otherwise="the standby does not follow")

    def disturb(self, database: str) -> None:
        """Change every row of a table and clean up behind it: what a snapshot on the standby needs is to go."""
        self.primary.sql("update a_rows set t = t || 'z'", database)
        self.primary.sql("vacuum a_rows", database)

    def cancelled(self, database: str) -> int:
        """How many sessions the standby has cancelled for a change, those that it waits for included."""
        counted = f"select confl_snapshot from pg_stat_database_conflicts where datname = '{database}'"
        waiting = "select count(*) from pg_stat_activity where wait_event = 'RecoveryConflictSnapshot'"
        return sum(int(self.standby.sql(query)[0][0]) for query in (counted, waiting))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("standby")
    spec = require_spec("postgresql-15")
    with spec.start(folder) as primary:
        fill(primary, DATABASE)
        follows = {
            "max_standby_streaming_delay": "0",
            "hot_standby_feedback": "off",
            "wal_retrieve_retry_interval": "100",
        }
        with spec.factory(spec, folder, ServerOptions(settings=follows)) as standby:
            copy_of(primary, standby)
            standby.start()
            yield Pair(primary, standby)


def copy_of(primary: PrivateServer, standby: PrivateServer) -> None:
    """Let the standby's folder be a copy of the primary that follows it."""
    login = f"host={primary.host} port={primary.port} user={primary.admin_user} password={primary.admin_password}"
    command = [
        str(primary.bindir / "pg_basebackup"),
        "-d",
        login,
        "-D",
        str(standby.data_dir),
        "-R",
        "-c",
        "fast",
        "-N",
    ]
    primary._run(primary.account.dressed(command, death_signal="KILL"), cwd=standby.directory)
    standby.admin_password = primary.admin_password


def test_a_dump_that_the_standby_cancels_is_begun_again_and_the_way_out_told(pair: Pair, tmp_path: Path) -> None:
    """Cancelled between two statements: then the tool is told no reason."""
    pair.settle()
    gate = Gate(tmp_path / "gate", pair.standby)
    product = Product(
        tmp_path / "site",
        [instance(pair.standby, "standby", database=DATABASE)],
        servers=[pair.standby],
        config={"tools": gate.tools, "backup": {"attempts": 2, "retry_wait": "100ms", "parallel_per_database": 1}},
    )
    with product:
        scene = Scene(pair.standby, DATABASE, gate, product, Control(product), Store(product))
        gate.arm("data")
        operation = scene.control.back_up()
        cancel(pair, scene)
        gate.disarm()
        gate.release()
        scene.succeeded(operation)
        (retried,) = product.events("backup.retry")
        assert "attempt 2 of 2" in retried["reason"]

        gate.arm("data")
        operation = scene.control.back_up()
        for _ in range(2):
            cancel(pair, scene)
            (gate.folder / "held").unlink()
            gate.release()
        error = scene.failed(operation, {"server_error", "server_lost"})["error"]
        assert "hot_standby_feedback" in error["hint"]
        assert "max_standby_streaming_delay" in error["hint"]


def cancel(pair: Pair, scene: Scene) -> None:
    """Let the standby cancel the dump that is held."""
    scene.gate.held()
    before = pair.cancelled(scene.database)
    pair.disturb(scene.database)
    until(lambda: pair.cancelled(scene.database) > before, otherwise="the standby let the dump be")
