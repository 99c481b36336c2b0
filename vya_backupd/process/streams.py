"""Small streams of a child, carried by the event loop: its standard error, small outputs, small inputs.

A dump never comes through here: its bytes go from pipe to thread (``pipeline``).
"""

from __future__ import annotations

import asyncio
import os

_CHUNK = 64 * 1024


class Tail:
    """Keeps the beginning and the end of a text of unknown length in bounded memory."""

    def __init__(self, head: int = 16 * 1024, tail: int = 48 * 1024) -> None:
        self._limits = (head, tail)
        self._head = bytearray()
        self._tail = bytearray()
        self.dropped = 0

    def add(self, data: bytes) -> None:
        """Take more text; what falls between head and tail is counted and forgotten."""
        head, tail = self._limits
        room = head - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        excess = len(self._tail) - tail
        if excess > 0:
            self.dropped += excess
            del self._tail[:excess]

    def text(self) -> str:
        """What was kept, as text; bytes that are no UTF-8 are replaced, a gap is named."""
        gap = f"\n[... {self.dropped} bytes left out ...]\n" if self.dropped else ""
        return self._head.decode("utf-8", "replace") + gap + self._tail.decode("utf-8", "replace")


class Whole:
    """Keeps everything up to a limit, and remembers that there was more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self.overflowed = False

    def add(self, data: bytes) -> None:
        """Take more bytes."""
        self._data += data[: max(0, self._limit - len(self._data))]
        self.overflowed = self.overflowed or len(self._data) >= self._limit

    def bytes(self) -> bytes:
        """What was kept."""
        return bytes(self._data)


class Reader:
    """Reads a descriptor to its end inside the event loop and owns it: closes it at the end, or on ``close``."""

    def __init__(self, fd: int, sink: Tail | Whole) -> None:
        self._fd: int | None = fd
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        if self._fd is None:
            return
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._sink.add(data)
        else:
            self.close()

    def close(self) -> None:
        """Stop reading. Safe to call twice."""
        if self._fd is None:
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = None
        if not self.ended.done():
            self.ended.set_result(None)


class Feeder:
    """Writes bytes into a descriptor inside the event loop, then closes it. A reader that left early is no error."""

    def __init__(self, fd: int, data: bytes) -> None:
        self._fd: int | None = fd
        self._rest = memoryview(data)
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_writer(fd, self._writable)

    def _writable(self) -> None:
        if self._fd is None:
            return
        try:
            if self._rest:
                self._rest = self._rest[os.write(self._fd, self._rest[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self._rest = self._rest[:0]
        if not self._rest:
            self.close()

    def close(self) -> None:
        """Stop writing. Safe to call twice."""
        if self._fd is None:
            return
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = None
