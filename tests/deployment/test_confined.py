"""The units' programs do their work under the units' restrictions, and the role makes what the units want.

There is no systemd to ask in tests: ``confine`` enforces what the unit says, by the same means. It needs root.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deployment.conftest import VYACTL, encrypt
from tests.deployment.linters import require_linter
from tests.deployment.machine import ROOT, UNITS, Machine
from tests.waiting import PATIENCE, until
from vya_backupd.config.load import load
from vya_backupd.testing.product import instance
from vya_backupd.testing.servers import PrivateServer


@pytest.fixture(scope="module")
def installed(machine: Machine, shop: PrivateServer) -> Machine:
    """The machine with a configuration, as an operator would leave it."""
    tools = shop.tools["pg_dump"].parent
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
    encrypt(etc / "credentials.json", [instance(shop, "one", database="shop")])
    return machine


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
def manager(installed: Machine) -> Iterator[socket.socket]:
    """The end of the notify socket that is systemd's, which sees who speaks."""
    path = installed.at("/run/systemd/notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        path.chmod(0o777)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.settimeout(PATIENCE)
        yield sock
        path.unlink()


@pytest.fixture
def daemon(installed: Machine, manager: socket.socket) -> Iterator[Unit]:
    unit = Unit(installed, "vya-backupd.service", "/run/systemd/notify")
    control = installed.at("/run/vya-backupd/control.sock")
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


def _troubles(said: str) -> list[str]:
    """What went wrong by the log: failures, and warnings of something that the system refused. A busy machine is none."""
    records = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [str(record) for record in records if record["level"] in ("error", "critical") or "error" in record]


def test_the_timers_service_makes_a_backup_through_the_daemon(
    machine: Machine, daemon: Unit, manager: socket.socket, shop: PrivateServer
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
    assert shop.sql(count, "shop_2") == shop.sql(count, "shop")
    shop.drop_database("shop_2")

    daemon.process.send_signal(signal.SIGTERM)
    assert _told(manager, "STOPPING=1") == daemon.process.pid
    assert daemon.wait() == 0
    assert _troubles(daemon.said()) == []
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
    assert _troubles(alone.said()) == []


_KERNEL = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
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


def test_the_restrictions_are_really_in_force(installed: Machine, tmp_path: Path) -> None:
    unit = tmp_path / "vya-backupd.service"
    text = (UNITS / unit.name).read_text()
    installed.at("/opt/attempts.py").write_text(_ATTEMPTS)
    start = "ExecStart=/opt/vya/bin/vya-backupd --config /etc/vya_backupdb/config.yaml"
    assert start in text
    unit.write_text(text.replace(start, "ExecStart=/opt/vya/bin/python /opt/attempts.py"))
    words = [str(unit) if word.endswith(unit.name) else word for word in installed.confined(unit.name)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "Read-only file system",
        "Read-only file system",
        "Read-only file system",
        "done",
        "Permission denied",
        "Address family not supported by protocol",
        "Permission denied" if _KERNEL >= (6, 3) else "done",
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


def test_the_role_makes_what_the_units_want_and_then_changes_nothing(
    machine: Machine, playbook: list[object], tmp_path: Path
) -> None:
    folder = require_linter("ansible")
    settings = (
        "LC_ALL=C.UTF-8",
        "HOME=/tmp",
        "ANSIBLE_PIPELINING=1",
        f"ANSIBLE_ROLES_PATH={ROOT}/config/ansible/roles",
        f"PATH={folder}:/usr/bin:/usr/sbin:/bin",
    )
    run = ["/usr/bin/env", *settings, str(folder / "ansible-playbook"), *map(str, playbook)]
    run += ["--skip-tags", "vya_packages,vya_services"]
    lent = (folder.parent, ROOT / "config", UNITS, tmp_path)
    for described in ("sysusers", "tmpfiles"):
        machine.at(f"/etc/{described}.d/vya-backupdb.conf").unlink()
    first = machine.inside(*run, lent=lent)
    assert "failed=0" in first
    assert "changed=0" not in first
    assert (
        json.loads((tmp_path / "variables.json").read_text())["vya_backupdb_credentials_key"].split()[-1] not in first
    )

    _, group = machine.ids("vya-backup")
    etc = machine.at("/etc/vya_backupdb")
    facts = {path.name: (path.stat().st_mode & 0o777, path.stat().st_gid) for path in etc.iterdir()}
    assert facts == {"config.yaml": (0o640, group), "credentials.json": (0o600, 0), "credentials.key": (0o600, 0)}
    config = load(etc / "config.yaml")
    assert (config.application.hostname, config.scheduling.method, config.backup.compression_level) == (
        "east",
        "cron",
        3,
    )
    assert config.control.operators == ("vya-operators",)
    for unit in UNITS.glob("*.*"):
        assert unit.is_dir() or machine.at(f"/etc/systemd/system/{unit.name}").read_bytes() == unit.read_bytes()
    assert machine.at("/etc/cron.d/vya-backupd").exists()
    assert "changed=0" in machine.inside(*run, lent=lent)
