"""Floods and slow peers, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from tests.api.conftest import Control, Public
from tests.waiting import PATIENCE, soon
from vya_backupd.api import control as control_module
from vya_backupd.api import listen
from vya_backupd.errors import ConfigError


async def get(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    return answer


async def test_routes_of_the_public_site(public: Public) -> None:
    close = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    assert b'{"alive": true}' in await get(public.port, b"GET /health/live" + close + b"\r\n")
    assert b"200 OK" in await get(public.port, b"GET /health/ready" + close + b"\r\n")
    assert b"vya_up 1" in await get(public.port, b"GET /metrics" + close + b"\r\n")
    wanted = b"Accept: application/openmetrics-text; version=1.0.0\r\n\r\n"
    assert b"Content-Type: application/openmetrics-text" in await get(public.port, b"GET /metrics" + close + wanted)
    head = await get(public.port, b"HEAD /health" + close + b"\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n")
    public.service.healthy = False
    assert b"503" in await get(public.port, b"GET /health" + close + b"\r\n")
    assert b"503" in await get(public.port, b"GET /health/ready" + close + b"\r\n")
    for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"):
        assert b" 405 " in await get(public.port, method + b" /health" + close + b"\r\n")
    assert b" 404 " in await get(public.port, b"GET /v1/status" + close + b"\r\n")


async def test_trickled_headers_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "HEADER_SECONDS", 1.0)
    from tests.api.service import RecordedService
    from vya_backupd.api.public import public_app

    sock = listen.bind_tcp("127.0.0.1", 0)
    site = listen.Site(public_app(RecordedService()), sock, max_connections=10)
    await site.start()
    try:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof() and time.monotonic() - began < PATIENCE:
                writer.write(b"X-Slow: 1\r\n")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.1)
        assert 0.9 < time.monotonic() - began < PATIENCE
        writer.close()
    finally:
        await site.stop()


def test_the_wait_for_a_head_is_ten_seconds() -> None:
    assert listen.HEADER_SECONDS == 10


async def test_connections_are_bounded_and_free_again(public: Public) -> None:
    pairs = [await asyncio.open_connection("127.0.0.1", public.port) for _ in range(60)]
    ends = [asyncio.create_task(reader.read(1)) for reader, _ in pairs]
    await soon(lambda: sum(end.done() for end in ends) == 50, "it does not refuse what is too much")
    assert public.site.connections == 10
    for _, writer in pairs:
        writer.close()
    await asyncio.gather(*ends, return_exceptions=True)
    await soon(lambda: not public.site.connections)
    assert b"alive" in await get(public.port, b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def test_oversized_heads_and_garbage_are_refused(public: Public) -> None:
    for request in (
        b"GET /health HTTP/1.1\r\nX-Big: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 5_000 + b"\r\n",
    ):
        with contextlib.suppress(ConnectionError):
            assert (await get(public.port, request)).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"alive" in await get(public.port, b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def test_a_body_that_does_not_come_is_not_waited_for(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "BODY_SECONDS", 0.2)
    reader, writer = await asyncio.open_unix_connection(str(control.path))
    writer.write(b"POST /v1/operations HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
    async with asyncio.timeout(PATIENCE):
        assert b" 400 " in await reader.readline()
    writer.close()
    assert control.service.calls == []


async def test_a_taken_port_has_its_own_error(public: Public) -> None:
    with pytest.raises(ConfigError) as taken:
        listen.bind_tcp("127.0.0.1", public.port)
    assert taken.value.code == "port_in_use"
    with pytest.raises(ConfigError, match="cannot listen on"):
        listen.bind_tcp("203.0.113.7", 0)


async def test_the_silent_give_way_and_requests_under_way_do_not(control: Control) -> None:
    """The site has 20 places: 19 are taken by watches, one by somebody who says nothing."""
    watch = b"GET /v1/operations/op1/watch HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    watches = [await asyncio.open_unix_connection(str(control.path)) for _ in range(19)]
    for reader, writer in watches:
        writer.write(watch)
        async with asyncio.timeout(PATIENCE):
            assert b" 200 " in await reader.readline()
    silent, nothing = await asyncio.open_unix_connection(str(control.path))
    await soon(lambda: control.site.connections == 20)
    last = await asyncio.open_unix_connection(str(control.path))

    last[1].write(watch)
    async with asyncio.timeout(PATIENCE):
        assert b" 200 " in await last[0].readline()
        assert await silent.read() == b""
    refused, writer = await asyncio.open_unix_connection(str(control.path))
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            writer.write(watch)
            assert await refused.read() == b""
    control.service.hold_watch.set()
    for reader, each in [*watches, last]:
        async with asyncio.timeout(PATIENCE):
            assert b'"finished"' in await reader.read()
        each.close()
    nothing.close()
    writer.close()


async def test_a_crowd_loses_its_own_connections(public: Public) -> None:
    """Ten places: one of somebody who came first and is slow, nine and many more of another address."""

    async def of(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        pair = await asyncio.open_connection("127.0.0.1", public.port, local_addr=(address, 0))
        pair[1].write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        return pair

    reader, writer = await of("127.0.0.3")
    crowd = [await of("127.0.0.2") for _ in range(40)]
    ends = [asyncio.create_task(end.read(1)) for end, _ in crowd]
    await soon(lambda: sum(end.done() for end in ends) == 31)
    writer.write(b"Connection: close\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        assert b"alive" in await reader.read()
    for _, each in [*crowd, (reader, writer)]:
        each.close()
    await asyncio.gather(*ends, return_exceptions=True)


async def test_metrics_are_made_once_for_all_who_ask_at_the_same_time(
    public: Public, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, may = 0, asyncio.Event()

    async def metrics(openmetrics: bool) -> tuple[bytes, str]:
        nonlocal made
        made += 1
        await may.wait()
        return b"made %d\n" % made, "text/plain"

    monkeypatch.setattr(public.service, "metrics", metrics)
    ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    first = asyncio.create_task(get(public.port, ask))
    await soon(lambda: made)
    others = [asyncio.create_task(get(public.port, ask)) for _ in range(4)]
    await soon(lambda: public.site.requests == 5)
    may.set()
    assert b"made 1" in await first
    # Those who came meanwhile are told what is true since, all by one answer.
    assert all(b"made 2" in answer for answer in await asyncio.gather(*others))
    assert made == 2
