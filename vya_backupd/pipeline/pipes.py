"""Reading from and writing to the pipe of a process: large pieces, interruptible, with a watch on the clock."""

from __future__ import annotations

import os
import select

from vya_backupd.errors import ToolError
from vya_backupd.pipeline.stop import Stop
from vya_backupd.pipeline.throttle import Throttle

CHUNK = 1 << 19
"""Bytes asked for at once: half of what a pipe holds at most without privileges. A segment keeps whole pieces in memory, so
larger ones would cost more than they save."""
_SMALL = 256 << 10
_NAP_MS = 3


class ClientGoneError(ToolError):
    """The process that we feed has closed its end: what it wrote to stderr is the real error."""


class PipeReader:
    """Reads what a dump tool writes.

    Tools write in pieces of 4 KiB. After a small read it naps some milliseconds, so that the next finds many of them:
    a tenth of the wake-ups and of the calls into the scanner. The nap ends at once when the writer goes.

    A ``throttle`` holds it back between two reads, so that the tool waits in its pipe; that time is no stall.
    """

    def __init__(
        self, fd: int, stop: Stop, stall_timeout: float | None = None, throttle: Throttle | None = None
    ) -> None:
        self._fd = fd
        self._stop = stop
        self._stall_timeout = stall_timeout
        self._throttle = throttle
        self._short = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._poll.register(stop.fd, select.POLLIN)
        self._gone = select.poll()
        self._gone.register(fd, 0)  # whatever is asked for, the end of the writer is told

    def read(self) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            ToolError: ``stalled``: nothing came for the stall timeout.
            BaseException: the failure of ``stop``.
        """
        if self._short:
            self._gone.poll(_NAP_MS)
        timeout = None if self._stall_timeout is None else self._stall_timeout * 1000
        ready = self._poll.poll(timeout)
        self._stop.check()
        if not ready:
            raise ToolError(
                f"the dump tool wrote nothing for {self._stall_timeout:g} s",
                code="stalled",
                hint="Look for locks on the server, or raise backup.stall_timeout.",
                retryable=True,
            )
        size = CHUNK if self._throttle is None else min(CHUNK, self._throttle.piece)
        data = os.read(self._fd, size)
        self._short = len(data) < min(_SMALL, size)
        if self._throttle is not None:
            self._throttle.take(len(data), self._stop)
        return data


class PipeWriter:
    """Feeds a client. The descriptor becomes non-blocking, which the other end of a pipe does not notice.

    A ``throttle`` spreads what is handed over in time.
    """

    def __init__(self, fd: int, stop: Stop, throttle: Throttle | None = None) -> None:
        self._fd = fd
        self._stop = stop
        self._throttle = throttle
        os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._poll.register(stop.fd, select.POLLIN)

    def write(self, data: bytes) -> None:
        """Hand everything over, waiting as long as the client takes.

        Raises:
            ClientGoneError: nobody reads any more.
            BaseException: the failure of ``stop``.
        """
        rest = memoryview(data)
        while rest:
            self._poll.poll()
            self._stop.check()
            size = len(rest) if self._throttle is None else self._throttle.piece
            try:
                written = os.write(self._fd, rest[:size])
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise ClientGoneError("the client ended before it had read everything") from error
            rest = rest[written:]
            if self._throttle is not None:
                self._throttle.take(written, self._stop)
