"""The door of a site: takes connections, never too many, and never lets a crowd outside keep others from being served.

When all places are taken, a connection without a request gives way to the new one: the oldest of the user, or the
address, that has most of them. So whoever opens connections and says nothing loses his own, and whoever asks at once is
answered, also in a flood. A request under way is never given up for another one.

One connection is taken at a time, between everything else that the event loop has to do.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections import Counter

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler

from vya_backupd.api.access import peer_of

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
        self._origins: dict[asyncio.BaseProtocol, str | int] = {}
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
            origin = _origin(peer)
            if not self._has_room(server):
                peer.close()
                await asyncio.sleep(0)
                continue
            try:
                _, connection = await loop.connect_accepted_socket(server, peer)
            except OSError:
                peer.close()  # it has gone already
            else:
                self._origins[connection] = origin

    def _has_room(self, server: web.Server) -> bool:
        """Whether there is a place for one more, if need be one that somebody has to leave."""
        here = present(server)
        self._origins = {each: self._origins.get(each, "") for each in here}
        return len(here) < self._most or self._let_go(here)

    async def _after(self, error: OSError, server: web.Server) -> None:
        """Whoever aborts his own connection is no trouble. When there are no descriptors left, there may be soon."""
        if error.errno in _EXHAUSTED:
            self._exhausted.tell(error=error.strerror)
            self._let_go(present(server))
        await asyncio.sleep(_PAUSE_SECONDS)

    def _let_go(self, here: list[RequestHandler]) -> bool:
        """End the oldest silent connection of whoever has most connections; False where all have a request."""
        self._crowded.tell(most=self._most)
        silent = [each for each in here if each not in self._occupied]
        if not silent:
            return False
        crowd = Counter(self._origins.get(each, "") for each in here)
        chosen = max(silent, key=lambda each: crowd[self._origins.get(each, "")]).transport
        if chosen is not None:
            chosen.abort()  # not closed: it would wait for a peer that reads nothing
        return chosen is not None

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


def _origin(peer: socket.socket) -> str | int:
    """Who is at the other end: a user of this machine, or an address."""
    try:
        if peer.family == socket.AF_UNIX:
            return peer_of(peer).uid
        return str(peer.getpeername()[0])
    except OSError:
        return ""


def present(server: web.Server) -> list[RequestHandler]:
    """Connections that are open, the oldest first."""
    return [each for each in server.connections if each.transport is not None and not each.transport.is_closing()]
