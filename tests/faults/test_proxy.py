"""The proxy itself, between a plain client and a server that sends back what it hears."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults.proxy import Disturbance, Kind, Proxy, Way
from tests.waiting import until

TEXT = bytes(range(256)) * 400


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with Proxy("127.0.0.1", server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()
        thread.join()


def _connected(proxy: Proxy, seconds: float = 30) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=seconds)


def _heard(client: socket.socket, sent: bytes = TEXT) -> bytes:
    """What comes back of a text, until its end or the connection's, whichever way that ends."""
    sender = threading.Thread(target=_send, args=(client, sent))
    sender.start()
    got = b""
    with suppress(ConnectionError):
        while len(got) < len(sent) and (data := client.recv(65536)):
            got += data
    sender.join()
    return got


def _send(client: socket.socket, text: bytes) -> None:
    with suppress(OSError):
        client.sendall(text)


def test_everything_passes_both_ways(proxy: Proxy) -> None:
    with _connected(proxy) as client:
        assert _heard(client) == TEXT
        assert proxy.open_connections == 1
    until(lambda: proxy.open_connections == 0)
    assert proxy.most_carried == {Way.TO_SERVER: len(TEXT), Way.FROM_SERVER: len(TEXT)}
    assert proxy.hits == 0


@pytest.mark.parametrize("way", list(Way))
def test_a_connection_ends_behind_so_many_bytes_and_the_next_one_works(proxy: Proxy, way: Way) -> None:
    proxy.disturb(Disturbance(Kind.CLOSE, way, after=70_001))
    with _connected(proxy) as client:
        heard = _heard(client)
    assert heard == TEXT[:70_001] if way is Way.FROM_SERVER else TEXT[:70_001].startswith(heard)
    proxy.disturb(Disturbance(Kind.RESET, way, after=5))
    with _connected(proxy) as client:
        assert TEXT[:5].startswith(_heard(client))
    assert proxy.hits == 1
    with _connected(proxy) as client:
        assert _heard(client) == TEXT


def test_what_hangs_says_nothing_until_it_is_healed(proxy: Proxy) -> None:
    proxy.disturb(Disturbance(Kind.BLACK_HOLE, after=100))
    with _connected(proxy, 0.2) as first:
        first.sendall(TEXT[:500])
        assert first.recv(500, socket.MSG_WAITALL) == TEXT[:100]
        with _connected(proxy, 0.2) as second, pytest.raises(TimeoutError):
            _heard(second, b"anybody?")
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            first.recv(1)
    with _connected(proxy) as client:
        assert _heard(client) == TEXT
    proxy.disturb(Disturbance(Kind.HANG, after=100))
    with _connected(proxy, 0.2) as first, _connected(proxy) as second:
        first.sendall(TEXT[:500])
        with pytest.raises(TimeoutError):
            until(lambda: first.recv(1, socket.MSG_PEEK) and not first.recv(100))
        assert _heard(second) == TEXT


def test_slow_ones_lose_nothing_and_take_their_time(proxy: Proxy) -> None:
    for plan, least in (
        (Disturbance(Kind.DELAY, seconds=0.2), 0.2),
        (Disturbance(Kind.TRICKLE, after=100_000, seconds=0.01, size=200), 0.1),
    ):
        proxy.disturb(plan)
        began = time.monotonic()
        with _connected(proxy) as client:
            assert _heard(client) == TEXT
        assert time.monotonic() - began >= least
        assert proxy.hits == 1


def test_who_is_refused_is_reset_at_once(proxy: Proxy) -> None:
    with _connected(proxy) as client:
        assert _heard(client) == TEXT
        assert proxy.strike() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    proxy.disturb(Disturbance(Kind.REFUSE))
    for _ in range(2):
        with _connected(proxy) as client:
            assert _heard(client, b"anybody?") == b""
    proxy.heal()
    with _connected(proxy) as client:
        assert _heard(client) == TEXT
