"""Servers that mean harm: they speak as much of a protocol as it takes to be listened to, and then what they like."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

Talk = Callable[["Wire"], None]


class Wire:
    """One connection, from the server's side. ``heard`` is all that the other side said."""

    def __init__(self, sock: socket.socket, heard: bytearray) -> None:
        self.sock = sock
        self.heard = heard

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, size: int) -> bytes:
        """That many bytes; ConnectionError at the end."""
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise ConnectionError
            self.heard += piece
            data += piece
        return data

    # MySQL

    def packet(self, payload: bytes, number: int) -> None:
        self.send(len(payload).to_bytes(3, "little") + bytes((number & 0xFF,)) + payload)

    def take_packet(self) -> bytes:
        size = int.from_bytes(self.read(4)[:3], "little")
        return self.read(size)

    def greet_mysql(self, version: str, plugin: bytes) -> None:
        """The handshake, which lets anybody in."""
        capabilities = 0x00AFF7DF & ~0x800  # everything old, LOCAL INFILE among it; no TLS
        self.packet(
            b"\x0a" + version.encode() + b"\0" + struct.pack("<I", 7) + b"a" * 8 + b"\0"
            + struct.pack("<H", capabilities & 0xFFFF) + b"\x2d" + struct.pack("<HH", 2, capabilities >> 16)
            + b"\x15" + bytes(10) + b"b" * 12 + b"\0" + plugin + b"\0", 0,
        )  # fmt: skip
        self.take_packet()
        number = 2
        if plugin.startswith(b"caching"):
            self.packet(b"\x01\x03", number)
            number += 1
        self.packet(b"\0\0\0\x02\0\0\0", number)

    # PostgreSQL

    def greet_postgresql(self) -> None:
        """No TLS, no password."""
        while True:
            size = struct.unpack(">I", self.read(4))[0]
            code = struct.unpack(">I", self.read(size - 4)[:4])[0]
            if code != 80877103 and code != 80877104:
                break
            self.send(b"N")
        self.message(b"R", struct.pack(">I", 0))
        for key, value in ((b"server_version", b"15.0"), (b"client_encoding", b"UTF8"), (b"server_encoding", b"UTF8")):
            self.message(b"S", key + b"\0" + value + b"\0")
        self.message(b"K", struct.pack(">II", 7, 7))
        self.message(b"Z", b"I")

    def message(self, kind: bytes, body: bytes) -> None:
        self.send(kind + struct.pack(">I", len(body) + 4) + body)

    def take_message(self) -> bytes:
        kind, size = self.read(1), struct.unpack(">I", self.read(4))[0]
        return kind + self.read(size - 4)

    def rows(self, *rows: tuple[str, ...]) -> None:
        """An answer of PostgreSQL: text in every column."""
        columns = b"".join(b"c\0" + struct.pack(">IHIhih", 0, 0, 25, -1, -1, 0) for _ in rows[0])
        self.message(b"T", struct.pack(">H", len(rows[0])) + columns)
        for row in rows:
            cells = b"".join(struct.pack(">I", len(cell.encode())) + cell.encode() for cell in row)
            self.message(b"D", struct.pack(">H", len(row)) + cells)
        self.message(b"C", b"SELECT 1\0")
        self.message(b"Z", b"I")


class FakeServer:
    """Listens on loopback and talks to each connection in a thread of its own until that ends."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.heard = bytearray()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for each in self._open:
            each.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            self._talk(Wire(connection, self.heard))
        except (OSError, struct.error):
            return
        finally:
            connection.close()
