"""The health port and the control socket of a real daemon, attacked from outside while others go on using them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until
from vya_backupd.api.control import MAX_CONNECTIONS
from vya_backupd.api.public import MAX_CONNECTIONS as MAX_PUBLIC_CONNECTIONS
from vya_backupd.testing.product import Product

GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
_MB = 1 << 20


class Attacked:
    """A daemon, and raw connections to both of its sites."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.port = int(product.events("public.listening")[-1]["port"])
        self._open: list[socket.socket] = []

    def tcp(self) -> socket.socket:
        return self._kept(socket.create_connection(("127.0.0.1", self.port), timeout=60))

    def unix(self) -> socket.socket:
        client = self._kept(socket.socket(socket.AF_UNIX))
        client.settimeout(60)
        client.connect(str(self.product.socket_path))
        return client

    def _kept(self, client: socket.socket) -> socket.socket:
        self._open.append(client)
        return client

    def let_go(self) -> None:
        """Close whatever the attack has open."""
        for client in self._open:
            client.close()
        self._open.clear()

    @property
    def memory(self) -> int:
        """Resident bytes of the daemon."""
        status = Path(f"/proc/{self.product.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) << 10

    @property
    def descriptors(self) -> int:
        if os.geteuid() != 0:
            pytest.skip("the kernel shows the descriptors of the daemon to root alone: run as root")
        return len(list(Path(f"/proc/{self.product.process.pid}/fd").iterdir()))

    def check_service(self) -> None:
        """Probes and operators are answered."""
        assert b'{"alive": true}' in self.asked_live()
        assert "instances" in self.asked("GET", "/v1/status")

    def asked_live(self) -> bytes:
        """An honest probe's answer. In a flood its connection may be given up: then it knocks again, as probes do."""

        def ask() -> bytes:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=60) as probe:
                probe.sendall(GET + b"Connection: close\r\n\r\n")
                return _all_of(probe)
            return b""

        return until(ask, otherwise="no probe is answered")

    def asked(self, method: str, path: str) -> Any:
        """An operator's answer."""

        def ask() -> Any:
            with contextlib.suppress(OSError), self.unix() as client:
                client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                return json.loads(_all_of(client).partition(b"\r\n\r\n")[2] or b"null")
            return None

        return until(ask, otherwise="no operator is answered")


def _all_of(client: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 16):
            data += piece
    return data


def _is_closed(client: socket.socket) -> bool:
    """Whether the other side has ended the connection; what it said before is thrown away."""
    try:
        client.setblocking(False)
        while client.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, closed_port: int) -> Iterator[Product]:
    entry = {
        "id": "one",
        "type": "postgresql",
        "host": "127.0.0.1",
        "port": closed_port,
        "username": "u",
        "password": "p",
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with Product(tmp_path_factory.mktemp("http"), [entry]) as product:
            yield product
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def attacked(daemon: Product) -> Iterator[Attacked]:
    there = Attacked(daemon)
    there.check_service()
    yield there
    there.let_go()
    there.check_service()


def test_a_flood_of_connections_takes_no_place_from_those_who_ask(attacked: Attacked) -> None:
    memory, descriptors = attacked.memory, attacked.descriptors
    for number in range(800):
        attacked.tcp().send(b"GET /he")
        if number % 200 == 0:
            attacked.check_service()
    for number in range(300):
        with contextlib.suppress(OSError):
            attacked.unix().send(b"POST /v1/operations HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"[: number % 60])
        if number % 100 == 0:
            attacked.check_service()
    most = MAX_CONNECTIONS + MAX_PUBLIC_CONNECTIONS + 20
    assert attacked.descriptors <= descriptors + most
    assert attacked.memory < memory + 40 * _MB
    attacked.check_service()
    attacked.let_go()
    until(lambda: attacked.descriptors <= descriptors + 20)
    assert 0 < len(attacked.product.events("api.crowded")) < 100


def test_slow_heads_end_and_nobody_waits_for_them(attacked: Attacked) -> None:
    began = time.monotonic()
    slow = [attacked.tcp() for _ in range(30)] + [attacked.unix() for _ in range(30)]
    for client in slow:
        client.sendall(GET if client.family != socket.AF_UNIX else b"GET /v1/status HTTP/1.1\r\n")
    closed: set[socket.socket] = set()
    attacked.check_service()

    def all_closed() -> bool:
        for client in slow:
            with contextlib.suppress(OSError):
                client.setblocking(False)
                client.send(b"X")
            if client not in closed and _is_closed(client):
                assert time.monotonic() - began > 8, "closed before its time"
                closed.add(client)
        time.sleep(0.2)
        return len(closed) == len(slow)

    until(all_closed, otherwise="heads may take for ever")


HUGE = 24 * _MB


@pytest.mark.parametrize("site", ["tcp", "unix"])
def test_what_is_huge_or_endless_is_not_kept(attacked: Attacked, site: str) -> None:
    path = b"/health" if site == "tcp" else b"/v1/operations"
    post = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n"
    shapes = {
        "head": (b"GET " + path + b" HTTP/1.1\r\nX: ", b"x" * 65536),
        "heads": (b"GET " + path + b" HTTP/1.1\r\n", b"A: b\r\n" * 10_000),
        "line": (b"GET /", b"x" * 65536),
        "body": (post + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536),
        "chunks": (post + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        "a chunk's extension": (post + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
        "trailers": (post + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n" * 10_000),
    }
    memory = attacked.memory
    for name, (begin, more) in shapes.items():
        client = attacked.tcp() if site == "tcp" else attacked.unix()
        sent = len(begin)
        with contextlib.suppress(OSError):
            client.sendall(begin)
            # A daemon that reads no more is as good as one that closes: nothing goes in.
            while sent < HUGE and select.select([], [client], [], 0.2)[1]:
                client.setblocking(False)
                sent += client.send(more)
        assert attacked.memory < memory + 30 * _MB, name
    attacked.check_service()


def test_a_small_body_that_unfolds_is_not_unfolded(attacked: Attacked) -> None:
    import gzip

    bomb, memory = gzip.compress(b" " * (64 * _MB), 9), attacked.memory
    head = b"POST /v1/operations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    client = attacked.unix()
    client.sendall(head % len(bomb) + bomb)
    assert b" 400 " in _all_of(client)[:20]
    assert attacked.memory < memory + 20 * _MB


def test_those_who_never_read_hold_no_place(attacked: Attacked) -> None:
    """Some ask for so much that the daemon cannot even get rid of its answers; the others just leave them."""
    memory = attacked.memory
    ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    for number in range(MAX_PUBLIC_CONNECTIONS):
        client = attacked.tcp()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        _ask_and_leave(client, ask * (400 if number % 8 == 0 else 20))
    for _ in range(5):
        attacked.check_service()
    for _ in range(MAX_CONNECTIONS):
        _ask_and_leave(attacked.unix(), ask.replace(b"/metrics", b"/v1/metrics") * 40)
    for _ in range(5):
        attacked.check_service()
    assert attacked.memory < memory + 60 * _MB


def _ask_and_leave(client: socket.socket, ask: bytes) -> None:
    client.setblocking(False)
    with contextlib.suppress(OSError):
        client.send(ask)


SMUGGLED = b"POST /v1/schedule/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
SHAPES = {
    "both lengths": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED)),
    "two lengths": b"Content-Length: 2\r\nContent-Length: %d\r\n\r\n{}" % (2 + len(SMUGGLED)),
    "a signed length": b"Content-Length: +2\r\n\r\n{}",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": b"Content-Length: 0x2\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 2, 2\r\n\r\n{}",
    "a blank before the colon": b"Content-Length : 2\r\n\r\n{}",
    "an encoding that is not the last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "an encoding that is unknown": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a folded head": b"X: a\r\n Content-Length: 2\r\n\r\n{}",
    "a size with a sign": b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "a size beyond all measure": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
    "a chunk longer than its size": b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a zero byte in a head": b"X: a\0b\r\n\r\n",
    "line feeds alone": b"X: y\n\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_request_whose_length_is_in_doubt_is_the_last_one(attacked: Attacked, shape: str) -> None:
    client = attacked.unix()
    client.sendall(b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\n" + SHAPES[shape] + SMUGGLED)
    answer = _all_of(client)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")) or answer.count(b"HTTP/1.1 404") == 1, answer
    assert len(re.findall(rb"HTTP/1\.[01] \d{3} ", answer)) == 1, answer
    assert attacked.asked("GET", "/v1/schedule")["paused"] is None


def test_garbage_does_not_fill_the_log(attacked: Attacked) -> None:
    before = len(attacked.product.log())
    for number in range(300):
        client = attacked.tcp()
        client.sendall((b"\x16\x03\x01" if number % 2 else b"GET \x01 HTTP/1.1\r\nHost: x\r\n\r\n") + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            client.recv(1)
        client.close()
    assert len(attacked.product.log()) - before < 4000
    assert attacked.product.events("api.malformed_requests")


def test_without_descriptors_the_daemon_waits_and_goes_on(attacked: Attacked) -> None:
    pid, few = attacked.product.process.pid, attacked.descriptors + 8
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        for _ in range(40):
            attacked.tcp().send(b"GET /he")
        until(lambda: attacked.product.events("api.out_of_descriptors"))
        assert attacked.descriptors <= few
        attacked.let_go()
        attacked.check_service()
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
