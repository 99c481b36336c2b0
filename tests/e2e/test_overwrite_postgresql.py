"""Replacing a PostgreSQL database: the original stays whole until its successor stands, whatever happens on the way."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import ServerPool, StartServer
from tests.waiting import PATIENCE
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

_BACKED_UP = [("1",), ("2",), ("3",)]
_FILL = "insert into t values (1), (2), (3)"
_ORIGINAL = [*_BACKED_UP, ("4",)]
_STEPS = (1, 4, 5, 6)
"""After which the daemon dies: the original is closed, so is the new one, the first is renamed, so is the second."""


@dataclass
class Shop:
    """A database that has changed since its backup."""

    server: PrivateServer
    product: Product
    name: str
    file: Path
    faults: Path

    def overwrite(self, *options: str, source: tuple[str, ...] = ()) -> Ran:
        """Restore the backup (or another source) over the database."""
        chosen = source or self.latest
        return self.product.ctl("restore", *chosen, "--overwrite", "--yes", "--output", "json", *options)

    def content(self) -> list[tuple[str, ...]]:
        """The rows, as somebody who connects now sees them."""
        return self.server.sql("select a from t order by a", self.name)

    def databases(self) -> list[str]:
        """This database, and whatever stands beside it."""
        return [name for (name,) in self.server.sql(f"select datname from pg_database where datname ~ '^{self.name}'")]

    def kill_at(self, point: str) -> None:
        """Overwrite, with the daemon killed at this point (``swap_step@3``: at its third passing)."""
        name, _, turn = point.partition("@")
        self.faults.write_text(f"restore.{name}=kill" + (f"@{turn}" if turn else ""))
        self.until_killed("restore", *self.latest, "--overwrite", "--yes", "--disconnect")
        self.faults.write_text("")

    @property
    def latest(self) -> tuple[str, ...]:
        """The backup, as options name it."""
        return "--instance", "one", "--database", self.name, "--latest"

    def until_killed(self, *command: str) -> None:
        """Run a command until the daemon has died of it; the client, which would wait for another daemon, is let go."""
        with self.product.begin(*command) as client:
            assert self.product.process.wait(PATIENCE) == -9
            client.terminate()

    def go_back(self) -> None:
        """Run the command that the log names."""
        command = shlex.split(self.product.events("restore.swap_begins")[-1]["way_back"])
        server = self.server
        place = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.admin_user}
        command[0] = str(server.tools["psql"])
        subprocess.run(command, check=True, env=os.environ | place | {"PGPASSWORD": server.admin_password})

    @contextlib.contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """An application that is connected."""
        server = self.server
        with psycopg.connect(
            host=server.host,
            port=server.port,
            dbname=self.name,
            autocommit=True,
            user=server.admin_user,
            password=server.admin_password,
        ) as connection:
            yield connection


@pytest.fixture(scope="module")
def installed(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("overwrite")
    server, name = server_pool.get("postgresql"), f"shop_{uuid.uuid4().hex[:12]}"
    server.create_database(name)
    server.sql(f"create table t (a int primary key); {_FILL}", name)
    faults = root / "faults"
    faults.touch()
    entry = instance(server, "one", database=[name])
    product = Product(root / "product", [entry], servers=[server], environ={"VYA_FAULTS": f"@{faults}"})
    with product:
        product.ok("backup", "--instance", "one")
        made = Shop(server, product, name, next(path for path in product.files() if "full" in path.name), faults)
        yield made
    for each in made.databases():
        server.drop_database(each)


@pytest.fixture
def shop(installed: Shop) -> Iterator[Shop]:
    """The database as it is after its backup and one more row; whatever the test leaves beside it goes."""
    for name in installed.databases():
        installed.server.drop_database(name)
    installed.server.create_database(installed.name)
    installed.server.sql(f"create table t (a int primary key); {_FILL}; insert into t values (4)", installed.name)
    yield installed
    installed.faults.write_text("")
    if installed.product.process.poll() is not None:
        installed.product.start()


def _error(ran: Ran) -> dict[str, Any]:
    """The error of a restore: of the operation's only step, or of the refusal before it."""
    said = ran.json
    return dict(said["steps"][0]["error"] if "steps" in said else said["error"])


def test_replaces_the_database_and_leaves_nothing_beside_it(shop: Shop) -> None:
    done = shop.overwrite()
    assert done.code == 0, done.err
    assert shop.content() == _BACKED_UP
    assert shop.databases() == [shop.name]


def test_connected_session_refuses_it_or_is_ended_on_request(shop: Shop) -> None:
    with shop.session() as session:
        refused = shop.overwrite()
        assert (refused.code, _error(refused)["code"]) == (6, "target_in_use")
        assert "--disconnect" in _error(refused)["hint"]
        assert session.execute("select count(*) from t").fetchone() == (4,)
        assert shop.databases() == [shop.name]

        done = shop.overwrite("--disconnect")
        assert done.code == 0, done.err
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
    assert shop.content() == _BACKED_UP


def test_failing_statement_leaves_the_original(shop: Shop, tmp_path: Path) -> None:
    bad = tmp_path / "bad.sql"
    bad.write_text("create table t (a int);\nselect 1 / 0;\n\n--\n-- PostgreSQL database dump complete\n--\n")
    failed = shop.overwrite(source=("--file", str(bad), "--target-instance", "one", "--target-database", shop.name))
    assert (failed.code, _error(failed)["code"]) == (1, "restore_failed")
    assert "division by zero" in _error(failed)["message"]
    assert shop.content() == _ORIGINAL
    assert shop.databases() == [shop.name]


def test_damaged_file_is_refused_before_anything_happens(shop: Shop) -> None:
    whole = shop.file.read_bytes()
    middle = len(whole) // 2
    shop.file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    refused = shop.overwrite()
    shop.file.write_bytes(whole)
    assert refused.code == 5, refused.err
    assert shop.content() == _ORIGINAL
    assert shop.databases() == [shop.name]


def test_database_with_a_subscription_is_not_replaced(shop: Shop) -> None:
    shop.server.sql(
        "create subscription sub connection 'host=127.0.0.1 port=1' publication p"
        " with (connect = false, slot_name = none, enabled = false, create_slot = false)",
        shop.name,
    )
    refused = shop.overwrite()
    assert (refused.code, _error(refused)["code"]) == (6, "swap_refused")
    assert "sub" in _error(refused)["message"]
    assert shop.databases() == [shop.name]
    shop.server.sql("drop subscription sub", shop.name)
    assert shop.content() == _ORIGINAL


def test_restore_that_fails_after_a_subscription_was_made_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    bad = tmp_path / "bad.sql"
    bad.write_text(
        "create subscription other connection 'host=127.0.0.1 port=1' publication p with (connect = false);\n"
        "select 1 / 0;\n\n--\n-- PostgreSQL database dump complete\n--\n"
    )
    failed = shop.overwrite(source=("--file", str(bad), "--target-instance", "one", "--target-database", shop.name))
    assert _error(failed)["code"] == "restore_failed"
    assert shop.databases() == [shop.name]


@pytest.mark.parametrize(
    "point", ["created", "fed", "finished", "swap_begun", *(f"swap_step@{step}" for step in _STEPS), "swapped"]
)
def test_killed_anywhere_the_original_is_there_or_one_command_away(shop: Shop, point: str) -> None:
    name = point.partition("@")[0]
    before = len(shop.product.events("restore.swap_begins"))
    shop.kill_at(point)

    begun = shop.product.events("restore.swap_begins")[before:]
    if name in {"created", "fed", "finished"}:
        assert not begun
        assert shop.content() == _ORIGINAL
    elif name == "swapped":
        assert shop.content() == _BACKED_UP
    else:
        shop.go_back()
        assert shop.content() == _ORIGINAL

    shop.product.start()
    (operation,) = shop.product.ok("operations", "list", "--limit", "1")["operations"]
    assert operation["state"] == "interrupted"
    again = shop.overwrite()
    assert again.code == 0, again.err
    assert shop.content() == _BACKED_UP


def test_way_back_works_after_the_exchange_and_harms_nothing_later(shop: Shop) -> None:
    shop.kill_at("swapped")
    assert shop.content() == _BACKED_UP
    shop.go_back()
    assert shop.content() == _ORIGINAL
    shop.go_back()
    assert shop.content() == _ORIGINAL


def test_killed_before_a_new_database_is_whole_it_does_not_bear_its_name(shop: Shop) -> None:
    copy = f"{shop.name}_copy"
    shop.faults.write_text("restore.fed=kill")
    wanted = (*shop.latest, "--target-database", copy)
    shop.until_killed("restore", *wanted)
    assert copy not in shop.databases()
    shop.faults.write_text("")
    shop.product.start()
    shop.product.ok("restore", *wanted)
    assert shop.server.sql("select a from t order by a", copy) == _BACKED_UP


def test_the_database_that_everybody_enters_by_can_be_restored(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("postgresql")
    server.sql("create table mine (a int); insert into mine values (1)", "postgres")
    words = ("restore", "--instance", "one", "--database", "postgres", "--latest")
    entry = instance(server, "one", database=["postgres"])
    with Product(tmp_path / "product", [entry], servers=[server]) as product:
        product.ok("backup", "--instance", "one")
        for change, how in (("insert into mine values (2)", ("--overwrite", "--yes")), ("drop table mine", ())):
            server.sql(change, "postgres")
            product.ok(*words, *how, "--disconnect")
            assert server.sql("select a from mine", "postgres") == [("1",)]
        assert server.sql("select count(*) from pg_database where not datistemplate", "template1") == [("1",)]
