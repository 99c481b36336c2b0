"""Somebody on the wire between a client and a real server: strips TLS, or ends it with a certificate of his own."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vya_backupd.testing.servers import PrivateServer

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""What PostgreSQL's clients ask first (protocol 3.0, "SSLRequest")."""
_CLIENT_SSL = 0x0800
_PIECE = 1 << 16


class Middleman:
    """Listens on loopback and passes on to the server; ``heard`` is what clients said where nobody should listen.

    With ``certificate`` he offers TLS under that certificate, and is the server's client himself. Without one he strips:
    whoever asks for TLS is told that there is none.
    """

    def __init__(self, server: PrivateServer, certificate: tuple[Path, Path] | None) -> None:
        self._server = server
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    def close(self) -> None:
        """End, with all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection((self._server.host, self._server.port), timeout=60)
        client.settimeout(60)
        negotiate = self._postgresql if self._server.kind == "postgresql" else self._mysql
        ends: list[socket.socket] = [client, server]
        try:
            ends = list(negotiate(client, server))
            self._pass_on(*ends)
        except OSError:
            pass  # the client thinks better of it: that is the point
        finally:
            for end in (*ends, client, server):
                end.close()

    def _postgresql(self, client: socket.socket, server: socket.socket) -> tuple[socket.socket, socket.socket]:
        if client.recv(8, socket.MSG_PEEK) != _SSL_REQUEST:
            return client, server
        client.recv(8)
        if self._context is None:
            client.sendall(b"N")
            return client, server
        server.sendall(_SSL_REQUEST)
        client.sendall(server.recv(1))
        return self._both_ends(client, server)

    def _mysql(self, client: socket.socket, server: socket.socket) -> tuple[socket.socket, socket.socket]:
        greeting = _packet(server)
        if self._context is None:
            place = greeting.index(b"\0", 5) + 1 + 4 + 8 + 1
            (capabilities,) = struct.unpack_from("<H", greeting, place)
            client.sendall(greeting[:place] + struct.pack("<H", capabilities & ~_CLIENT_SSL) + greeting[place + 2 :])
            return client, server
        client.sendall(greeting)
        asked = _packet(client)
        server.sendall(asked)
        if len(asked) != 36:
            self.heard += asked
            return client, server
        return self._both_ends(client, server)

    def _both_ends(self, client: socket.socket, server: socket.socket) -> tuple[socket.socket, socket.socket]:
        assert self._context is not None
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return self._context.wrap_socket(client, server_side=True), trusting.wrap_socket(server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            ready = [end for end in (client, server) if isinstance(end, ssl.SSLSocket) and end.pending()]
            for end in ready or select.select([client, server], [], [], 60)[0]:
                other = server if end is client else client
                data = _there(end)
                if data == b"":
                    return
                if end is client:
                    self.heard += data or b""
                other.settimeout(60)
                other.sendall(data or b"")


def _there(end: socket.socket) -> bytes | None:
    """What has come; None where that was nothing but TLS's own affairs."""
    end.settimeout(0)
    try:
        return end.recv(_PIECE)
    except (ssl.SSLWantReadError, BlockingIOError):
        return None


def _packet(source: socket.socket) -> bytes:
    """One packet of MySQL's protocol, with its head."""
    head = source.recv(4, socket.MSG_WAITALL)
    if len(head) < 4:
        raise ConnectionError
    return head + source.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL)


@contextmanager
def between(server: PrivateServer, certificate: tuple[Path, Path] | None = None) -> Iterator[Middleman]:
    """A middleman for as long as the context lasts."""
    there = Middleman(server, certificate)
    try:
        yield there
    finally:
        there.close()
