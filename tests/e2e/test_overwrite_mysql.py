"""Replacing a database of MySQL or MariaDB: the original stays until its successor stands, and one command leads back."""

from __future__ import annotations

import contextlib
import difflib
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool, _labels
from tests.e2e.compare_mysql import checksums, load_schema, option_file, own_dump, properties
from tests.e2e.killing import Control
from tests.waiting import PATIENCE, until
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

NAME = "replaced-db %1"
_CHANGES = """
INSERT INTO audit (what) VALUES ('after the backup');
CREATE TABLE `newer` (id int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES zzz_parent (id));
CREATE VIEW `newer view` AS SELECT * FROM newer;
DROP TABLE `empty`;
DROP TRIGGER `deny all`;
CREATE TRIGGER newest AFTER INSERT ON zzz_parent FOR EACH ROW INSERT INTO audit (what) VALUES ('newest');
DROP FUNCTION `fn ``odd```;
"""


@dataclass
class Place:
    """A database that changed since its backup; what it was then and what it is now."""

    server: PrivateServer
    product: Product
    faults: Path
    then: dict[str, Any]
    now: dict[str, Any]

    chosen = ("--instance", "one", "--database", NAME, "--latest", "--overwrite", "--yes", "--output", "json")

    def overwrite(self, *options: str) -> Ran:
        return self.product.ctl("restore", *self.chosen, *options)

    def databases(self) -> list[str]:
        names = [name for (name,) in self.server.sql("SHOW DATABASES")]
        return [name for name in names if "replaced" in name and name != f"{NAME} other"]

    @contextlib.contextmanager
    def held(self, table: str) -> Iterator[None]:
        """While this lasts, nobody changes anything of this table."""
        with option_file(self.server) as login:
            argv = [str(self.server.tools["client"]), f"--defaults-file={login}", "--batch", "--unbuffered", NAME]
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
                assert client.stdin is not None
                assert client.stdout is not None
                client.stdin.write(f"LOCK TABLES `{table}` READ; SELECT 'held';\n".encode())
                client.stdin.flush()
                assert client.stdout.readline() == b"held\n"
                yield
                client.stdin.close()

    def waiting(self) -> list[tuple[str, ...]]:
        """The sessions that wait for such a lock."""
        view = "performance_schema.processlist" if self.server.kind == "mysql" else "information_schema.PROCESSLIST"
        return self.server.sql(f"SELECT ID FROM {view} WHERE STATE = 'Waiting for table metadata lock'")

    def go_back(self) -> None:
        """Run the command that the log names."""
        words = shlex.split(self.product.events("restore.swap_begins")[-1]["way_back"])
        at = words.index("<")
        with option_file(self.server) as login, Path(words[at + 1]).open("rb") as script:
            command = [str(self.server.tools["client"]), f"--defaults-file={login}", *words[1:at]]
            subprocess.run(command, stdin=script, capture_output=True, check=False)

    def kill_at(self, fault: str) -> None:
        """Overwrite, with the daemon killed there; then start it again."""
        self.faults.write_text(fault)
        with self.product.begin("restore", *self.chosen) as client:
            assert self.product.process.wait(PATIENCE) == -9
            client.terminate()  # it would wait for another daemon
        self.faults.write_text("")
        self.product.start()

    def tidy(self) -> None:
        for name in self.databases():
            if name != NAME:
                self.server.drop_database(name)


def picture(server: PrivateServer, database: str = NAME) -> dict[str, Any]:
    """Everything in a database."""
    return {
        "dump": own_dump(server, database, database).decode("utf-8", "backslashreplace").splitlines(),
        "rows": checksums(server, database),
        "properties": properties(server, database),
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs, for people."""
    lines = list(difflib.unified_diff(one["dump"], other["dump"], lineterm="", n=1))
    return lines + [f"{key}: {one[key]} {other[key]}" for key in ("rows", "properties") if one[key] != other[key]]


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def place(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    server, root = server_pool.get(request.param), tmp_path_factory.mktemp("overwrite")
    load_schema(server, NAME, "mysql_common.sql", f"{server.kind}.sql")
    faults = root / "faults"
    faults.touch()
    entry = instance(server, "one", database=["replaced*"])
    product = Product(root / "product", [entry], servers=[server], environ={"VYA_FAULTS": f"@{faults}"})
    with product:
        product.ok("backup", "--instance", "one", "--database", NAME)
        then = picture(server)
        server.sql(_CHANGES, NAME)
        yield Place(server, product, faults, then, picture(server))
    for name in (NAME, f"{NAME} other"):
        server.drop_database(name)


@pytest.mark.parametrize("point", ["restore.fed", "restore.swap_begun"])
def test_a_failure_before_the_exchange_leaves_the_original_alone(place: Place, point: str) -> None:
    place.faults.write_text(f"{point}=fail")
    ran = place.overwrite()
    place.faults.write_text("")
    assert ran.code == 1
    assert "\n".join(differences(place.now, picture(place.server))) == ""
    assert place.databases() == [NAME]


def test_killed_at_any_step_one_command_brings_the_original_back(place: Place) -> None:
    exchanged: list[bool] = []
    share = 0.0
    while share < 1:
        steps = place.product.events("restore.swap_begins")[-1]["steps"] if exchanged else 1
        place.kill_at(f"restore.swap_step=kill@{max(1, int(steps * share))}")
        share += 0.32
        exchanged.append("newer" not in checksums(place.server, NAME))
        place.go_back()
        assert "\n".join(differences(place.now, picture(place.server))) == ""
        assert not [each for each in place.databases() if "_vya_old_" in each]
        place.tidy()
    assert exchanged[0] is False
    assert exchanged[-1] is True


def test_a_foreign_key_from_elsewhere_refuses_it(place: Place) -> None:
    other = place.server.quote_name(f"{NAME} other")
    parent = f"{place.server.quote_name(NAME)}.zzz_parent"
    place.server.sql(f"CREATE TABLE {other}.points (p int, FOREIGN KEY (p) REFERENCES {parent} (id))")
    ran = place.overwrite()
    place.server.sql(f"DROP TABLE {other}.points")
    assert ran.code in (1, 6)
    error = ran.json["steps"][0]["error"] if "steps" in ran.json else ran.json["error"]
    assert error["code"] == "swap_refused"
    assert "points" in error["message"]
    assert "\n".join(differences(place.now, picture(place.server))) == ""
    assert place.databases() == [NAME]


def test_without_confirmation_nothing_is_replaced(place: Place) -> None:
    ran = place.product.ctl("restore", "--instance", "one", "--database", NAME, "--latest", "--overwrite")
    assert ran.code == 2
    assert "\n".join(differences(place.now, picture(place.server))) == ""


def test_the_backup_takes_the_original_s_place_wholly(place: Place) -> None:
    ran = place.overwrite()
    assert ran.code == 0, ran.err + ran.out
    assert "\n".join(differences(place.then, picture(place.server))) == ""
    assert place.databases() == [NAME]


def test_a_cancellation_waits_for_an_exchange_that_has_begun(place: Place) -> None:
    place.server.sql("CREATE TABLE late (a int)", NAME)
    with place.held("late"), place.product.begin("restore", *place.chosen) as client:
        until(place.waiting)
        control = Control(place.product)
        (running,) = control.ask("GET", "/v1/operations?state=running")["operations"]
        control.ask("POST", f"/v1/operations/{running['id']}/cancel", {})
        client.terminate()
    record = control.finished(running["id"])
    assert record["operation"]["state"] == record["steps"][0]["state"] == "succeeded", record
    assert "\n".join(differences(place.then, picture(place.server))) == ""
    assert place.databases() == [NAME]
