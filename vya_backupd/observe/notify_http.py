"""Webhooks and pings: the one place of this room that speaks HTTP.

A webhook is a POST of JSON. Its signature is HMAC-SHA256 over ``TIMESTAMP.BODY``, so that an old request cannot be
played again as a new one. Redirects are not followed: they would carry the body to whom nobody named.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vya_backupd import __version__
from vya_backupd.catalog.outbox import WaitingLetter
from vya_backupd.config.schema_notifications import Webhook
from vya_backupd.config.secret_ref import SecretRef, site_of
from vya_backupd.config.secrets_in import secret_parts
from vya_backupd.errors import NoticeError, VyaError
from vya_backupd.model.operation import State
from vya_backupd.observe.notify_carrier import Means, Told
from vya_backupd.observe.notify_rules import INSTANCE, PING, WEBHOOK, fingerprint
from vya_backupd.observe.redaction import redact, register_secret

if TYPE_CHECKING:
    from aiohttp import ClientSession

PING_LIFE = timedelta(hours=6)
"""A ping that could not be made for so long would tell of a backup that is no news any more."""
_MOST_ANSWER = 300
_FINAL = {410}
"""Answers after which nobody asks again: gone, and meant so."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to make. ``body`` None is a GET."""

    url: str
    headers: dict[str, str]
    body: bytes | None = None


class HttpCarrier:
    """Carries webhooks and pings."""

    name = "http"
    channels = (WEBHOOK, PING)

    def __init__(self, means: Means) -> None:
        self._means = means

    async def carry(self, letters: Sequence[WaitingLetter]) -> AsyncGenerator[Told, None]:
        """See ``Carrier``. After a failure the other letters to the same address are not tried in this round."""
        newest = _newest_pings(letters)
        down: dict[str, VyaError] = {}
        async with self._session() as session:
            for each in letters:
                target = str(each.letter.body["target"])
                if each.letter.channel == PING and newest[_place(each)] != each.id:
                    yield Told([each], unwanted="a later one says what is true now")
                elif target in down:
                    yield Told([each], error=down[target])
                else:
                    told = await self._carry_one(session, each)
                    if told.error is not None:
                        down[target] = told.error
                    yield told

    async def _carry_one(self, session: ClientSession, waiting: WaitingLetter) -> Told:
        try:
            call = await asyncio.to_thread(self.prepare, waiting)
            if call is None:
                return Told([waiting], unwanted="the configuration names this address no more")
            answer = await self.make(session, call)
        except VyaError as error:
            return Told([waiting], error=error)
        return Told([waiting], answer=answer)

    def prepare(self, waiting: WaitingLetter) -> Call | None:
        """The request that a letter asks for; None when its address is configured no more. Raises ConfigError."""
        letter = waiting.letter
        if letter.channel == PING:
            return self.ping(letter.topic, letter.body.get("instance"), target=letter.body["target"])
        for hook in self._means.config().notifications.webhooks:
            if fingerprint(hook.url) == letter.body["target"]:
                return self.hook(hook, letter.topic, letter.body["payload"])
        return None

    def hook(self, hook: Webhook, topic: str, payload: dict[str, Any]) -> Call:
        """The request of a webhook, signed now. Raises ConfigError when a secret is not to be had."""
        body = json.dumps(payload, ensure_ascii=False, default=str).encode()
        stamp = str(int(self._means.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "X-VYA-Event": topic,
            "X-VYA-Delivery": str(payload["delivery"]),
            "X-VYA-Timestamp": stamp,
        }
        if hook.secret is not None:
            key = hook.secret.reveal(self._means.decrypt()).reveal()
            register_secret(key)
            digest = hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            headers["X-VYA-Signature"] = f"sha256={digest}"
        return Call(self._reveal(hook.url), headers, body)

    def ping(self, state: str, instance: str | None, *, target: str | None = None) -> Call | None:
        """The request of a ping; None when there is no such address (any more, if ``target`` names one)."""
        ping = self._means.config().notifications.ping
        reference = ping.success_url if state == State.SUCCEEDED else ping.failure_url
        if reference is None or (target is not None and fingerprint(reference) != target):
            return None
        return Call(self._reveal(reference).replace(INSTANCE, quote(instance or "", safe="")), {})

    def _reveal(self, reference: SecretRef) -> str:
        url = reference.reveal(self._means.decrypt()).reveal()
        for secret in secret_parts(url):
            register_secret(secret)
        return url

    async def make(self, session: ClientSession, call: Call) -> str:
        """Make a request; returns status and first words of the answer.

        Raises:
            NoticeError: it was not answered with 2xx.
        """
        from aiohttp import ClientError

        where = site_of(call.url)
        method = "GET" if call.body is None else "POST"
        try:
            async with session.request(
                method, call.url, data=call.body, headers=call.headers, allow_redirects=False
            ) as answer:
                text = redact((await answer.content.read(_MOST_ANSWER)).decode("utf-8", "replace"))
        except (ClientError, OSError, ValueError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else redact(str(error))
            raise NoticeError(
                f"{where} was not reached: {reason or type(error).__name__}",
                code="webhook_failed",
                hint="Is it up, and does a firewall let us through?",
            ) from None
        if not 200 <= answer.status < 300:
            raise NoticeError(
                f"{where} answered {answer.status}: {' '.join(text.split())[:200]}",
                code="webhook_failed",
                hint="See the other side's log. A redirect is not followed: give the address that it leads to.",
                retryable=answer.status not in _FINAL,
            )
        return f"{answer.status} {' '.join(text.split())}".strip()

    def _session(self) -> ClientSession:
        return new_session(self._means.config().notifications.timeout.total_seconds())


def overtaken(due: Sequence[WaitingLetter], waiting: Sequence[WaitingLetter]) -> list[WaitingLetter]:
    """The pings of ``waiting`` that are not due and older than one of the same place that is.

    Told after it, they would turn its news round: a success that got stuck would cover the failure that followed.
    """
    newest = _newest_pings(due)
    known = {each.id for each in due}
    return [each for each in waiting if each.id not in known and each.id < newest.get(_place(each), 0)]


def new_session(timeout: float) -> ClientSession:
    """A session whose every request has ``timeout`` seconds; it keeps no cookies."""
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar

    return ClientSession(
        timeout=ClientTimeout(total=timeout),
        cookie_jar=DummyCookieJar(),
        headers={"User-Agent": f"vya-backupd/{__version__}"},
    )


def _newest_pings(letters: Sequence[WaitingLetter]) -> dict[tuple[Any, ...], int]:
    return {_place(each): each.id for each in letters if each.letter.channel == PING}


def _place(waiting: WaitingLetter) -> tuple[Any, ...]:
    """What a ping speaks for: an instance, or the installation. Success and failure of it replace each other."""
    return (waiting.letter.channel, waiting.letter.body.get("instance"))
