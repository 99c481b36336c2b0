"""Telling somebody now, past the outbox, to see what the other side says."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

from vya_backupd.config.secret_ref import site_of
from vya_backupd.errors import NoticeError, UsageError, VyaError
from vya_backupd.model.operation import State
from vya_backupd.observe.mail_message import bare
from vya_backupd.observe.mail_text import Stationery
from vya_backupd.observe.notify_carrier import Means
from vya_backupd.observe.notify_facts import site_record
from vya_backupd.observe.notify_http import Call, HttpCarrier, new_session
from vya_backupd.observe.notify_mail import MailCarrier
from vya_backupd.observe.notify_rules import EMAIL, PING, WEBHOOK, names_instance, recipients

CHANNELS = (EMAIL, WEBHOOK, PING)
TOPIC = "notification.test"
_ABSENT = {
    EMAIL: "mails are not switched on",
    WEBHOOK: "no webhook is configured",
    PING: "no ping.success_url is configured, and a test calls no other",
}

Record = dict[str, Any]


class Trial:
    """One try of everything that is configured, or of one channel. ``instances`` are whom a ping may speak for."""

    def __init__(self, means: Means, instances: Sequence[str]) -> None:
        self._means = means
        self._instances = instances
        self._mail = MailCarrier(means)
        self._http = HttpCarrier(means)

    async def run(self, channel: str | None, recipient: str | None, actor: str) -> list[Record]:
        """Try, and say of each address what came of it: ``channel, target, ok, answer, error``.

        Raises:
            UsageError: nothing of the kind is configured.
        """
        config = self._means.config().notifications
        chosen = [channel] if channel else [EMAIL] if recipient else list(CHANNELS)
        found: list[Record] = []
        if EMAIL in chosen and config.email.enabled:
            to = (
                [recipient]
                if recipient
                else list(recipients("error", config.email) + recipients("success", config.email))
            )
            found += [each async for each in self._try_mail(list(dict.fromkeys(to)), actor)]
        if WEBHOOK in chosen:
            found += [await self._try_hook(number) for number in range(len(config.webhooks))]
        if PING in chosen and config.ping.success_url is not None:
            places = self._instances if names_instance(config.ping.success_url) else [None]
            found += [await self._try_ping(place) for place in places]
        if not found:
            text = _ABSENT[chosen[0]] if len(chosen) == 1 else "neither mails nor webhooks nor pings are configured"
            raise UsageError(text, hint="See section notifications of the configuration.")
        return found

    async def _try_mail(self, to: Sequence[str], actor: str) -> AsyncIterator[Record]:
        """One message to each, over one connection: so each gets an answer of its own."""
        config = self._means.config()
        facts = self._mail.facts() | {
            "actor": actor,
            "subject": f"[{config.application.hostname}] test of notifications",
        }
        done: set[str] = set()
        try:
            stationery = await asyncio.to_thread(
                Stationery, config.notifications.email.templates, config.scheduling.timezone
            )
            async with self._mail.server().session() as session:
                for each in to:
                    ids = f"test.{secrets.token_hex(8)}"
                    message = await asyncio.to_thread(self._mail.message, stationery, "test", facts, [each], ids)
                    receipt = await session.send(bare(config.notifications.email.from_address or ""), [each], message)
                    done.add(each)
                    yield _result(EMAIL, each, receipt.answer, receipt.refused.get(each))
        except VyaError as error:
            for each in to:
                if each not in done:
                    yield _result(EMAIL, each, "", error)

    async def _try_hook(self, number: int) -> Record:
        config = self._means.config()
        hook = config.notifications.webhooks[number]
        payload = {
            "delivery": f"test.{secrets.token_hex(8)}",
            "site": site_record(config.application),
            "event": {"name": TOPIC, "at": self._means.now().isoformat()},
        }
        try:
            call = await asyncio.to_thread(self._http.hook, hook, TOPIC, payload)
        except VyaError as error:
            return _result(WEBHOOK, f"webhooks[{number}]", "", error)
        return await self._make(WEBHOOK, call)

    async def _try_ping(self, instance: str | None) -> Record:
        try:
            call = await asyncio.to_thread(self._http.ping, State.SUCCEEDED, instance)
        except VyaError as error:
            return _result(PING, "ping.success_url", "", error)
        if call is None:
            return _result(PING, "ping.success_url", "", NoticeError("it is gone", code="webhook_failed"))
        return await self._make(PING, call)

    async def _make(self, channel: str, call: Call) -> Record:
        timeout = self._means.config().notifications.timeout.total_seconds()
        async with new_session(timeout) as session:
            try:
                answer = await self._http.make(session, call)
            except VyaError as error:
                return _result(channel, site_of(call.url), "", error)
        return _result(channel, site_of(call.url), answer, None)


def _result(channel: str, target: str, answer: str, error: VyaError | None) -> Record:
    return {
        "channel": channel,
        "target": target,
        "ok": error is None,
        "answer": answer,
        "error": error.to_json() if error else None,
    }
