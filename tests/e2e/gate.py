"""A gate in the dump's stream: a program that stands where the dump tool is configured.

It lets the real tool run, passes the dump on up to a wanted text, and holds there: the tool then waits in a write, in
the middle of a known section, and can be killed. The real tool is the daemon's own child: the gate's first process
becomes it by ``exec``, a second one of its own session carries the bytes. Only past the end marker, where a real tool
has nothing left to wait for, the first process stays what it is, and ends as the tool would have, once it may.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE, until
from vya_backupd.testing.servers import PrivateServer

_GATE = '''#!{python} -IS
import fcntl, os, select, sys

REAL, FOLDER = {real!r}, {folder!r}
argv = [REAL, *sys.argv[1:]]
try:
    plan = open(FOLDER + "/plan", "rb").read()
except FileNotFoundError:
    plan = b""
if not plan or "--version" in argv or "--schema-only" in argv:
    os.execv(REAL, argv)


def hold(tool):
    with open(FOLDER + "/held.new", "w") as file:
        file.write(str(tool))
    os.rename(FOLDER + "/held.new", FOLDER + "/held")
    poll = select.poll()
    poll.register(os.open(FOLDER + "/go", os.O_RDONLY | os.O_NONBLOCK), select.POLLIN)
    if tool != os.getpid():
        poll.register(os.pidfd_open(tool), select.POLLIN)
    poll.poll()


def carry(source, tool):
    """Pass the dump on; hold once behind the wanted text."""
    seen = b""
    while data := os.read(source, 65536):
        if seen is not None:
            seen += data
            at = seen.find(plan)
            if at >= 0:
                rest = len(seen) - at - len(plan)
                write(data[:len(data) - rest])
                data = data[len(data) - rest:]
                seen = None
                hold(tool)
        write(data)


def write(data):
    while data:
        data = data[os.write(1, data):]


if plan == b"the end":
    child = os.fork()
    if child == 0:
        os.execv(REAL, argv)
    _, status = os.waitpid(child, 0)
    hold(os.getpid())
    os._exit(os.waitstatus_to_exitcode(status))

source, sink = os.pipe()
fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, 4096)
tool = os.getpid()
if os.fork() == 0:
    os.setsid()
    os.close(sink)
    os.dup2(os.open(os.devnull, os.O_RDWR), 2)
    try:
        carry(source, tool)
    finally:
        os._exit(0)
os.dup2(sink, 1)
os.execv(REAL, argv)
'''

SECTIONS = ("header", "schema", "data", "post", "end")
"""Where a dump can be held; ``end`` is behind the tool's last line."""

_TEXTS = {
    "postgresql": {
        "header": b"SET statement_timeout",
        "schema": b"CREATE TABLE public.b_small",
        "data": b"row-000500",
        "post": b"ADD CONSTRAINT",
        "end": b"the end",
    },
    "mysql": {
        "header": b"SET NAMES",
        "schema": b"CREATE TABLE `a_rows`",
        "data": b"row-000500",
        "post": b"PROCEDURE `hold_here`",
        "end": b"the end",
    },
}
_TEXTS["mariadb"] = _TEXTS["mysql"]


class Gate:
    """A dump tool that can be held. ``path`` is the program to configure."""

    def __init__(self, folder: Path, server: PrivateServer) -> None:
        real = server.tools["pg_dump" if server.kind == "postgresql" else "dump"]
        folder.mkdir(parents=True)
        self.kind = server.kind
        self.folder = folder
        self.path = folder / real.name
        self.path.write_text(_GATE.format(python=sys.executable, real=str(real), folder=str(folder)))
        self.path.chmod(0o755)
        os.mkfifo(folder / "go")
        self._real_folder = real.parent

    @property
    def tools(self) -> dict[str, Any]:
        """The section ``tools`` that puts the gate in the tool's place."""
        if self.kind == "postgresql":
            return {"postgresql": {"search": [str(self.folder), str(self._real_folder)]}}
        return {self.kind: {"dump": str(self.path)}}

    def arm(self, section: str) -> None:
        """Hold the next dump in this section."""
        (self.folder / "held").unlink(missing_ok=True)
        (self.folder / "plan").write_bytes(_TEXTS[self.kind][section])

    def disarm(self) -> None:
        """Let dumps pass."""
        (self.folder / "plan").unlink(missing_ok=True)

    def held(self, seconds: float = PATIENCE) -> int:
        """Wait until a dump is held. Returns the tool's process id."""
        held = self.folder / "held"
        wait_until(held.exists, seconds, "no dump came to the wanted place")
        return int(held.read_text())

    def release(self) -> None:
        """Let the held dump go on."""
        fd = os.open(self.folder / "go", os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)


def wait_until(condition: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Look again and again until it is so."""
    until(condition, seconds, otherwise)


def fill(server: PrivateServer, database: str) -> None:
    """A small database whose sections are told apart, each with enough behind its beginning to keep a tool waiting."""
    server.create_database(database)
    filler = "x" * 40_000
    numbers = ",".join(f"({n}, 'row-{n:06d} {'y' * 200}')" for n in range(4000))
    tables = f"""
        create table a_rows (id int primary key, t text); insert into a_rows values {numbers};
        create table b_small (id int primary key, t text); insert into b_small values (1, 'one');
        create table c_small (id int primary key, t text); insert into c_small values (2, 'two');
        """
    if server.kind == "postgresql":
        server.sql(f"{tables} create index c_t on c_small (t); comment on index c_t is '{filler}'", database)
    else:
        server.sql(tables, database)
        server.sql(f"create procedure hold_here() comment 'c' select '{filler}'", database)
        server.sql("create procedure i_next() select 1", database)
