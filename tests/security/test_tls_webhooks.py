"""Webhooks, pings and pushed metrics over HTTPS: told to nobody whose certificate does not hold, and no endless answers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from vya_backupd.errors import NoticeError
from vya_backupd.observe import push
from vya_backupd.observe.notify_carrier import Means
from vya_backupd.observe.notify_http import Call, HttpCarrier, new_session
from vya_backupd.testing.account import Account
from vya_backupd.testing.certificates import Certificates


@asynccontextmanager
async def receiver(
    heard: list[str], context: ssl.SSLContext | None = None, *, endless: bool = False
) -> AsyncIterator[str]:
    """An HTTP server that notes what it is asked; its address."""

    async def answer(request: web.Request) -> web.StreamResponse:
        heard.append(f"{request.method} {request.path} {(await request.read()).decode()}")
        if not endless:
            return web.Response(text="taken")
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _carrier() -> HttpCarrier:
    nothing = cast("Any", None)
    return HttpCarrier(Means(lambda: nothing, lambda: None, lambda: datetime.now(UTC)))


def _terms(url: str) -> push.PushTerms:
    return push.PushTerms(url, "job", "host", 60)


async def test_a_certificate_that_does_not_hold_is_told_nothing(tmp_path: Path) -> None:
    made = Certificates.make(tmp_path / "certificates", Account.for_servers(), "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server_cert, made.server_key)
    heard: list[str] = []
    async with receiver(heard, context) as url, new_session(30) as session:
        for call in (Call(f"{url}/hook", {}, b"told"), Call(f"{url}/ping", {})):
            with pytest.raises(NoticeError, match="certificate") as refused:
                await _carrier().make(session, call)
            assert refused.value.code == "webhook_failed"
        assert await push.knock(_terms(url))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await push._put(f"{url}/metrics", b"told")
        assert heard == []
        # Whoever does not look is let in: what was refused is the certificate.
        async with session.post(f"{url}/unseen", data=b"told", ssl=False) as answer:
            assert answer.status == 200
    assert heard == ["POST /unseen told"]


async def test_an_answer_without_an_end_is_not_read_to_its_end() -> None:
    heard: list[str] = []
    async with receiver(heard, endless=True) as url, new_session(60) as session:
        with pytest.raises(NoticeError, match=r"answered 500: x{200}"):
            await _carrier().make(session, Call(f"{url}/hook", {}, b"told"))
        with pytest.raises(ValueError, match=r"status 500: x{200}"):
            await push._put(f"{url}/metrics", b"told")
    assert len(heard) == 2
