"""SMTP: a connection as the configuration demands it, or none at all.

``use_tls`` has three ways: TLS from the start on port 465, STARTTLS everywhere else, and none. A server that does not
offer what is demanded, or whose certificate does not hold, gets nothing: neither password nor message.

aiosmtplib is imported when there is something to send, not before.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from vya_backupd.config.schema_notifications import IMPLICIT_TLS_PORT, Email
from vya_backupd.config.secret_ref import Decrypt
from vya_backupd.errors import NoticeError
from vya_backupd.observe.redaction import redact, register_secret

if TYPE_CHECKING:
    from aiosmtplib import SMTP

_GOODBYE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a server said to a message: its ``answer`` where it took it, and whom it refused, with why."""

    answer: str
    refused: dict[str, NoticeError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server to be. ``our_name`` is how we greet it; every exchange has ``timeout`` seconds."""

    email: Email
    decrypt: Decrypt | None
    timeout: float
    our_name: str

    @asynccontextmanager
    async def session(self) -> AsyncIterator[MailSession]:
        """A connection that is ready to take messages.

        Raises:
            NoticeError: there is none, or not as it is demanded.
            ConfigError: the password is not to be had.
        """
        from aiosmtplib import SMTP

        context = await asyncio.to_thread(self._tls)
        smtp = SMTP(
            hostname=self.email.smtp_host,
            port=self.email.smtp_port,
            local_hostname=self.our_name,
            timeout=self.timeout,
            use_tls=self._implicit,
            start_tls=False,
            tls_context=context,
        )
        try:
            # The library's limit is for each command: a server that drips would hold us for ever.
            with telling(self.where):
                async with asyncio.timeout(4 * self.timeout):
                    await self._open(smtp)
            yield MailSession(smtp, self.where, self.timeout)
            with suppress(Exception):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await smtp.quit()
        finally:
            smtp.close()

    @property
    def where(self) -> str:
        """The server, as messages call it."""
        return f"{self.email.smtp_host}:{self.email.smtp_port}"

    @property
    def _implicit(self) -> bool:
        return self.email.use_tls and self.email.smtp_port == IMPLICIT_TLS_PORT

    def _tls(self) -> ssl.SSLContext | None:
        if not self.email.use_tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.email.ca_cert)
        except OSError as error:
            raise NoticeError(
                f"the authority {self.email.ca_cert} cannot be read: {error}",
                code="mail_tls",
                hint="See notifications.email.ca_cert.",
            ) from error

    async def _open(self, smtp: SMTP) -> None:
        await smtp.connect()
        if self.email.use_tls and not self._implicit:
            await self._start_tls(smtp)
        if self.email.use_tls and smtp.get_transport_info("ssl_object") is None:
            raise _tls_failed(self.where, "the connection is not encrypted")
        if self.email.username is not None and self.email.password is not None:
            password = (await asyncio.to_thread(self.email.password.reveal, self.decrypt)).reveal()
            register_secret(password)
            await self._login(smtp, self.email.username, password)

    async def _start_tls(self, smtp: SMTP) -> None:
        await smtp.ehlo()
        if not smtp.supports_extension("starttls"):
            raise _tls_failed(self.where, "it does not offer STARTTLS")
        try:
            await smtp.starttls()
        except TimeoutError:
            raise
        except Exception as error:
            raise _tls_failed(self.where, _words(error)) from error

    async def _login(self, smtp: SMTP, username: str, password: str) -> None:
        from aiosmtplib import SMTPException, SMTPServerDisconnected, SMTPTimeoutError

        try:
            await smtp.login(username, password)
        except (SMTPTimeoutError, SMTPServerDisconnected):
            raise
        except SMTPException as error:
            raise NoticeError(
                f"the mail server {self.where} refused the login: {_words(error)}",
                code="mail_login",
                hint="See notifications.email.username and password.",
            ) from error


class MailSession:
    """An open connection."""

    def __init__(self, smtp: SMTP, where: str, timeout: float) -> None:
        self._smtp = smtp
        self._where = where
        self._timeout = timeout

    @property
    def is_open(self) -> bool:
        """Whether it can take another message."""
        return self._smtp.is_connected

    async def send(self, sender: str, recipients: Sequence[str], message: EmailMessage) -> Receipt:
        """Hand over a message. A receipt may refuse some recipients: the others have it.

        Raises:
            NoticeError: nobody has it; ``retryable`` says whether trying again makes sense.
        """
        try:
            return await self._send(sender, recipients, message)
        except NoticeError as error:
            if error.code == "mail_unreachable":
                # An answer that came too late must not be taken for that to the next message.
                self._smtp.close()
            raise

    async def _send(self, sender: str, recipients: Sequence[str], message: EmailMessage) -> Receipt:
        from aiosmtplib import SMTPRecipientsRefused

        options = [] if all(each.isascii() for each in (sender, *recipients)) else ["smtputf8"]
        with telling(self._where):
            async with asyncio.timeout(4 * self._timeout):
                try:
                    refused, answer = await self._smtp.sendmail(
                        sender, recipients, message.as_bytes(), mail_options=options
                    )
                except SMTPRecipientsRefused as error:
                    return Receipt("", {each.recipient: self._refusal(each) for each in error.recipients})
        return Receipt(answer, {name: self._refusal(each) for name, each in refused.items()})

    def _refusal(self, answer: Any) -> NoticeError:
        text = f"the mail server {self._where} refused the recipient: {answer.code} {redact(str(answer.message))}"
        return NoticeError(text, retryable=answer.code < 500)


@contextmanager
def telling(where: str) -> Iterator[None]:
    """Turn what the library raises into errors that an operator understands."""
    from aiosmtplib import SMTPDataError, SMTPException, SMTPNotSupported, SMTPResponseException

    try:
        yield
    except NoticeError:
        raise
    except SMTPResponseException as error:
        # A message that is refused for good stays so; a sender or a host may be let in tomorrow.
        final = isinstance(error, SMTPDataError) and error.code >= 500
        raise NoticeError(f"the mail server {where} said no: {_words(error)}", retryable=not final) from error
    except SMTPNotSupported as error:
        raise NoticeError(f"the mail server {where} cannot do it: {_words(error)}", retryable=False) from error
    except (SMTPException, OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            raise _tls_failed(where, _words(error.__cause__ or error)) from error
        raise NoticeError(
            f"the mail server {where} does not answer: {_words(error)}",
            code="mail_unreachable",
            hint="See notifications.email.smtp_host and smtp_port, and whether a firewall stands between.",
        ) from error


def _tls_failed(where: str, why: str) -> NoticeError:
    return NoticeError(
        f"no safe connection to the mail server {where}: {why}",
        code="mail_tls",
        hint="Nothing was sent. See notifications.email.use_tls and ca_cert.",
    )


def _words(error: BaseException) -> str:
    """What an error says, on one line and without secrets."""
    code = getattr(error, "code", None)
    text = str(getattr(error, "message", None) or error) or type(error).__name__
    return redact(" ".join((f"{code} {text}" if isinstance(code, int) else text).split()))[:500]
