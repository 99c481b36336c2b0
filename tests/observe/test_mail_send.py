"""SMTP against a real server that takes mails, refuses them at every step, drips, breaks off, or is not who it says."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.observe.peers import MailPeer, Manners
from vya_backupd.config.fields import Reading
from vya_backupd.config.schema_notifications import Email
from vya_backupd.errors import NoticeError
from vya_backupd.observe import mail_send
from vya_backupd.observe.mail_message import Envelope, compose, one_line
from vya_backupd.observe.mail_send import MailServer, Receipt
from vya_backupd.observe.mail_text import Rendered
from vya_backupd.testing.account import Account
from vya_backupd.testing.certificates import Certificates

PASSWORD = "Zq4-canary-8Wv"
SENDER = "Backups <backup@example.com>"
TO = ["ops@example.com", "db@example.com"]
AT = datetime(2026, 1, 9, 2, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("tls"), Account.for_servers(), "nobody")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("strangers"), Account.for_servers(), "nobody")


@pytest.fixture
def peer() -> Iterator[MailPeer]:
    with MailPeer() as peer:
        yield peer


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def speaking_tls(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_cert, certificates.server_key)
    return context


def server(port: int, timeout: float = 20, **keys: Any) -> MailServer:
    values = {"smtp_host": "localhost", "smtp_port": port, "use_tls": False, **keys}
    email = Email.model_validate(values, context=Reading(Path("/"), {}))
    return MailServer(email, None, timeout, "site-a")


def message(text: str = "grüße\n") -> EmailMessage:
    rendered = Rendered(html=f"<p>{text}</p>", plain=text)
    return compose(Envelope(SENDER, TO, "backup FAILED: ünïcode", "17.abc", AT), rendered)


async def send(to: MailServer, recipients: list[str] | None = None) -> Receipt:
    async with to.session() as session:
        return await session.send("backup@example.com", recipients or TO, message())


async def refusal(to: MailServer) -> NoticeError:
    with pytest.raises(NoticeError) as caught:
        await send(to)
    return caught.value


async def test_a_mail_arrives_as_it_was_written(peer: MailPeer) -> None:
    receipt = await send(server(peer.port))
    assert (receipt.refused, receipt.answer) == ({}, "taken as 1")
    [mail] = peer.mails
    assert (mail.sender, mail.recipients, mail.encrypted) == ("backup@example.com", TO, False)
    head = mail.message
    assert (head["From"], head["To"]) == (SENDER, "ops@example.com, db@example.com")
    assert mail.subject == "backup FAILED: ünïcode"
    assert (head["Message-ID"], head["Auto-Submitted"]) == ("<17.abc@example.com>", "auto-generated")
    assert head["Date"] == "Fri, 09 Jan 2026 02:00:00 +0000"
    assert (mail.part("plain"), mail.part("html")) == ("grüße\n", "<p>grüße\n</p>\n")
    assert mail.raw.isascii()


async def test_one_connection_takes_several_messages(peer: MailPeer) -> None:
    async with server(peer.port).session() as session:
        for _ in range(3):
            await session.send("backup@example.com", TO, message())
    assert len(peer.mails) == 3
    assert peer.commands.count("EHLO") == 1


def test_a_subject_is_one_line_whatever_a_database_is_called() -> None:
    mail = compose(Envelope(SENDER, TO, "a\r\nBcc: x@y\x07" + "b" * 900, "1", AT), Rendered("h", "p"))
    assert "Bcc" not in mail.keys()  # noqa: SIM118 - headers, not a dict
    assert len(one_line("b" * 900)) == 200


async def test_starttls_login_and_a_certificate_that_holds(stack: ExitStack, certificates: Certificates) -> None:
    peer = stack.enter_context(MailPeer(Manners(tls=speaking_tls(certificates), password=PASSWORD)))
    keys: dict[str, Any] = {
        "use_tls": True,
        "ca_cert": str(certificates.ca_cert),
        "username": "mailer",
        "password": PASSWORD,
    }
    await send(server(peer.port, **keys))
    assert [mail.encrypted for mail in peer.mails] == [True]
    assert peer.logins[-1] == ("mailer", PASSWORD)


async def test_tls_from_the_start_on_its_port(
    stack: ExitStack, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = stack.enter_context(MailPeer(Manners(tls=speaking_tls(certificates), implicit=True, password=PASSWORD)))
    monkeypatch.setattr(mail_send, "IMPLICIT_TLS_PORT", peer.port)
    keys: dict[str, Any] = {
        "use_tls": True,
        "ca_cert": str(certificates.ca_cert),
        "username": "mailer",
        "password": PASSWORD,
    }
    await send(server(peer.port, **keys))
    assert len(peer.mails) == 1
    error = await refusal(server(peer.port, use_tls=True))
    assert (error.code, error.retryable) == ("mail_tls", True)
    assert len(peer.mails) == 1


async def test_nothing_is_sent_in_plain_where_tls_is_demanded(peer: MailPeer) -> None:
    error = await refusal(server(peer.port, use_tls=True, username="mailer", password=PASSWORD))
    assert (error.code, error.retryable) == ("mail_tls", True)
    assert "does not offer STARTTLS" in error.message
    assert set(peer.commands) == {"EHLO"}


@pytest.mark.parametrize("wrong", ["authority", "name", "system"])
async def test_nothing_is_sent_to_somebody_else(
    stack: ExitStack, certificates: Certificates, strangers: Certificates, wrong: str
) -> None:
    shown = strangers if wrong == "authority" else certificates
    context = speaking_tls(shown)
    if wrong == "name":
        # A client's certificate of the right authority: trusted, and of another name.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.client_cert, certificates.client_key)
    peer = stack.enter_context(MailPeer(Manners(tls=context, password=PASSWORD)))
    keys: dict[str, Any] = {"use_tls": True, "username": "mailer", "password": PASSWORD}
    if wrong != "system":
        keys["ca_cert"] = str(certificates.ca_cert)
    error = await refusal(server(peer.port, **keys))
    assert (error.code, error.retryable) == ("mail_tls", True)
    assert set(peer.commands) == {"EHLO"}
    assert peer.logins == []


async def test_a_login_that_is_refused_shows_no_password(stack: ExitStack, certificates: Certificates) -> None:
    peer = stack.enter_context(MailPeer(Manners(tls=speaking_tls(certificates), password="another")))
    keys: dict[str, Any] = {
        "use_tls": True,
        "ca_cert": str(certificates.ca_cert),
        "username": "mailer",
        "password": PASSWORD,
    }
    error = await refusal(server(peer.port, **keys))
    assert (error.code, error.retryable) == ("mail_login", True)
    assert PASSWORD not in str(error.to_json())
    assert "MAIL" not in peer.commands


async def test_a_server_without_logins_says_so(peer: MailPeer) -> None:
    error = await refusal(server(peer.port, username="mailer", password=PASSWORD))
    assert error.code == "mail_login"
    assert "MAIL" not in peer.commands


@pytest.mark.parametrize(
    ("command", "line", "again"),
    [
        ("MAIL", "451 later", True),
        ("MAIL", "550 not you", True),
        ("DATA", "452 full", True),
        ("DATA", "554 spam", False),
    ],
)
async def test_a_refused_message(peer: MailPeer, command: str, line: str, again: bool) -> None:
    peer.manners.answers[command] = lambda _: line
    error = await refusal(server(peer.port))
    assert (error.code, error.retryable) == ("mail_refused", again)
    assert line in error.message
    assert peer.mails == []


@pytest.mark.parametrize(("line", "again"), [("450 busy", True), ("550 unknown", False)])
async def test_refused_recipients_do_not_keep_it_from_the_others(peer: MailPeer, line: str, again: bool) -> None:
    peer.manners.answers["RCPT"] = lambda address: line if address.startswith("db@") else None
    receipt = await send(server(peer.port))
    assert {name: error.retryable for name, error in receipt.refused.items()} == {"db@example.com": again}
    assert line in receipt.refused["db@example.com"].message
    assert peer.mails[0].recipients == ["ops@example.com"]
    receipt = await send(server(peer.port), ["db@example.com"])
    assert (receipt.answer, list(receipt.refused)) == ("", ["db@example.com"])


async def test_a_connection_that_breaks_off_amid_the_message(peer: MailPeer) -> None:
    peer.manners.drops_in_data = True
    error = await refusal(server(peer.port))
    assert (error.code, error.retryable) == ("mail_unreachable", True)
    assert peer.commands[-1] == "DATA"


async def test_a_server_that_never_answers(peer: MailPeer) -> None:
    peer.manners.is_slow = True
    error = await refusal(server(peer.port, timeout=0.2))
    assert (error.code, error.retryable) == ("mail_unreachable", True)


async def test_a_server_that_drips_is_left_as_well() -> None:
    """Each byte comes in time and the answer never does."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"220-not yet\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        error = await refusal(server(port, timeout=0.3))
    assert error.code == "mail_unreachable"


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = await refusal(server(free.getsockname()[1]))
    assert (error.code, error.retryable) == ("mail_unreachable", True)


async def test_an_authority_that_is_not_there(peer: MailPeer) -> None:
    error = await refusal(server(peer.port, use_tls=True, ca_cert="/nowhere/ca.pem"))
    assert error.code == "mail_tls"
    assert peer.commands == []
