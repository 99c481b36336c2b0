"""A TCP proxy of ours between the daemon and a server: the network, as bad as we please.

It runs in a thread and an event loop of its own, on a port that the kernel chose. A ``Disturbance`` says what is done
to connections, to which direction of them, and after how many bytes; ``disturb`` arms it for all connections, those
that are open included, and ``heal`` lets everything pass again. Nobody here knows a protocol: the largest of a
backup's connections is told from the others by the bytes that it has carried.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.waiting import PATIENCE

_T = TypeVar("_T")
_PIECE = 65536
_NO_LINGER = struct.pack("ii", 1, 0)


class Way(enum.Enum):
    """A direction of a connection."""

    TO_SERVER = "to_server"
    FROM_SERVER = "from_server"


class Kind(enum.Enum):
    """What is done to a connection."""

    RESET = "reset"
    """Both ends get an RST, as from a firewall that forgot the connection."""
    CLOSE = "close"
    """Both ends get an orderly end, in the midst of whatever was said: truncation."""
    HANG = "hang"
    """Nothing more passes and nothing is closed; new connections are made and work."""
    BLACK_HOLE = "black_hole"
    """The same for every connection, open or new: they are accepted, and that is all."""
    REFUSE = "refuse"
    """Both ends get an RST, and so does every new connection at once."""
    DELAY = "delay"
    """Each piece waits for ``seconds``."""
    TRICKLE = "trickle"
    """Pieces of ``size`` bytes, with ``seconds`` between them."""


_FOR_ALL = frozenset({Kind.BLACK_HOLE, Kind.REFUSE})
_HANGING = frozenset({Kind.BLACK_HOLE, Kind.HANG})


@dataclass(frozen=True, slots=True)
class Disturbance:
    """``kind`` is done to a connection once ``way`` of it has carried ``after`` bytes; nothing beyond them passes.

    ``times``: to how many connections; the others pass. None is no limit.
    """

    kind: Kind
    way: Way = Way.FROM_SERVER
    after: int = 0
    times: int | None = 1
    seconds: float = 0.05
    size: int = 512


@dataclass(eq=False, slots=True)
class _Line:
    """One connection: the client's side and the server's, and what each way has carried."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    carried: dict[Way, int] = field(default_factory=lambda: dict.fromkeys(Way, 0))
    disturbed: Disturbance | None = None

    def end(self, *, reset: bool) -> None:
        for writer in (self.client, self.server):
            if reset:
                _reset(writer)
            else:
                writer.close()

    def shut(self) -> None:
        """Say to both sides that nothing more comes. What they still say is heard, so that no RST takes words back."""
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by an RST: it is closed without lingering."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


class Proxy:
    """Between a port of its own and ``host:port``; a context manager. ``hits`` counts connections that were disturbed."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._plan: Disturbance | None = None
        self._changed = asyncio.Event()
        self.host = "127.0.0.1"
        self.port = 0
        self.hits = 0
        self.most_carried = dict.fromkeys(Way, 0)
        """Of the connections since ``forget``, what the largest carried each way."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def disturb(self, plan: Disturbance) -> None:
        """Arm a disturbance; open connections that are past ``after`` meet it with their next byte. Counts anew."""
        self.forget()
        self._call(self._put(plan))

    def heal(self) -> None:
        """Let everything pass again. Connections that hang are reset: nobody gives them back what they lost."""
        self._call(self._put(None))

    def strike(self, kind: Kind = Kind.RESET) -> int:
        """Do it at this moment to every open connection: RESET or CLOSE. Returns how many there were."""
        return self._call(self._strike(kind))

    def forget(self) -> None:
        """Begin to count anew."""
        self.hits = 0
        self.most_carried = dict.fromkeys(Way, 0)

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._lines)

    # inside the proxy's own loop

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, 0, limit=_PIECE)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._strike(Kind.RESET)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _put(self, plan: Disturbance | None) -> None:
        self._plan = plan
        self._changed.set()
        self._changed = asyncio.Event()
        if plan is None:
            for line in self._lines:
                if line.disturbed is not None and line.disturbed.kind in _HANGING:
                    line.end(reset=True)

    async def _strike(self, kind: Kind) -> int:
        struck = list(self._lines)
        for line in struck:
            if kind is Kind.CLOSE:
                line.shut()
            else:
                line.end(reset=True)
        self.hits += len(struck)
        return len(struck)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._plan is not None and self._plan.kind is Kind.REFUSE and self.hits:
            _reset(writer)
            return
        try:
            answers, server = await asyncio.open_connection(*self._upstream, limit=_PIECE)
        except OSError:
            writer.close()
            return
        await self._serve(_Line(writer, server), reader, answers)

    async def _serve(self, line: _Line, asks: asyncio.StreamReader, answers: asyncio.StreamReader) -> None:
        self._lines.add(line)
        ways = (
            asyncio.ensure_future(self._carry(line, Way.TO_SERVER, asks, line.server)),
            asyncio.ensure_future(self._carry(line, Way.FROM_SERVER, answers, line.client)),
        )
        try:
            await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            line.end(reset=False)
            self._lines.discard(line)

    async def _carry(self, line: _Line, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            while data := await source.read(_PIECE):
                await self._pass_on(line, way, data, sink)
            sink.write_eof()

    async def _pass_on(self, line: _Line, way: Way, data: bytes, sink: asyncio.StreamWriter) -> None:
        plan = self._plan
        room = None if plan is None else self._room(plan, line, way)
        if plan is None or room is None or room >= len(data) or not self._claim(plan, line):
            await self._write(line, way, data, sink)
            return
        await self._write(line, way, data[:room], sink)
        await self._act(plan, line, way, data[room:], sink)

    def _room(self, plan: Disturbance, line: _Line, way: Way) -> int | None:
        """How many bytes may still pass this way of a connection; None where it is not meant."""
        if plan.kind in _FOR_ALL and self.hits:
            return 0
        return max(plan.after - line.carried[way], 0) if plan.way is way else None

    def _claim(self, plan: Disturbance, line: _Line) -> bool:
        """Whether this connection is one of those that are meant; counted once."""
        if line.disturbed is plan or (plan.kind in _FOR_ALL and self.hits):
            line.disturbed = plan
            return True
        if plan.times is not None and self.hits >= plan.times:
            return False
        self.hits += 1
        line.disturbed = plan
        return True

    async def _write(self, line: _Line, way: Way, data: bytes, sink: asyncio.StreamWriter) -> None:
        line.carried[way] += len(data)
        self.most_carried[way] = max(self.most_carried[way], line.carried[way])
        sink.write(data)
        await sink.drain()

    async def _act(self, plan: Disturbance, line: _Line, way: Way, rest: bytes, sink: asyncio.StreamWriter) -> None:
        if plan.kind in {Kind.RESET, Kind.REFUSE}:
            line.end(reset=True)
        elif plan.kind is Kind.CLOSE:
            line.shut()
        elif plan.kind is Kind.DELAY:
            await asyncio.sleep(plan.seconds)
            await self._write(line, way, rest, sink)
        elif plan.kind is Kind.TRICKLE:
            for start in range(0, len(rest), plan.size):
                await self._write(line, way, rest[start : start + plan.size], sink)
                await asyncio.sleep(plan.seconds)
        else:
            while self._plan is plan:
                await self._changed.wait()
