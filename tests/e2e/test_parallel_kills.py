"""A PostgreSQL dump of several sessions, in which one of them dies, or other people write: whole, or a clean failure.

The main tool is held inside the schema, behind which all other sessions wait: they have the snapshot, and no row of
theirs is in the file.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import ServerPool
from tests.e2e import compare
from tests.e2e.gate import wait_until
from tests.e2e.killing import Scene, Seen, all_gone, family, staged, waiting_for_lock
from tests.waiting import PATIENCE
from vya_backupd.dumpfile.manifest import decode_manifest

DATABASE = "parallel_kills"
PARALLEL = {"parallel_per_database": 3, "parallel_piece_size": 1 << 16}


@pytest.fixture(scope="module")
def scene(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    server, root = server_pool.get("postgresql"), tmp_path_factory.mktemp("parallel")
    with staged(server, root, DATABASE, backup=PARALLEL) as scene:
        server.sql("alter table c_small add balance bigint default 0", DATABASE)
        yield scene


@pytest.fixture(autouse=True)
def _ready(scene: Scene) -> Iterator[None]:
    scene.gate.disarm()
    scene.server.start()
    if scene.product.process.poll() is not None:
        scene.product.start()
    yield
    scene.gate.disarm()


def held(scene: Scene) -> tuple[str, int, list[Seen]]:
    """A backup that is held; its operation, the main tool, and the sessions beside it."""
    scene.gate.arm("schema")
    operation = scene.control.back_up()
    tool = scene.gate.held()
    sessions = [each for each in family(scene.product.process.pid) if "/psql" in each.command.split()[0]]
    assert len(sessions) == 3
    return operation, tool, sessions


def terminate(scene: Scene, which: str) -> None:
    """End one backend of ours in the database."""
    (answer,) = scene.server.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        f" where datname = '{DATABASE}' and backend_type = 'client backend' and {which} limit 1"
    )
    assert answer == ("t",)


def test_all_pieces_of_all_sessions_are_in_the_file(scene: Scene) -> None:
    record = scene.succeeded(scene.control.back_up())
    data = scene.store.backups()[record["steps"][0]["backup_id"]]
    manifest = decode_manifest(data.with_name(f"{data.name}.metadata.json").read_bytes())
    assert manifest.facts.streams == 4
    assert manifest.warnings == ()
    assert sum(each.rows or 0 for each in manifest.extents if each.name == "public.a_rows") == 4000


def test_a_session_is_killed(scene: Scene) -> None:
    operation, _, sessions = held(scene)
    os.kill(sessions[1].pid, signal.SIGKILL)
    scene.gate.release()
    step = scene.failed(operation, {"tool_killed"})
    assert step["error"]["retryable"] is True
    all_gone(sessions)


def test_the_main_tool_is_killed(scene: Scene) -> None:
    operation, tool, sessions = held(scene)
    os.kill(tool, signal.SIGKILL)
    scene.failed(operation, {"tool_killed"})
    all_gone(sessions)


def test_a_session_loses_its_server_process(scene: Scene) -> None:
    operation, _, sessions = held(scene)
    terminate(scene, "application_name = 'vya-backupd' and query like 'COPY %'")
    scene.gate.release()
    scene.failed(operation, {"server_lost"})
    all_gone(sessions)


def test_the_leading_session_is_lost(scene: Scene) -> None:
    """Its locks are gone, and with them the certainty that all saw the same tables."""
    operation, _, sessions = held(scene)
    terminate(scene, "application_name = 'vya-backupd probe' and state = 'idle in transaction'")
    scene.failed(operation, {"server_lost"})
    all_gone(sessions)


def test_the_server_is_killed(scene: Scene) -> None:
    operation, _, sessions = held(scene)
    scene.server.kill()
    scene.gate.release()
    scene.failed(operation, {"server_lost"})
    all_gone(sessions)


def test_the_operation_is_cancelled(scene: Scene) -> None:
    operation, _, sessions = held(scene)
    scene.control.ask("POST", f"/v1/operations/{operation}/cancel", {})
    scene.failed(operation, {"cancelled"}, "cancelled")
    all_gone(sessions)


def test_the_daemon_is_killed(scene: Scene) -> None:
    operation, _, _ = held(scene)
    children = family(scene.product.process.pid)
    scene.product.kill()
    all_gone(children, 3.0)
    scene.product.start()
    scene.failed(operation, {"interrupted"}, "interrupted")


def test_a_change_of_a_table_waits_and_harms_nobody(scene: Scene) -> None:
    operation, _, _ = held(scene)
    login = f"host={scene.server.host} port={scene.server.port} user={scene.server.admin_user} dbname={DATABASE}"
    with psycopg.connect(login, password=scene.server.admin_password, autocommit=True) as other:
        changing = threading.Thread(target=other.execute, args=("alter table a_rows add more int",))
        changing.start()
        wait_until(lambda: waiting_for_lock(scene.server), PATIENCE, "nobody waits")
        scene.gate.release()
        record = scene.succeeded(operation)
        changing.join(PATIENCE)
        other.execute("alter table a_rows drop more")
    text = gzip.decompress(scene.store.backups()[record["steps"][0]["backup_id"]].read_bytes())
    assert b"COPY public.a_rows (id, t) FROM stdin;" in text
    assert b"more integer" not in text


def test_all_sessions_see_one_moment(scene: Scene) -> None:
    """While nothing is read yet, and then while it is, others move, add and take away rows of all tables."""
    server = scene.server
    before = compare.rows(server, DATABASE)
    operation, _, _ = held(scene)
    disturb = (
        "update a_rows set t = t || 'x' where id % 3 = 0; delete from a_rows where id % 7 = 1;"
        " insert into a_rows select n, 'new' from generate_series(100000, 101000) n;"
        " update b_small set t = 'other'; insert into c_small select n, 'more' from generate_series(10, 2000) n"
    )
    server.sql(disturb, DATABASE)
    stop = threading.Event()

    def write() -> None:
        number = 200_000
        while not stop.is_set():
            number += 1
            server.sql(
                f"insert into a_rows values ({number}, 'late'); delete from a_rows where id = {number}", DATABASE
            )

    writer = threading.Thread(target=write)
    writer.start()
    scene.gate.release()
    try:
        record = scene.succeeded(operation)
    finally:
        stop.set()
        writer.join()
    assert compare.rows(server, DATABASE) != before
    restored = f"{DATABASE}_restored"
    server.create_database(restored, "template template0")
    data = scene.store.backups()[record["steps"][0]["backup_id"]]
    server.sql(gzip.decompress(data.read_bytes()).decode(), restored)
    try:
        assert compare.rows(server, restored) == before
    finally:
        server.drop_database(restored)


def _warnings(data: Path) -> list[str]:
    found: list[str] = json.loads(data.with_name(f"{data.name}.metadata.json").read_bytes())["warnings"]
    return found


def test_without_room_for_more_sessions_one_does_it_and_says_so(scene: Scene) -> None:
    server = scene.server
    server.sql("create role few login password 'few' connection limit 2; grant pg_read_all_data to few")
    entry = scene.product.instances[0] | {"username": "few", "password": "few"}
    scene.product.instances[0], usual = entry, scene.product.instances[0]
    try:
        scene.product.stop()
        scene.product.write_credentials()
        scene.product.start()
        record = scene.succeeded(scene.control.back_up())
        data = scene.store.backups()[record["steps"][0]["backup_id"]]
        assert "dumped in one stream: the server has no free connections for more sessions" in _warnings(data)
    finally:
        scene.product.stop()
        scene.product.instances[0] = usual
        scene.product.write_credentials()
        server.sql("drop role few")
