"""The other side of notifications: a real SMTP server (aiosmtpd) and a real HTTP server (aiohttp), in threads."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult


class Peer:
    """A server on a port of loopback that was free, in an event loop of its own thread."""

    def __init__(self) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        self.port = self.run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self.run(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end_tasks(self) -> None:
        tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> int:
        raise TypeError

    async def _close(self) -> None:
        raise TypeError


@dataclass
class Taken:
    """A mail that was taken, by whom for whom."""

    sender: str
    recipients: list[str]
    raw: bytes
    encrypted: bool

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    def part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")


Answer = Callable[[str], str | None]


@dataclass
class Manners:
    """How a mail server behaves. ``answers`` by command: a line, or None to take it; the argument is the address."""

    answers: dict[str, Answer] = field(default_factory=dict)
    drops_in_data: bool = False
    is_slow: bool = False
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    password: str | None = None


class _Door(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class MailPeer(Peer):
    """A mail server. ``mails`` are those that it took, ``commands`` all that it was told."""

    def __init__(self, manners: Manners | None = None) -> None:
        super().__init__()
        self.manners = manners or Manners()
        self.mails: list[Taken] = []
        self.commands: list[str] = []
        self.logins: list[tuple[str, str]] = []
        self.is_down = False
        """Whether whoever comes is thrown out at the door. The port stays ours: another test could take it."""
        self._server: asyncio.Server | None = None

    async def _listen(self) -> int:
        context = self.manners.tls if self.manners.implicit else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", self.port, ssl=context)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()

    def _protocol(self) -> asyncio.Protocol:
        if self.is_down:
            return _Door()
        manners = self.manners
        starttls = manners.tls if not manners.implicit else None
        protocol: asyncio.Protocol = SMTP(
            self,
            hostname="peer",
            loop=self._loop,
            tls_context=starttls,
            authenticator=self._authenticate if manners.password else None,
            auth_require_tls=manners.tls is not None and not manners.implicit,
            enable_SMTPUTF8=True,
        )
        return protocol

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        login, password = data.login.decode(), data.password.decode()
        self.logins.append((login, password))
        return AuthResult(success=password == self.manners.password, handled=password == self.manners.password)

    async def _said(self, command: str, server: Any, address: str = "") -> str | None:
        self.commands.append(command)
        if self.manners.is_slow:
            await asyncio.sleep(3600)
        answer = self.manners.answers.get(command)
        return answer(address) if answer else None

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, name: str, responses: Any) -> Any:
        session.host_name = name
        await self._said("EHLO", server)
        return responses

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if answer := await self._said("MAIL", server, address):
            return answer
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if answer := await self._said("RCPT", server, address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.manners.drops_in_data:
            self.commands.append("DATA")
            server.transport.abort()
            return "451 gone"
        if answer := await self._said("DATA", server):
            return answer
        content: bytes = envelope.original_content
        encrypted = session.ssl is not None or self.manners.implicit
        self.mails.append(Taken(envelope.mail_from, list(envelope.rcpt_tos), content, encrypted))
        return f"250 taken as {len(self.mails)}"


@dataclass
class Request:
    """What an HTTP server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HttpPeer(Peer):
    """An HTTP server: answers ``statuses`` one after the other, then 200. ``requests`` are all that came.

    With ``repeats`` its answers repeat the address that was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        self.repeats = False
        self._runner: web.AppRunner | None = None

    @property
    def paths(self) -> list[str]:
        return [each.path for each in self.requests]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def _listen(self) -> int:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        found = Request(request.method, request.path_qs, dict(request.headers), await request.read())
        self.requests.append(found)
        status = self.statuses.pop(0) if self.statuses else 200
        headers = {"Location": "/elsewhere"} if status in {301, 302} else {}
        text = f"answer {status}" + (f" to {request.path_qs}" if self.repeats else "")
        return web.Response(status=status, text=text, headers=headers)
