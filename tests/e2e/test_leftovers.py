"""What a killed restore leaves on a server is taken away; what might be the original is never touched."""

from __future__ import annotations

import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool
from tests.e2e.compare_mysql import option_file
from tests.uncovered import UNCOVERED
from tests.waiting import PATIENCE, until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

_ROWS = [("1",), ("2",)]
_USER = "`left behind`@`10.%`"


@dataclass
class Scene:
    """A database with a row more than its backup, on a server, and a daemon that can be made to die."""

    server: PrivateServer
    product: Product
    faults: Path
    name: str
    copies: list[str] = field(default_factory=list)

    @property
    def is_mysql(self) -> bool:
        return self.server.kind != "postgresql"

    def restore_words(self, *more: str) -> tuple[str, ...]:
        return "restore", "--instance", "one", "--database", self.name, "--latest", *more

    def killed(self, point: str, *more: str) -> None:
        """A restore during which the daemon dies at this point."""
        self.faults.write_text(f"{point}=kill")
        with self.product.begin(*self.restore_words(*more)) as client:
            assert self.product.process.wait(PATIENCE) == -9
            client.terminate()  # it would wait for another daemon
        self.faults.write_text("")

    def databases(self) -> list[str]:
        """Everything that begins as this scene's databases do."""
        sql = "SHOW DATABASES" if self.is_mysql else "SELECT datname FROM pg_database"
        return sorted(name for (name,) in self.server.sql(sql) if name.startswith(self.name))

    def rows(self, database: str) -> list[tuple[str, ...]]:
        return self.server.sql("SELECT a FROM t ORDER BY a", database)

    def written(self) -> list[Path]:
        """What the daemon still has on record."""
        return sorted((self.product.state_dir / "restores").glob("*.json"))

    def settled(self) -> None:
        """Wait until nothing is on record any more."""
        until(lambda: not self.written(), otherwise="something is left")

    def troubles(self) -> list[str]:
        return list(self.product.ok("status")["troubles"])

    def account(self) -> list[tuple[str, ...]]:
        return self.server.sql("SELECT User FROM mysql.user WHERE User = 'left behind'")

    @contextmanager
    def session(self, database: str) -> Iterator[None]:
        """Somebody who is connected to a database."""
        if self.is_mysql:
            with option_file(self.server) as login:
                argv = [
                    str(self.server.tools["client"]),
                    f"--defaults-file={login}",
                    "--batch",
                    "--unbuffered",
                    database,
                ]
                with _talking(argv, b"SELECT 'here';\n", {}):
                    yield
            return
        server = self.server
        place = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.admin_user}
        environ = os.environ | place | {"PGPASSWORD": server.admin_password}
        with _talking([str(server.tools["psql"]), "-XAtd", database], b"SELECT 'here';\n", environ):
            yield

    def go_back(self) -> None:
        """Run the command that the status names."""
        (trouble,) = self.troubles()
        words = shlex.split(trouble.partition("Bring it back:")[2].partition(" ; ")[0])
        server = self.server
        if self.is_mysql:
            at = words.index("<")
            with option_file(server) as login, Path(words[at + 1]).open("rb") as script:
                argv = [str(server.tools["client"]), f"--defaults-file={login}", *words[1:at]]
                subprocess.run(argv, stdin=script, capture_output=True, check=False)
            return
        place = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.admin_user}
        words[0] = str(server.tools["psql"])
        subprocess.run(words, check=True, env=os.environ | place | {"PGPASSWORD": server.admin_password})


@contextmanager
def _talking(argv: list[str], question: bytes, environ: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ or None) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(question)
        client.stdin.flush()
        while b"here" not in (line := client.stdout.readline()):
            assert line, "the client ended"
        yield
        client.stdin.close()


@pytest.fixture(scope="module", params=["postgresql", "mariadb", "mysql"])
def installed(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    server, root = server_pool.get(request.param), tmp_path_factory.mktemp("leftovers")
    name, faults = f"left_{uuid.uuid4().hex[:10]}", root / "faults"
    faults.touch()
    server.create_database(name)
    server.sql("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2)", name)
    if server.kind != "postgresql":
        server.sql(f"DROP USER IF EXISTS {_USER}; CREATE USER {_USER} IDENTIFIED BY 'x'; GRANT ALL ON *.* TO {_USER}")
        server.sql(f"CREATE DEFINER={_USER} VIEW v AS SELECT a FROM t; CREATE VIEW w AS SELECT a FROM v", name)
    entry = instance(server, "one", database=[f"{name}*"])
    product = Product(root / "product", [entry], servers=[server], environ=UNCOVERED | {"VYA_FAULTS": f"@{faults}"})
    with product:
        product.ok("backup", "--instance", "one", "--database", name)
        if server.kind != "postgresql":
            server.sql(f"DROP USER {_USER}")
        server.sql("INSERT INTO t VALUES (3)", name)
        scene = Scene(server, product, faults, name)
        yield scene
    for each in scene.databases():
        server.drop_database(each)


@pytest.fixture
def scene(installed: Scene) -> Iterator[Scene]:
    """A running daemon, nothing on record, and only the database itself."""
    installed.server.start()
    yield installed
    installed.faults.write_text("")
    for name in installed.databases():
        if name != installed.name:
            installed.server.drop_database(name)
    if installed.product.process.poll() is None and installed.written():
        installed.product.stop()
    if installed.product.process.poll() is not None:
        installed.product.start()
    installed.settled()


@pytest.mark.parametrize("point", ["restore.lending", "restore.fed"])
def test_a_database_that_is_not_whole_goes_at_the_next_start(scene: Scene, point: str) -> None:
    if point == "restore.lending" and not scene.is_mysql:
        pytest.skip("nothing is lent on PostgreSQL")
    copy = f"{scene.name}_copy"
    scene.killed(point, "--target-database", copy)
    left = set(scene.databases()) - {scene.name}
    assert len(left) == (point != "restore.lending")
    assert len(scene.written()) == 1
    assert "IDENTIFIED" not in scene.written()[0].read_text()
    if scene.is_mysql:
        assert bool(scene.account()) == (point != "restore.lending")
    scene.product.start()
    scene.settled()
    assert scene.databases() == [scene.name]
    dropped = scene.product.events("restore.leftover_dropped")
    assert {each["database"] for each in dropped[-1:] if left} == left
    assert not (scene.is_mysql and scene.account())
    scene.product.ok(*scene.restore_words("--target-database", copy))
    assert scene.rows(copy) == _ROWS
    assert scene.written() == []


def test_notes_that_were_never_whole_go_too(scene: Scene) -> None:
    """The daemon can die while it writes a note: what it had of it bears no name yet."""
    copy = f"{scene.name}_copy"
    scene.killed("restore.fed", "--target-database", copy)
    (note,) = scene.written()
    operation = note.name.rpartition("-")[0]
    state = scene.product.state_dir
    for half in (note.with_name(f".{note.name}.new"), state / f".undo-{operation}-84fa8910e563.sql.new"):
        half.write_text('{"operation"')
    scene.product.start()
    scene.settled()
    until(lambda: not [*state.glob("restores/.*"), *state.glob(".undo-*")], otherwise="halves of notes are left")


def test_one_that_is_whole_stays(scene: Scene) -> None:
    copy = f"{scene.name}_copy"
    scene.killed("restore.finished", "--target-database", copy)
    scene.product.start()
    scene.settled()
    if scene.is_mysql:
        # It bore its name from the beginning, and everything is in it.
        assert scene.databases() == [scene.name, copy]
        assert scene.rows(copy) == _ROWS
        tables = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA = "
        assert scene.server.sql(f"{tables}'{copy}'") == [("t",)]
    else:
        assert scene.databases() == [scene.name]


def test_a_database_of_that_name_which_is_not_ours_stays(scene: Scene) -> None:
    copy = f"{scene.name}_copy"
    scene.killed("restore.fed", "--target-database", copy)
    for name in scene.databases():
        if name != scene.name:
            scene.server.drop_database(name)
    scene.server.create_database(copy)
    scene.server.sql("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (77)", copy)
    if scene.is_mysql:
        scene.server.sql(f"ALTER USER {_USER} ACCOUNT UNLOCK")
    scene.product.start()
    scene.settled()
    assert scene.databases() == [scene.name, copy]
    assert scene.rows(copy) == [("77",)]
    if scene.is_mysql:
        assert scene.account()
        scene.server.sql(f"DROP USER {_USER}")


def test_what_came_into_an_empty_target_meanwhile_stays(scene: Scene) -> None:
    copy = f"{scene.name}_copy"
    scene.server.create_database(copy)
    scene.faults.write_text("restore.verified=hang")
    with scene.product.begin(*scene.restore_words("--target-database", copy)) as client:
        until(scene.faults.with_name("faults.hangs").exists)
        scene.server.sql("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (77)", copy)
        scene.faults.write_text("")
        _, said = client.communicate(timeout=PATIENCE)
    assert client.returncode == 6, said
    assert "is not empty (" in said
    assert scene.databases() == [scene.name, copy]
    assert scene.rows(copy) == [("77",)]
    assert scene.written() == []


def test_nothing_goes_while_somebody_is_connected(scene: Scene) -> None:
    scene.killed("restore.fed", "--overwrite", "--yes")
    (beside,) = set(scene.databases()) - {scene.name}
    with scene.session(beside):
        scene.product.start()
        (told,) = until(scene.troubles, otherwise="the status does not tell")
        assert beside in told
        assert "connected" in told
        assert scene.databases() == sorted([scene.name, beside])
    # The next restore looks again.
    scene.product.ok(*scene.restore_words("--target-database", f"{scene.name}_copy"))
    assert scene.databases() == [scene.name, f"{scene.name}_copy"]
    assert scene.troubles() == []
    assert scene.rows(scene.name) == [*_ROWS, ("3",)]


@pytest.mark.parametrize("point", ["restore.swap_step@2", "restore.swapped"])
def test_an_exchange_that_had_begun_is_left_to_people(scene: Scene, point: str) -> None:
    name, _, turn = point.partition("@")
    scene.faults.write_text(f"{name}=kill" + (f"@{turn}" if turn else ""))
    with scene.product.begin(*scene.restore_words("--overwrite", "--yes")) as client:
        assert scene.product.process.wait(PATIENCE) == -9
        client.terminate()
    scene.faults.write_text("")
    stand = scene.databases()
    scene.product.start()
    (told,) = until(scene.troubles, otherwise="the status does not tell")
    assert scene.product.events("restore.unsettled")[-1]["way_back"] in told
    assert scene.databases() == stand
    (undo,) = scene.product.state_dir.glob("undo-*.sql")

    scene.go_back()
    assert scene.rows(scene.name) == [*_ROWS, ("3",)]
    assert not [each for each in scene.databases() if "_vya_old_" in each]
    scene.product.stop()
    scene.product.start()
    scene.settled()
    assert scene.databases() == [scene.name]
    assert scene.rows(scene.name) == [*_ROWS, ("3",)]
    assert not undo.exists()
    assert scene.troubles() == []


@pytest.mark.parametrize("installed", ["postgresql"], indirect=True)
def test_a_server_that_is_down_at_the_start_is_asked_again(scene: Scene) -> None:
    copy = f"{scene.name}_copy"
    scene.killed("restore.fed", "--target-database", copy)
    scene.server.stop()
    scene.product.start()
    (told,) = until(scene.troubles, otherwise="the status does not tell")
    assert "did not let" in told
    scene.server.start()
    done: Any = scene.product.ok(*scene.restore_words("--target-database", copy))
    assert done["operation"]["state"] == "succeeded"
    assert scene.databases() == [scene.name, copy]
    assert scene.rows(copy) == _ROWS
    assert scene.written() == []
