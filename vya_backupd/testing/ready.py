"""Clients that are ready to run: forked from a process that has imported everything, instead of started anew.

Nine tenths of a short ``vyactl`` are the start of Python and its imports, and the tests run some thousands. Everything
from ``main`` on is the same as with a program of its own: arguments, environment, working folder, streams, exit code.

The process of this module (``python -m vya_backupd.testing.ready FD``) reads requests from a socket, each with an end
of another socket for the answers, and with the three streams. A supervisor is forked for each, which forks the client,
tells its number, waits for it and tells how it ended; when nobody is there to hear that, it kills the client.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

_LONGEST = 1 << 20
"""Bytes of a request."""
_STREAMS = 3
_SIMPLE = ("VYA_", "COLUMNS")
"""Variables that a client reads when it needs them; others may mean something to the start of Python."""


class ReadyClients:
    """Runs clients. The process behind it is started with the first one, and again when this process was forked."""

    def __init__(self) -> None:
        self._server: socket.socket | None = None
        self._owner = 0

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdin: str | None, timeout: float
    ) -> tuple[int, str, str]:
        """Exit code (a signal's number below zero), standard output, standard error.

        Raises:
            subprocess.TimeoutExpired: it took longer; it was killed.
        """
        with tempfile.TemporaryFile("w+") as given, _captured() as out, _captured() as err:
            given.write(stdin or "")
            given.seek(0)
            code = self._run(arguments, environment, (given.fileno(), out.fileno(), err.fileno()), timeout)
            for stream in (out, err):
                stream.seek(0)
            return code, out.read(), err.read()

    def _run(
        self, arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[int], timeout: float
    ) -> int:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                request = {"arguments": list(arguments), "environment": dict(environment), "folder": str(Path.cwd())}
                self._send(json.dumps(request).encode(), [theirs.fileno(), *streams])
            ours.settimeout(timeout)
            try:
                answer = ours.recv(64)
            except TimeoutError:
                raise subprocess.TimeoutExpired(["vyactl", *arguments], timeout) from None
        if not answer:
            raise RuntimeError("the process that clients are forked from has ended")
        return int(answer)

    def _send(self, request: bytes, descriptors: Sequence[int]) -> None:
        if self._server is None or self._owner != os.getpid():
            self._server, self._owner = _start(), os.getpid()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._server.sendmsg([request], rights)


def is_simple(environment: Mapping[str, str]) -> bool:
    """Whether these variables mean nothing to the start of Python or to what is imported."""
    return all(name.startswith(_SIMPLE) for name in environment)


def _captured() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="strict", newline="\n")


def _start() -> socket.socket:
    """The process that clients are forked from. It ends when our end of its socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "vya_backupd.testing.ready", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            env=kept,
        )
    atexit.register(_stop, ours, process)
    return ours


def _stop(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ours.close()
    process.wait()


# the process itself


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork a supervisor for each request, until nobody asks any more. Returns in each client, with what to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        text, control, _, _ = requests.recvmsg(_LONGEST, socket.CMSG_SPACE(4 * (_STREAMS + 1)))
        if not text:
            os._exit(0)
        descriptors = list(array.array("i", control[0][2]))
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _supervised(json.loads(text), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _supervised(request: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
    """Fork the client, in which this returns, and watch it to its end, which is ours."""
    answers, *streams = descriptors
    client = os.fork()
    if client:
        _watch(client, answers)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(_STREAMS, max(descriptors) + 1)
    return request


def _watch(client: int, answers: int) -> NoReturn:
    poll = select.poll()
    poll.register(os.pidfd_open(client), select.POLLIN)
    poll.register(answers, select.POLLHUP)
    if all(descriptor == answers for descriptor, _ in poll.poll()):
        os.kill(client, signal.SIGKILL)
    _, status = os.waitpid(client, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(answers, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def main() -> None:
    """The process that clients are forked from, and each of these."""
    import vya_backupd.alone
    import vya_backupd.client.main
    import vya_backupd.client.standalone

    # Looking through what was imported, in each client, would copy all of it.
    gc.freeze()
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    time.tzset()
    sys.argv = ["vyactl", *request["arguments"]]
    try:
        vya_backupd.client.main.main()
    except SystemExit as end:
        _end(end.code)


def _end(code: object) -> NoReturn:
    """End as Python does, but for taking apart what was imported."""
    threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - waits for threads, as the end of Python does
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
