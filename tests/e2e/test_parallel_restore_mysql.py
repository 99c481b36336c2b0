"""Restores of MySQL and MariaDB in several sessions, by the daemon: the same database, or nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool, _labels
from tests.e2e.compare_mysql import assert_same, option_file
from tests.e2e.killing import Control, all_gone, family
from tests.operations.feeding_rig import feeding_rig
from tests.uncovered import UNCOVERED
from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

ROWS, COPY = "several rows", "several copy"
_COUNT = 4500
"""Rows of one kilobyte: enough for a table to get its keys behind its rows."""
_HOLD = b"DO GET_LOCK('several', 100000);\n"


@dataclass
class Place:
    """A server, a daemon, and backup files made for it."""

    server: PrivateServer
    product: Product
    files: dict[str, Path]

    def begin(self, file: str, **more: Any) -> str:
        """Begin to restore a file in three sessions; the operation's id."""
        request = {
            "file": str(self.files[file]),
            "target_instance": "one",
            "target_database": COPY,
            "sessions": 3,
        } | more
        answer = Control(self.product).ask("POST", "/v1/operations", {"kind": "restore", "request": request})
        return str(answer["operation"]["id"])

    def succeeded(self, operation: str) -> dict[str, Any]:
        """Wait for the end; what is recorded of the one step."""
        record = Control(self.product).finished(operation)
        assert record["operation"]["state"] == "succeeded", record
        return dict(record["steps"][0]["detail"])

    def ended(self, operation: str, state: str) -> dict[str, Any]:
        """Wait for the end; the error of its one step. Nothing of the copy is left then."""
        record = Control(self.product).finished(operation)
        assert record["operation"]["state"] == state, record
        assert self.sessions() == []
        assert not self.has_copy()
        return dict(record["steps"][0]["error"])

    def sessions(self, where: str = "1") -> list[str]:
        """The numbers of the sessions in the copy for which this holds."""
        view = "performance_schema.processlist" if self.server.kind == "mysql" else "information_schema.PROCESSLIST"
        return [row[0] for row in self.server.sql(f"SELECT ID FROM {view} WHERE DB = '{COPY}' AND {where}")]

    def has_copy(self) -> bool:
        return self.server.sql(f"SHOW DATABASES LIKE '{COPY}'") != []

    def waiting(self) -> str:
        """The number of the session that waits in the midst of the rows."""
        return until(lambda: self.sessions("STATE = 'User lock'"))[0]


@contextlib.contextmanager
def _held(server: PrivateServer) -> Iterator[None]:
    """While this lasts, a restore of the file ``held`` does not get beyond some place in the rows."""
    with option_file(server) as login:
        argv = [str(server.tools["client"]), f"--defaults-file={login}", "--batch", "--unbuffered"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"SELECT GET_LOCK('several', 0) AS held;\n")
            client.stdin.flush()
            assert [client.stdout.readline() for _ in range(2)] == [b"held\n", b"1\n"]
            yield
            client.stdin.close()


def _fill(server: PrivateServer) -> None:
    server.drop_database(ROWS)
    server.create_database(ROWS)
    rows = ",".join(f"({number},{number},REPEAT('x',1000))" for number in range(1, _COUNT + 1))
    server.sql(
        "CREATE TABLE big (id int PRIMARY KEY, v int, pad text, UNIQUE KEY u (v), KEY pads (pad(10)));"
        "CREATE TABLE small (id int AUTO_INCREMENT PRIMARY KEY, v int, KEY (v),"
        " CONSTRAINT far FOREIGN KEY (v) REFERENCES big (v));"
        f"INSERT INTO big VALUES {rows}; INSERT INTO small VALUES (1, 1), (7, 2);"
        "CREATE TABLE audit (what text); CREATE VIEW a_view AS SELECT v FROM big;"
        "CREATE TRIGGER fires AFTER INSERT ON big FOR EACH ROW INSERT INTO audit VALUES ('fired');"
        "CREATE EVENT happens ON SCHEDULE EVERY 1 DAY DO INSERT INTO audit VALUES ('happened');",
        ROWS,
    )


async def _make(server: PrivateServer, folder: Path) -> dict[str, Path]:
    async with feeding_rig(server, folder) as rig:
        return {
            "whole": await rig.packed(ROWS, 1 << 20, name="whole"),
            "held": await rig.packed(ROWS, 1 << 20, name="held", edit=_behind_rows),
            "twice": await rig.packed(
                ROWS, 1 << 20, name="twice", edit=lambda text: text.replace(b"(%d,%d," % (_COUNT, _COUNT), b"(9999,1,")
            ),
        }


def _behind_rows(text: bytes) -> bytes:
    end = text.index(b");\n", text.index(b"INSERT INTO `small` VALUES")) + 3
    return text[:end] + _HOLD + text[end:]


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def place(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    server, root = server_pool.get(request.param), tmp_path_factory.mktemp("several")
    _fill(server)
    files = asyncio.run(_make(server, root))
    with Product(root / "product", [instance(server, "one")], servers=[server], environ=UNCOVERED) as product:
        yield Place(server, product, files)
    for name in (ROWS, COPY):
        server.drop_database(name)


@pytest.fixture(autouse=True)
def _no_copy(place: Place) -> Iterator[None]:
    yield
    place.server.drop_database(COPY)


def test_several_sessions_restore_the_database_or_replace_it(place: Place) -> None:
    server = place.server
    before = server.sql("SELECT * FROM audit", ROWS)
    assert place.succeeded(place.begin("whole"))["sessions"] == 3
    assert_same(server, ROWS, server, COPY, events_off=True)
    assert server.sql("SELECT * FROM audit", COPY) == before
    assert server.sql("SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = database()", COPY) == [
        ("DISABLED",)
    ]
    server.sql("DELETE FROM small; CREATE TABLE newer (id int)", ROWS)
    assert place.succeeded(place.begin("whole", target_database=ROWS, overwrite=True, confirmed_target=ROWS))[
        "replaced"
    ]
    assert_same(server, COPY, server, ROWS)


def test_a_row_that_a_late_unique_key_refuses_fails_the_restore(place: Place) -> None:
    error = place.ended(place.begin("twice"), "failed")
    assert error["code"] == "restore_failed"
    assert "Duplicate entry '1' for key" in error["message"]


def test_a_killed_session_fails_the_restore(place: Place) -> None:
    with _held(place.server):
        operation = place.begin("held")
        place.server.sql(f"KILL {place.waiting()}")
        error = place.ended(operation, "failed")
    assert error["code"] == "server_lost"


def test_a_restore_is_cancelled_in_the_midst_of_rows(place: Place) -> None:
    with _held(place.server):
        operation = place.begin("held")
        place.waiting()
        place.product.ok("operations", "cancel", operation)
        assert place.ended(operation, "cancelled")["code"] == "cancelled"


def test_a_killed_daemon_leaves_nothing_for_long(place: Place) -> None:
    with _held(place.server):
        operation = place.begin("held")
        place.waiting()
        children = family(place.product.process.pid)
        assert len(children) >= 3
        place.product.kill()
        all_gone(children, 3.0)
    place.product.start()
    until(lambda: not place.has_copy())
    assert place.ended(operation, "interrupted")["code"] == "interrupted"
