"""Keeps one private server, and ends it when its owner is gone, however the owner went.

Run as a program of its own, by file name and without site packages::

    guard.py DATA_DIR REMOVE_DIR SIGNAL COMMAND...

The owner holds the other end of our standard input. The command starts in DATA_DIR, its pid is printed as the first
line. When the command ends, we end with its exit status. When the input closes, the owner is dead: the server gets
SIGNAL (its quickest clean end), a second to obey, then SIGKILL for every process that works in DATA_DIR, and
REMOVE_DIR is deleted. Should the guard itself be killed, the kernel tells the server (see ``Account.dressed``).

A process belongs to a server when it descends from it or works in the data directory: PostgreSQL's backends make
sessions of their own, so neither group nor session tells them, and outlive a killed postmaster for a moment.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_SECONDS = 1.0


def family(data_dir: str, server: int) -> set[int]:
    """Living processes of a server: ``server`` itself, its descendants, and whoever works in ``data_dir``."""
    parents = {pid: parent for pid, (parent, state) in _processes().items() if state != "Z"}
    members = {pid for pid in parents if pid == server or _works_in(pid) == data_dir}
    while more := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= more
    return members - {os.getpid()}


def kill_family(data_dir: str, server: int) -> None:
    """SIGKILL every process of the server, until none is left; gives up after 10 s."""
    deadline = time.monotonic() + 10
    while (pids := family(data_dir, server)) and time.monotonic() < deadline:
        for pid in pids:
            send(pid, signal.SIGKILL)
        time.sleep(0.01)


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and state of every process."""
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            table[int(entry.name)] = (int(fields[1]), fields[0])
    return table


def _works_in(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(" (deleted)")
    except OSError:
        return None  # gone meanwhile, or hidden from us: then its parent tells


def send(pid: int, number: int) -> None:
    """Signal a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _end_orphan(server: subprocess.Popen[bytes], data_dir: str, remove_dir: str, first: int) -> None:
    send(server.pid, first)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(GRACE_SECONDS)
    kill_family(data_dir, server.pid)
    shutil.rmtree(remove_dir, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Guard one server until it ends; returns its exit status, 128 + n after signal n."""
    data_dir, remove_dir, signal_name, *command = arguments
    os.chdir("/")
    with subprocess.Popen(command, cwd=data_dir, stdin=subprocess.DEVNULL, stdout=sys.stderr) as server:
        print(server.pid, flush=True)
        poll = select.poll()
        poll.register(0, select.POLLIN | select.POLLHUP)
        ended = os.pidfd_open(server.pid)
        poll.register(ended, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        if ended not in ready:
            _end_orphan(server, data_dir, remove_dir, getattr(signal, f"SIG{signal_name}"))
        status = server.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main([str(Path(sys.argv[1]).resolve()), *sys.argv[2:]]))
