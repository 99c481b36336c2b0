"""The door of a site: takes connections, never too many, and never lets a crowd outside keep others from being served.

When all places are taken, the connection that has waited for longest without being asked anything gives way to the new
one: whoever opens connections and says nothing loses them, and whoever asks at once is answered, also in a flood. A
request under way is never given up for another one.

One connection is taken at a time, between everything else that the event loop has to do.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler

_log = structlog.get_logger("vya.api")

QUIET_SECONDS = 10.0
"""What an outsider can cause as often as he likes is in the log at most so often, with a count."""
_PAUSE_SECONDS = 0.1
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Seldom:
    """Says one thing at most every ``QUIET_SECONDS``, and how often it was so since the last time."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._next = 0.0
        self._count = 0

    def tell(self, **facts: object) -> None:
        """It has happened once more."""
        self._count += 1
        if time.monotonic() >= self._next:
            _log.warning(self._event, times=self._count, **facts)
            self._next, self._count = time.monotonic() + QUIET_SECONDS, 0


class _Malformed(logging.Filter):
    """Keeps what is no HTTP out of the log: a line, and its traceback, for each would fill a disk for anybody outside."""

    def __init__(self) -> None:
        super().__init__()
        self._seldom = Seldom("api.malformed_requests")

    def filter(self, record: logging.LogRecord) -> bool:
        """See ``logging.Filter``."""
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            self._seldom.tell()
            return False
        return True


http_log = logging.getLogger("vya.api.http")
"""For aiohttp's own complaints."""
http_log.addFilter(_Malformed())


class Door:
    """Takes connections from a listening socket and hands them to the server, ``most`` at a time."""

    def __init__(self, app: web.Application, sock: socket.socket, most: int) -> None:
        self._socket = sock
        self._most = most
        self._occupied: set[RequestHandler] = set()
        self._crowded, self._exhausted = Seldom("api.crowded"), Seldom("api.out_of_descriptors")
        app.middlewares.insert(0, self._occupying())

    @property
    def occupied(self) -> int:
        """Connections that have a request under way."""
        return len(self._occupied)

    async def keep(self, server: web.Server) -> None:
        """Take connections until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                await self._after(error, server)
                continue
            if len(present(server)) >= self._most and not self._let_go(server):
                peer.close()
                await asyncio.sleep(0)
                continue
            try:
                await loop.connect_accepted_socket(server, peer)
            except OSError:
                peer.close()  # it has gone already

    async def _after(self, error: OSError, server: web.Server) -> None:
        """Whoever aborts his own connection is no trouble. When there are no descriptors left, there may be soon."""
        if error.errno in _EXHAUSTED:
            self._exhausted.tell(error=error.strerror)
            self._let_go(server)
        await asyncio.sleep(_PAUSE_SECONDS)

    def _let_go(self, server: web.Server) -> bool:
        """End the connection that has been without a request for longest; False where all have one."""
        for connection in present(server):
            if connection not in self._occupied and connection.transport is not None:
                # Not closed: it would wait for a peer that reads nothing.
                connection.transport.abort()
                self._crowded.tell(most=self._most)
                return True
        self._crowded.tell(most=self._most)
        return False

    def _occupying(self) -> Middleware:
        @web.middleware
        async def occupying(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = request.protocol
            self._occupied.add(connection)
            try:
                return await handler(request)
            finally:
                self._occupied.discard(connection)

        return occupying


def present(server: web.Server) -> list[RequestHandler]:
    """Connections that are open, the oldest first."""
    return [each for each in server.connections if each.transport is not None and not each.transport.is_closing()]
