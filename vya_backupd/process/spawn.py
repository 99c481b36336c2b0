"""Starts programs and answers for their end.

Every child leads a process group of its own and carries PDEATHSIG=KILL, so that it cannot outlive the daemon, whatever
way that ends. PDEATHSIG follows the *thread* that forked: children are started from the event loop's thread, which
lives as long as the daemon. Exit is learned from a pidfd inside the loop, and while the dead leader still holds its
number, the rest of its group is killed: a group number is never signalled after it could belong to somebody else.

What lives here: descriptors, signals, secret files, standard error. What does not: the meaning of any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vya_backupd.errors import ToolError
from vya_backupd.model.command import Command
from vya_backupd.process import folder
from vya_backupd.process.folder import ChildFolder
from vya_backupd.process.priority import Priority
from vya_backupd.process.streams import Feeder, Reader, Tail, Whole

PIPE_SIZE = 1024 * 1024
"""Capacity of a dump pipe: the reader may nap while the tool goes on writing."""

_STDERR_PATIENCE = 2.0
"""Seconds that standard error may stay open after its group is dead (a descendant that made a session of its own)."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended: exit status, or the signal that ended it, and what it had said.

    ``stopped``: we asked it to end.
    """

    returncode: int
    signal: int | None
    stderr: str
    stopped: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.returncode == 0


@dataclass(frozen=True, slots=True)
class Completed:
    """A child that ended, with its output."""

    exit: Exit
    stdout: bytes


class Process:
    """A running child. ``stdout_fd`` and ``stdin_fd`` are our ends of its pipes, blocking, None where there is none.

    The descriptors belong to this object: close them through its methods, so that none is closed twice.
    """

    def __init__(self, popen: subprocess.Popen[bytes], command: Command, home: ChildFolder, fds: _Pipes) -> None:
        self.name = command.name or Path(command.argv[0]).name
        self.pid = popen.pid
        self.stdin_fd = fds.stdin
        self.stdout_fd = fds.stdout
        self._popen = popen
        self._home = home
        self._tail = Tail()
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._dead: asyncio.Future[None] = self._loop.create_future()
        self._stderr = Reader(fds.stderr, self._tail)
        self._pidfd = os.pidfd_open(popen.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._signal(signal.SIGKILL)
        self._popen.wait()
        self._home.remove()
        self._dead.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole group, as long as its leader is not reaped."""
        if not self._dead.done() and self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def prioritize(self, priority: Priority) -> bool:
        """Give the whole group this priority. False where the kernel refused; a group that has ended needs none."""
        if self._dead.done():
            return True
        with contextlib.suppress(ProcessLookupError):
            return priority.apply(self.pid)
        return True

    @property
    def running(self) -> bool:
        """Whether the end has not been seen yet."""
        return not self._dead.done()

    @property
    def said(self) -> str:
        """What has come of its standard error so far."""
        return self._tail.text()

    async def wait(self) -> Exit:
        """Wait for the end. Any number of tasks may wait; one that is cancelled does not disturb the others."""
        await asyncio.shield(self._dead)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STDERR_PATIENCE):
                await asyncio.shield(self._stderr.ended)
        self._stderr.close()
        code = self._popen.returncode
        return Exit(code, -code if code < 0 else None, self._tail.text(), self._stopped)

    async def stop(self, grace: float = 3.0) -> Exit:
        """End the whole group: TERM, and KILL after ``grace`` seconds, or at once when we are cancelled ourselves."""
        if self.running:
            self._stopped = True
            self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await asyncio.shield(self._dead)
        except TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)
        return await self.wait()

    def close_stdin(self) -> None:
        """Tell the child that its input is complete. Safe to call twice; not while another thread writes."""
        fd, self.stdin_fd = self.stdin_fd, None
        if fd is not None:
            os.close(fd)

    def close_stdout(self) -> None:
        """Read no more of its output. Safe to call twice; not while another thread reads."""
        fd, self.stdout_fd = self.stdout_fd, None
        if fd is not None:
            os.close(fd)

    def take_stdin(self) -> int:
        """Hand our end of its input over: whoever takes it closes it.

        Raises:
            ToolError: there is none, or it was taken or closed before.
        """
        fd, self.stdin_fd = self.stdin_fd, None
        return _present(fd, self.name)

    def take_stdout(self) -> int:
        """Hand our end of its output over: whoever takes it closes it. Raises as ``take_stdin`` does."""
        fd, self.stdout_fd = self.stdout_fd, None
        return _present(fd, self.name)


def _present(fd: int | None, name: str) -> int:
    if fd is None:
        raise ToolError(f"{name} has no such pipe", code="internal")
    return fd


@dataclass(slots=True)
class _Pipes:
    """Our ends of a child's pipes."""

    stderr: int
    stdin: int | None = None
    stdout: int | None = None


class Spawner:
    """Starts commands. ``runtime_dir`` (0700, created when missing) holds the children's private folders.

    ``priority`` is what they get right after their start.
    """

    def __init__(self, runtime_dir: Path, priority: Priority | None = None) -> None:
        self.runtime_dir = runtime_dir
        self.priority = priority or Priority()
        self._children: set[Process] = set()
        runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._setpriv = shutil.which("setpriv")

    def change_priority(self, priority: Priority) -> int:
        """Give it to those that run, too. Returns how many of them the kernel would not let have it."""
        self.priority = priority
        return sum(not child.prioritize(priority) for child in self._children)

    def sweep(self) -> int:
        """Delete what children of a killed predecessor left in ``runtime_dir``. Only under the state lock."""
        return folder.sweep(self.runtime_dir)

    @contextlib.asynccontextmanager
    async def start(
        self,
        command: Command,
        *,
        stdin: int | Literal["pipe"] | None = None,
        stdout: int | Literal["pipe"] | None = None,
    ) -> AsyncIterator[Process]:
        """Run a command for as long as the context lasts; leaving it stops what still runs and frees everything.

        ``None`` is /dev/null, a number is a descriptor of the caller's, ``"pipe"`` makes a pipe.

        Raises:
            ToolError: ``tool_missing`` when the program or setpriv is not there, ``tool_failed`` when it cannot start.
        """
        process = self._spawn(command, stdin, stdout)
        self._children.add(process)
        try:
            if self.priority != Priority():
                process.prioritize(self.priority)
            yield process
        finally:
            try:
                if process.running:
                    await process.stop()
            finally:
                self._children.discard(process)
                process.close_stdin()
                process.close_stdout()

    async def run(
        self,
        command: Command,
        input: bytes = b"",  # noqa: A002 - the name that subprocess uses, too
        *,
        timeout: float = 60.0,
        limit: int = 64 * 1024 * 1024,
    ) -> Completed:
        """Run a command with a small input and a small output, for at most ``timeout`` seconds.

        Raises:
            ToolError: as ``start``; ``stalled`` when time is up; ``tool_failed`` when more than ``limit``
                bytes were printed.
        """
        sink = Whole(limit)
        async with self.start(command, stdin="pipe", stdout="pipe") as process:
            feeder, reader = Feeder(process.take_stdin(), input), Reader(process.take_stdout(), sink)
            try:
                async with asyncio.timeout(timeout):
                    await reader.ended
                    ended = await process.wait()
            except TimeoutError:
                message = f"{process.name} did not end within {timeout:g} s"
                raise ToolError(message, code="stalled", retryable=True) from None
            finally:
                feeder.close()
                reader.close()
        if sink.overflowed:
            raise ToolError(f"{process.name} printed more than {limit} bytes")
        return Completed(ended, sink.bytes())

    def _spawn(self, command: Command, stdin: int | str | None, stdout: int | str | None) -> Process:
        argv = self._argv(command)
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            try:
                home = ChildFolder(self.runtime_dir, command)
                ours.callback(home.remove)
                child_in, our_in = _end(stdin, theirs, ours, reads=True)
                child_out, our_out = _end(stdout, theirs, ours, reads=False)
                child_err, our_err = _end("pipe", theirs, ours, reads=False)
                popen = subprocess.Popen(  # argv is a list made by an engine; there is no shell
                    [home.resolve(argument) for argument in argv],
                    stdin=child_in,
                    stdout=child_out,
                    stderr=child_err,
                    env=home.environment(command),
                    cwd=home.path,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise ToolError(f"{command.name or argv[-1]} could not be started: {error}") from error
            ours.pop_all()
        return Process(popen, command, home, _Pipes(_present(our_err, command.name), our_in, our_out))

    def _argv(self, command: Command) -> list[str]:
        if self._setpriv is None:
            raise ToolError(
                "setpriv is not installed: children could outlive the daemon",
                code="tool_missing",
                hint="Install util-linux.",
            )
        program = command.argv[0]
        if shutil.which(program) is None:
            raise ToolError(
                f"{program} does not exist or cannot be executed",
                code="tool_missing",
                hint="Install the program, or name its place under `tools` in config.yaml.",
            )
        return [self._setpriv, "--pdeathsig", "KILL", "--", *command.argv]


def _end(
    wish: int | str | None, theirs: contextlib.ExitStack, ours: contextlib.ExitStack, *, reads: bool
) -> tuple[int, int | None]:
    """The child's end of a standard stream, and ours when there is a pipe between us."""
    if wish is None:
        return subprocess.DEVNULL, None
    if isinstance(wish, int):
        return wish, None
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    child, parent = (read_end, write_end) if reads else (write_end, read_end)
    theirs.callback(os.close, child)
    ours.callback(os.close, parent)
    # Users without privileges may be at their limit of pipe memory: then the usual 64 KiB must do.
    with contextlib.suppress(OSError):
        fcntl.fcntl(parent, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return child, parent
