"""The units' programs do their work under the units' restrictions.

There is no systemd to ask in tests: ``confine`` enforces what the unit says, by the same means. It needs root.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ServerPool
from tests.deployment import machine as machines
from tests.deployment.machine import ROOT, UNITS, Machine
from tests.peers import require_peer
from tests.waiting import PATIENCE, until
from vya_backupd.testing.product import instance
from vya_backupd.testing.servers import PrivateServer

VYACTL = str(Path(sys.executable).parent / "vyactl")


@pytest.fixture(scope="module")
def server(server_pool: ServerPool) -> PrivateServer:
    server = server_pool.get("postgresql")
    server.create_database("shop")
    server.sql("CREATE TABLE t AS SELECT n, md5(n::text) AS word FROM generate_series(1, 5000) n", "shop")
    return server


@pytest.fixture(scope="module")
def machine(server: PrivateServer) -> Iterator[Machine]:
    """A machine on which the product is installed and configured, in a folder with a short path (sockets need one)."""
    if os.geteuid() != 0:
        pytest.skip("only root can make mount namespaces and change users")
    for program in ("systemd-sysusers", "systemd-tmpfiles", "systemd-analyze"):
        require_peer(program)
    with tempfile.TemporaryDirectory(prefix="vya-m") as folder:
        top = Path(folder)
        top.chmod(0o755)
        tools = server.tools["pg_dump"].parent
        lent = () if tools.is_relative_to("/usr") else (tools.parent,)
        machine = machines.furnish(top / "root", machines.build_wheel(top), lent)
        _configure(machine, server, tools)
        yield machine


def _configure(machine: Machine, server: PrivateServer, tools: Path) -> None:
    config = {
        "application": {"hostname": "confined"},
        "control": {"operators": ["vya-operators"], "viewers": ["vya-viewers"]},
        "credentials": {"file": "/etc/vya_backupdb/credentials.json"},
        "monitoring": {"health_check": {"port": 0}},
        "scheduling": {"method": "systemd", "timezone": "UTC"},
        "tools": {"postgresql": {"search": [str(tools)]}},
    }
    etc = machine.at("/etc/vya_backupdb")
    (etc / "config.yaml").write_text(yaml.safe_dump(config))
    plain = etc / "plain.json"
    plain.touch(0o600)
    plain.write_text(json.dumps({"databases": [instance(server, "one", database="shop")]}))
    subprocess.run(
        [VYACTL, "credentials", "encrypt", "--input", plain, "--output", etc / "credentials.json"],
        check=True,
        capture_output=True,
    )
    plain.unlink()


class Unit:
    """One run of a unit's program. What it says goes to a file."""

    def __init__(self, machine: Machine, unit: str, notify: str = "") -> None:
        self.log = machine.root.parent / f"{unit}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                machine.confined(unit, notify=notify), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def manager(machine: Machine) -> Iterator[socket.socket]:
    """The end of the notify socket that is systemd's, which sees who speaks."""
    path = machine.at("/run/systemd/notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        path.chmod(0o777)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.settimeout(PATIENCE)
        yield sock
        path.unlink()


@pytest.fixture
def daemon(machine: Machine, manager: socket.socket) -> Iterator[Unit]:
    unit = Unit(machine, "vya-backupd.service", "/run/systemd/notify")
    control = machine.at("/run/vya-backupd/control.sock")
    until(lambda: control.exists() or unit.process.poll() is not None)
    assert unit.process.poll() is None, unit.said()
    yield unit
    if unit.process.poll() is None:
        unit.process.kill()
        unit.process.wait()
        control.unlink(missing_ok=True)


def _told(manager: socket.socket, wanted: str) -> int:
    """Wait until somebody says this; who it was."""
    while True:
        message, extra, _, _ = manager.recvmsg(4096, 1024)
        if wanted in message.decode().splitlines():
            (pid,) = [int.from_bytes(data[:4], "little") for _, kind, data in extra if kind == socket.SCM_CREDENTIALS]
            return pid


def _files(machine: Machine) -> set[Path]:
    return set(machine.at("/var/backups/vya_backupdb").rglob("*.gz"))


def _warnings(said: str) -> list[str]:
    records = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    expected = {"catalog.rebuilt"}  # the first start finds none
    return [
        str(record)
        for record in records
        if record["level"] not in ("info", "debug") and record["event"] not in expected
    ]


def test_the_timers_service_makes_a_backup_through_the_daemon(
    machine: Machine, daemon: Unit, manager: socket.socket, server: PrivateServer
) -> None:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    uid, _ = machine.ids("vya-backup")
    for line in (f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status
    assert _told(manager, "READY=1") == daemon.process.pid
    assert _told(manager, "WATCHDOG=1") == daemon.process.pid

    before = _files(machine)
    asked = Unit(machine, "vya-backup.service")
    assert asked.wait() == 0, asked.said() + daemon.said()
    made = _files(machine) - before
    assert len(made) == 2  # the database, and the users of the server
    assert {path.stat().st_uid for path in made} == {uid}
    control = machine.at("/run/vya-backupd/control.sock").stat()
    operators = machine.at("/etc/group").read_text().split("vya-operators:x:")[1].split(":")[0]
    assert (control.st_mode & 0o777, control.st_gid) == (0o660, int(operators))

    client = [VYACTL, "--socket", str(machine.at("/run/vya-backupd/control.sock"))]
    restored = [*client, "restore", "--instance", "one", "--database", "shop", "--latest", "--yes"]
    done = subprocess.run([*restored, "--target-database", "shop_2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count = "SELECT count(*), sum(n), min(word) FROM t"
    assert server.sql(count, "shop_2") == server.sql(count, "shop")
    server.drop_database("shop_2")

    daemon.process.send_signal(signal.SIGTERM)
    assert _told(manager, "STOPPING=1") == daemon.process.pid
    assert daemon.wait() == 0
    assert _warnings(daemon.said()) == []
    assert not machine.at("/run/vya-backupd/control.sock").exists()


def test_the_standalone_service_makes_a_backup_but_not_beside_a_daemon(machine: Machine, daemon: Unit) -> None:
    before = _files(machine)
    refused = Unit(machine, "vya-backup-standalone.service")
    assert refused.wait() == 6, refused.said()
    assert _files(machine) == before
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    alone = Unit(machine, "vya-backup-standalone.service")
    assert alone.wait() == 0, alone.said()
    assert len(_files(machine) - before) == 2
    assert _warnings(alone.said()) == []


_ATTEMPTS = """
import ctypes, mmap, os, socket
def tried(what):
    try:
        what()
    except OSError as error:
        return error.strerror
    return "done"
libc = ctypes.CDLL(None, use_errno=True)
def mount():
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
print(tried(lambda: open("/etc/new", "w")))
print(tried(lambda: open("/opt/vya/new", "w")))
print(tried(lambda: open("/var/new", "w")))
print(tried(lambda: open("/var/backups/vya_backupdb/new", "w")))
print(tried(lambda: open("/etc/vya_backupdb/credentials.json")))
print(tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)))
print(tried(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)))
print(tried(mount))
print(tried(lambda: os.nice(1)))
print(tried(lambda: os.stat("/proc/1")))
print(tried(lambda: os.stat("/proc/sys")))
print(tried(lambda: os.remove("/var/backups/vya_backupdb/new")))
"""


def test_the_restrictions_are_really_in_force(machine: Machine, tmp_path: Path) -> None:
    unit = tmp_path / "vya-backupd.service"
    text = (UNITS / unit.name).read_text()
    machine.at("/opt/attempts.py").write_text(_ATTEMPTS)
    start = "ExecStart=/opt/vya/bin/vya-backupd --config /etc/vya_backupdb/config.yaml"
    assert start in text
    unit.write_text(text.replace(start, "ExecStart=/opt/vya/bin/python /opt/attempts.py"))
    words = [str(unit) if word.endswith(unit.name) else word for word in machine.confined(unit.name)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "Read-only file system",
        "Read-only file system",
        "Read-only file system",
        "done",
        "Permission denied",
        "Address family not supported by protocol",
        "Permission denied",
        "Operation not permitted",
        "Operation not permitted",
        "No such file or directory",
        "No such file or directory",
        "done",
    ], done.stderr


def test_cron_is_silent_on_success_and_repeats_all_on_failure(tmp_path: Path) -> None:
    lines = [line for line in (ROOT / "config/cron.d/vya-backupd").read_text().splitlines() if not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in lines if "=" in line.split(" ")[0])
    (job,) = [line for line in lines if line[:1].isdigit()]
    *when, user, command = job.split(" ", 6)
    assert (when, user) == (["0", "2", "*", "*", "*"], "vya-backup")
    assert "%" not in command  # cron makes a new line of it
    for code, printed in ((0, ""), (3, "one\ntwo\n")):
        client = tmp_path / "vyactl"
        client.write_text(f"#!/bin/sh\necho one\necho two >&2\nexit {code}\n")
        client.chmod(0o755)
        here = command.replace("/opt/vya/bin", str(tmp_path))
        done = subprocess.run([variables["SHELL"], "-c", here], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, printed, "")
