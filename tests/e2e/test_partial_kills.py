"""A table that is being replaced while the daemon or its client program dies: the new one or the old one, never half."""

from __future__ import annotations

import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ServerPool
from tests.e2e.killing import family
from tests.e2e.test_leftovers import Scene
from tests.uncovered import UNCOVERED
from tests.waiting import PATIENCE, until
from vya_backupd.testing.compare import own_dump
from vya_backupd.testing.product import Product, instance

_TABLES = """
CREATE TABLE far (id int PRIMARY KEY);
INSERT INTO far VALUES (1);
CREATE TABLE log (what varchar(20));
CREATE TABLE t (a int PRIMARY KEY, far int REFERENCES far (id), doc text);
"""
_MYSQL = """
CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES ('fired');
INSERT INTO t SELECT n, 1, REPEAT(SHA2(n, 256), 30) FROM
    (SELECT ROW_NUMBER() OVER () n FROM information_schema.COLUMNS LIMIT 400) many;
DELETE FROM log;
"""
_POSTGRESQL = """
CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.log VALUES ('fired'); RETURN NEW; END $$;
CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION fired();
INSERT INTO t SELECT n, 1, repeat(md5(n::text), 60) FROM generate_series(1, 400) n;
DELETE FROM log;
"""
_REPLACE = ("--table", "t", "--overwrite", "--yes")
_NEW, _OLD = "400", "401"


class Table(Scene):
    """The scene, looked at through the one table: 400 rows in the backup, one more on the server."""

    def count(self) -> str:
        ((count,),) = self.server.sql("SELECT count(*) FROM t", self.name)
        return count

    def dump(self) -> str:
        """The database as its own tool shows it, rows of others and triggers included."""
        return re.sub(r"SET @@GLOBAL\.GTID_PURGED=[^;]*;", "", own_dump(self.server, self.name).decode())

    def spare(self) -> list[str]:
        """What a restore makes for itself: databases, or schemas within this one."""
        if self.is_mysql:
            return [name for name in self.databases() if name != self.name]
        return [
            name for (name,) in self.server.sql("SELECT nspname FROM pg_namespace WHERE nspname ~ '^_vya'", self.name)
        ]

    def client(self) -> int:
        """The process id of the program that feeds the server, as soon as there is one."""
        programs = ("psql", "mysql", "mariadb")

        def found() -> list[int]:
            seen = family(self.product.process.pid)
            return [each.pid for each in seen if Path(each.command.partition(" ")[0]).name in programs]

        return int(until(found, otherwise="no client was started")[0])


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def installed(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Table]:
    server, root = server_pool.get(request.param), tmp_path_factory.mktemp("partial_kills")
    name, faults = f"part_{uuid.uuid4().hex[:10]}", root / "faults"
    faults.touch()
    server.create_database(name)
    server.sql(_TABLES + (_POSTGRESQL if server.kind == "postgresql" else _MYSQL), name)
    entry = instance(server, "one", database=[name])
    product = Product(root / "product", [entry], servers=[server], environ=UNCOVERED | {"VYA_FAULTS": f"@{faults}"})
    with product:
        product.ok("backup", "--instance", "one", "--database", name)
        server.sql("INSERT INTO t VALUES (1000, 1, 'newer'); DELETE FROM log", name)
        yield Table(server, product, faults, name)
    server.drop_database(name)


@pytest.fixture
def table(installed: Table) -> Iterator[Table]:
    """A running daemon that has settled, and the table with its newer row."""
    before = installed.dump()
    assert installed.count() == _OLD
    yield installed
    installed.faults.write_text("")
    if installed.product.process.poll() is not None:
        installed.product.start()
    installed.product.ok("throttle", "reset", "--restore")
    installed.settled()
    assert installed.spare() == []
    if installed.count() == _NEW:
        installed.server.sql("INSERT INTO t VALUES (1000, 1, 'newer'); DELETE FROM log", installed.name)
    assert installed.dump() == before


def test_the_client_program_dies_amid_the_rows(table: Table) -> None:
    before = table.dump()
    table.product.ok("throttle", "set", "50KiB", "--restore")
    with table.product.begin(*table.restore_words(*_REPLACE), "--output", "json") as client:
        os.kill(table.client(), signal.SIGKILL)
        out, _ = client.communicate(timeout=PATIENCE)
    assert client.returncode in (1, 3)
    assert '"tool_killed"' in out
    assert table.dump() == before
    assert table.spare() == []


def test_the_daemon_dies_amid_the_rows(table: Table) -> None:
    before = table.dump()
    table.product.ok("throttle", "set", "50KiB", "--restore")
    with table.product.begin(*table.restore_words(*_REPLACE)) as client:
        table.client()
        table.product.kill()
        client.terminate()
    table.product.start()
    table.settled()
    until(lambda: table.spare() == [], otherwise="something of the restore is left")
    assert table.dump() == before


@pytest.mark.parametrize("point", ["restore.fed", "restore.swap_begun", "restore.swap_step@2", "restore.swapped"])
def test_the_daemon_dies_at_the_end(table: Table, point: str) -> None:
    if "swap" in point and not table.is_mysql:
        pytest.skip("on PostgreSQL the exchange is part of the one transaction")
    before = table.dump()
    name, _, turn = point.partition("@")
    table.faults.write_text(f"{name}=kill" + (f"@{turn}" if turn else ""))
    with table.product.begin(*table.restore_words(*_REPLACE)) as client:
        assert table.product.process.wait(PATIENCE) == -9
        client.terminate()
    table.faults.write_text("")
    if table.is_mysql and point in ("restore.fed", "restore.swap_begun"):
        assert table.count() == _OLD
    assert table.count() in (_NEW, _OLD)
    table.product.start()
    if "swap" in point and point != "restore.swap_begun":  # where no step was taken, nobody is needed
        until(table.troubles, otherwise="the status does not tell")
        table.go_back()
        for each in table.spare():
            table.server.drop_database(each)
        table.product.stop()
        table.product.start()
    table.settled()
    if table.is_mysql:
        assert table.dump() == before
    else:
        assert table.count() == _NEW
