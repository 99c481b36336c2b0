"""A client program as a session: text goes in through one pipe, and a line that comes back proves it executed."""

from __future__ import annotations

import os
import secrets
import select
from collections.abc import Callable, Iterator

from vya_backupd.pipeline.pipes import ClientGoneError
from vya_backupd.pipeline.stop import Stop
from vya_backupd.pipeline.throttle import Throttle

_READ = 1 << 16
_TOKEN_SIZE = 64
"""Bytes that are kept of what was printed: a token may arrive in two pieces."""


class SessionGoneError(ClientGoneError):
    """The client of ``session`` ended early: what it wrote to stderr is the real error."""

    def __init__(self, session: ClientSession) -> None:
        super().__init__("the client ended before it had executed everything")
        self.session = session


class ClientSession:
    """A lane's session (``lanes.LaneSession``) over the pipes of a running client.

    ``mark(token)`` is a statement that makes the client print a line with the token in it. Whatever else it prints is
    read and forgotten. The descriptors stay the caller's to close. A ``throttle`` spreads what is handed over in time.
    """

    def __init__(
        self, stdin: int, stdout: int, stop: Stop, mark: Callable[[str], bytes], throttle: Throttle | None = None
    ) -> None:
        self._stdin, self._stdout, self._stop, self._mark = stdin, stdout, stop, mark
        self._throttle = throttle
        self._secret = secrets.token_hex(8)
        self._sent = self._answered = self._settled = 0
        self._said = b""
        for fd in (stdin, stdout):
            os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(stdout, select.POLLIN)
        self._poll.register(stop.fd, select.POLLIN)

    def send(self, texts: Iterator[bytes]) -> None:
        """Hand texts over, and behind them the question for their mark.

        Raises:
            SessionGoneError: the client ended.
            BaseException: the failure of ``stop``.
        """
        for text in texts:
            self._write(text)
        self._sent += 1
        self._write(self._mark(self._token(self._sent)))

    def settle(self) -> None:
        """Wait for the answer to the oldest mark that was not waited for. Raises as ``send`` does."""
        self._settled += 1
        while self._answered < self._settled:
            self._poll.poll()
            self._stop.check()
            self._listen()

    def interrupt(self) -> None:
        """Nothing to do: a failed ``stop`` wakes whoever waits on a pipe."""

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        self._poll.register(self._stdin, select.POLLOUT)
        try:
            while rest:
                self._poll.poll()
                self._stop.check()
                self._listen()
                rest = rest[self._hand_over(rest) :]
        finally:
            self._poll.unregister(self._stdin)

    def _hand_over(self, rest: memoryview) -> int:
        """Write what the pipe takes now; how much that was."""
        size = len(rest) if self._throttle is None else self._throttle.piece
        try:
            written = os.write(self._stdin, rest[:size])
        except BlockingIOError:
            return 0
        except BrokenPipeError as error:
            raise SessionGoneError(self) from error
        if self._throttle is not None:
            self._throttle.take(written, self._stop)
        return written

    def _listen(self) -> None:
        """Read what was printed: a full pipe would stop the client."""
        try:
            data = os.read(self._stdout, _READ)
        except BlockingIOError:
            return
        if not data:
            raise SessionGoneError(self)
        self._said += data
        while (at := self._said.find(wanted := self._token(self._answered + 1).encode("ascii"))) >= 0:
            self._answered += 1
            self._said = self._said[at + len(wanted) :]
        self._said = self._said[-_TOKEN_SIZE:]

    def _token(self, number: int) -> str:
        """The end makes sure that no token begins with another."""
        return f"{self._secret}-{number}."
