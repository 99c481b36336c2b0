from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until
from vya_backupd.errors import ServerError
from vya_backupd.testing.guard import family
from vya_backupd.testing.servers import PrivateServer

StartServer = Callable[..., PrivateServer]

_OWNER = """
import sys, time
from pathlib import Path
from vya_backupd.testing.discover import find_servers
spec = next(spec for spec in find_servers() if spec.label == sys.argv[1])
server = spec.start(Path(sys.argv[2]))
print(server.pid, server.data_dir, server.directory, flush=True)
time.sleep(600)
"""


def test_says_its_version_and_keeps_rows(server: PrivateServer, fresh_name: str) -> None:
    server.create_database(fresh_name)
    server.sql("create table t (a int, b text)", fresh_name)
    server.sql("insert into t values (1, 'tab\tand\nline'), (2, null), (3, 'ü€')", fresh_name)
    assert server.sql("select version()")[0][0].removeprefix("PostgreSQL ").startswith(server.version)
    expected = [("1", "tab\tand\nline"), ("2", "NULL"), ("3", "ü€")]
    assert server.sql("select a, b from t order by a", fresh_name) == expected
    server.drop_database(fresh_name)
    with pytest.raises(ServerError, match=fresh_name):
        server.sql("select 1", fresh_name)


@pytest.mark.parametrize("name", ["with space", "quo'te\"`", "ünïcode", "-dash", "a=b", "sla/sh"])
def test_any_name_is_a_database_name(server: PrivateServer, name: str) -> None:
    server.create_database(name)
    function = "current_database()" if server.kind == "postgresql" else "database()"
    assert server.sql(f"select {function}", name) == [(name,)]
    server.drop_database(name)


def test_passwords_are_asked_for(server: PrivateServer) -> None:
    assert server.can_login(server.admin_user, server.admin_password)
    assert not server.can_login(server.admin_user, "wrong")
    assert not server.can_login(server.admin_user, "")
    server.admin_password, right = "wrong", server.admin_password
    try:
        with pytest.raises(ServerError, match=r"(?i)password|denied"):
            server.sql("select 1")  # through the socket
    finally:
        server.admin_password = right


def test_a_password_of_every_printable_character_logs_in(server: PrivateServer, fresh_name: str) -> None:
    password = "".join(map(chr, range(32, 127))) + "ü€"
    literal = password.replace("'", "''")
    user = server.quote_name(fresh_name)
    if server.kind == "postgresql":
        server.sql(f"create user {user} password '{literal}'")
    else:
        literal = literal.replace("\\", "\\\\")
        server.sql(f"create user {user}@'%' identified by '{literal}'")
    assert server.can_login(fresh_name, password, "postgres" if server.kind == "postgresql" else None)
    assert not server.can_login(fresh_name, password[:-1])
    server.sql(f"drop user {user}" + ("" if server.kind == "postgresql" else "@'%'"))


def test_data_outlives_stop_and_kill(server: PrivateServer, start_server: StartServer) -> None:
    own = start_server(server.spec.label)
    own.create_database("d")
    own.sql("create table t (a int); insert into t values (1)", "d")
    port, before = own.port, own.pid
    own.kill()
    assert not own.running
    assert family(str(own.data_dir), before) == set()
    own.start()
    own.sql("insert into t values (2)", "d")
    own.restart()
    assert own.port == port
    assert own.pid != before
    assert own.sql("select a from t order by a", "d") == [("1",), ("2",)]


def test_settings_are_taken(server: PrivateServer, start_server: StartServer) -> None:
    own = start_server(server.spec.label, settings={"max_connections": "17"})
    variable = "show max_connections" if own.kind == "postgresql" else "select @@max_connections"
    assert own.sql(variable) == [("17",)]


def test_a_server_that_cannot_start_shows_its_log(server: PrivateServer, start_server: StartServer) -> None:
    with pytest.raises(ServerError, match="no_such_setting"):
        start_server(server.spec.label, settings={"no_such_setting": "1"})


def test_without_tls_on_the_network_nobody_enters_when_it_is_required(
    server: PrivateServer, start_server: StartServer
) -> None:
    own = start_server(server.spec.label, require_tls=True)
    assert own.ca_cert is not None
    assert own.ca_cert.read_text().startswith("-----BEGIN CERTIFICATE")
    assert own.can_login(own.admin_user, own.admin_password)  # clients take TLS when it is offered
    assert not _plain_login(own)
    assert _plain_login(server)


def _plain_login(server: PrivateServer) -> bool:
    return subprocess.run(**_plain_client(server), capture_output=True, check=False).returncode == 0


def _plain_client(server: PrivateServer) -> dict[str, Any]:
    if server.kind == "postgresql":
        url = f"host={server.host} port={server.port} user={server.admin_user} sslmode=disable"
        command = [str(server.tools["psql"]), "-w", "-c", "select 1", url]
        return {"args": command, "env": {**os.environ, "PGPASSWORD": server.admin_password}}
    plain = "--skip-ssl" if server.kind == "mariadb" else "--ssl-mode=DISABLED"
    command = [str(server.tools["client"]), "--no-defaults", f"--host={server.host}", f"--port={server.port}", plain]
    command += [f"--user={server.admin_user}", f"--password={server.admin_password}", "-e", "select 1"]
    if server.kind == "mysql":
        command.append("--get-server-public-key")
    return {"args": command}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_its_owner(server: PrivateServer, tmp_path: Path, end: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, server.spec.label, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, data_dir, directory = owner.stdout.readline().split()
        assert len(family(data_dir, int(pid))) >= 1
        owner.send_signal(end)
        owner.wait()
    until(lambda: not family(data_dir, int(pid)))
    # the guard deletes the files once the processes are gone
    until(lambda: not Path(directory).exists())


def test_no_server_outlives_its_killed_guard(server: PrivateServer, start_server: StartServer) -> None:
    own = start_server(server.spec.label)
    pid = own.pid
    guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert b"guard.py" in Path(f"/proc/{guard}/cmdline").read_bytes()
    os.kill(guard, signal.SIGKILL)
    until(lambda: not family(str(own.data_dir), pid))
