"""Servers that end sessions which take too long: what is lifted for a dump, and what happens where it cannot be.

Somebody else's session that keeps to the same limits proves that they were really reached while the dump was held.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import ServerPool
from tests.e2e.compare_mysql import option_file
from tests.e2e.killing import Scene, staged
from tests.waiting import until
from vya_backupd.testing.servers import PrivateServer

ROWS = 30_000
"""Of a kilobyte each: more than what all buffers between a server and a client that does not read can take."""
_FILL = f"""
SET SESSION {{limit}} = {ROWS + 10_000};
INSERT INTO a_rows WITH RECURSIVE n (i) AS (SELECT 10000 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS + 10_000})
 SELECT i, REPEAT('z', 1000) FROM n;
"""


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def scene(request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path: Path, fresh_name: str) -> Iterator[Scene]:
    server = server_pool.get(request.param)
    backup = {"attempts": 2, "retry_wait": "100ms", "parallel_per_database": 1}
    with staged(server, tmp_path, fresh_name, backup=backup) as scene, limited(server, fresh_name):
        if server.kind != "postgresql":
            limit = "max_recursive_iterations" if server.kind == "mariadb" else "cte_max_recursion_depth"
            server.sql(_FILL.format(limit=limit), fresh_name)
        yield scene


@contextlib.contextmanager
def limited(server: PrivateServer, database: str) -> Iterator[None]:
    """Let the server end whoever takes more than a second."""
    if server.kind == "postgresql":
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            server.sql(f"ALTER DATABASE {server.quote_name(database)} SET {name} = '1s'")
        yield
        return
    (before,) = server.sql("SELECT @@GLOBAL.net_write_timeout")[0]
    server.sql("SET GLOBAL net_write_timeout = 1")
    yield
    server.sql(f"SET GLOBAL net_write_timeout = {before}")


def another_is_ended(server: PrivateServer, database: str) -> None:
    """Come as somebody else, be slow, and wait until the server ends that."""
    if server.kind == "postgresql":
        login = f"host={server.host} port={server.port} user={server.admin_user} dbname={database}"
        with contextlib.closing(psycopg.connect(login, password=server.admin_password)) as connection:
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("SELECT pg_sleep(3600)")
            connection.rollback()
            connection.execute("SELECT 1")
            until(lambda: gone(server, connection.info.backend_pid), otherwise="an idle transaction went on")
        return
    with option_file(server) as options:
        command = [str(server.tools["client"]), f"--defaults-file={options}", "--quick", "-e", "SELECT * FROM a_rows"]
        with subprocess.Popen([*command, database], stdout=subprocess.PIPE) as client:
            before = aborted(server)
            until(lambda: aborted(server) > before, otherwise="a client that does not read went on")
            client.kill()


def gone(server: PrivateServer, backend: int) -> bool:
    """Whether a session of PostgreSQL has ended."""
    return server.sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}") == [("0",)]


def aborted(server: PrivateServer) -> int:
    """How many sessions the server has ended by itself."""
    return int(server.sql("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")[0][1])


def test_a_dump_outlasts_the_limits_or_is_made_again(scene: Scene) -> None:
    scene.gate.arm("data")
    before = aborted(scene.server) if scene.server.kind == "mariadb" else 0
    operation = scene.control.back_up()
    scene.gate.held()
    another_is_ended(scene.server, scene.database)
    if scene.server.kind == "mariadb":
        until(lambda: aborted(scene.server) >= before + 2, otherwise="the server let the dump be")
    scene.gate.disarm()
    scene.gate.release()
    scene.succeeded(operation)
    retried = [each["reason"] for each in scene.product.events("backup.retry")]
    if scene.server.kind == "mariadb":
        assert [reason.partition(":")[0] for reason in retried] == ["server_lost"], "its dump tool knows no way"
        (step,) = scene.control.operation(operation)["steps"]
        assert any("net_write_timeout is 1 s" in warning for warning in step["detail"]["warnings"])
    else:
        assert retried == []
