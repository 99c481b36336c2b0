"""Real signals to a real process, its lock, and what a service manager hears."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import PATIENCE
from vya_backupd.daemon.lock import StateLock
from vya_backupd.daemon.notify import Notifier
from vya_backupd.errors import BusyError, ConfigError

ROOT = Path(__file__).parents[2]


class Daemon:
    """The program in its own process, with its lines."""

    def __init__(self, state: Path, *arguments: str, **environment: str) -> None:
        argv = [sys.executable, "-m", "tests.daemon.lifecycle_program", str(state), *arguments]
        env = {**os.environ, **environment}
        self.process = subprocess.Popen(
            argv, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def line(self, beginning: str) -> str:
        """The next line that begins so. The program's own log may come before it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(beginning) or (beginning in line and beginning.startswith("config.")):
                return line.strip()
        pytest.fail(f"the program ended without a line {beginning!r}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def daemon(state: Path, *arguments: str, **environment: str) -> Iterator[Daemon]:
    program = Daemon(state, *arguments, **environment)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait()
        assert program.process.stdout is not None
        program.process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_stops_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with daemon(tmp_path, "30") as program:
        program.line("ready")
        program.signal(number)
        assert program.line("close") == f"close the daemon got {number.name}"
        assert program.line("end") == "end stopped True"
        assert program.wait() == 0
    with StateLock(tmp_path):
        pass


def test_a_busy_daemon_is_given_its_time_and_then_aborts_with_a_reason(tmp_path: Path) -> None:
    with daemon(tmp_path, "0.3", "busy") as program:
        program.line("ready")
        program.signal(signal.SIGTERM)
        program.line("drain")
        assert program.line("abort") == "abort the daemon got SIGTERM; the stop deadline of 0.3 s passed"
        assert program.wait() == 0


def test_work_that_does_not_let_itself_be_aborted_is_left_behind(tmp_path: Path) -> None:
    with daemon(tmp_path, "0.1", "busy", "stubborn") as program:
        program.line("ready")
        program.signal(signal.SIGTERM)
        assert program.line("end") == "end stopped False"
        assert program.wait() == 1


def test_a_second_signal_kills(tmp_path: Path) -> None:
    with daemon(tmp_path, "3600", "busy") as program:
        program.line("ready")
        program.signal(signal.SIGTERM)
        program.line("drain")
        program.signal(signal.SIGINT)
        assert program.wait() == 128 + signal.SIGINT
    with StateLock(tmp_path):
        pass


def test_a_bad_configuration_is_refused_and_the_daemon_lives_on(tmp_path: Path) -> None:
    with daemon(tmp_path, "30") as program:
        program.line("ready")
        program.signal(signal.SIGHUP)
        assert "backupp" in program.line("config.reload_refused")
        program.signal(signal.SIGHUP)
        program.line("config.reload_failed")
        program.signal(signal.SIGHUP)
        program.line("reloaded")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_no_core_dump_may_be_written(tmp_path: Path) -> None:
    with daemon(tmp_path, "30") as program:
        program.line("ready")
        assert resource.prlimit(program.process.pid, resource.RLIMIT_CORE) == (1, 1)


def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with daemon(tmp_path, "30") as program:
        program.line("ready")
        with pytest.raises(BusyError) as refused:
            StateLock(tmp_path).acquire()
        assert refused.value.code == "state_locked"
        assert f"pid {program.process.pid}" in refused.value.message
        assert str(tmp_path / "lock") in refused.value.message
        program.process.kill()
        program.process.wait()
    with StateLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_not_inherited_by_children(tmp_path: Path) -> None:
    with StateLock(tmp_path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with StateLock(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="state directory"):
        StateLock(tmp_path / "file").acquire()
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        StateLock(tmp_path).acquire()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears_every_phase(tmp_path: Path, abstract: bool) -> None:
    name = f"@vya-test-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(PATIENCE)
        with daemon(tmp_path, "30", NOTIFY_SOCKET=name, WATCHDOG_USEC="200000", WATCHDOG_PID="") as program:
            heard: list[str] = []

            def until(beginning: str) -> str:
                while True:
                    heard.append(manager.recv(4096).decode())
                    if heard[-1].startswith(beginning):
                        return heard[-1]

            assert f"MAINPID={program.process.pid}" in until("READY=1\nSTATUS=serving")
            for _ in range(3):
                until("WATCHDOG=1")
            program.signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in until("RELOADING=1")
            until("READY=1")
            program.signal(signal.SIGTERM)
            assert "SIGTERM" in until("STOPPING=1")
            assert program.wait() == 0


def test_no_manager_or_a_dead_one_harms_nobody(tmp_path: Path) -> None:
    Notifier({}).ready("x")
    dead = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    dead.ready("x")
    dead.watchdog()
    assert dead.failures == 2
    assert Notifier({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Notifier({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_seconds == 5
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_seconds is None
