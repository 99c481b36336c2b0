"""Mails: letters become messages, and messages go over one connection for as long as it holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import structlog

from vya_backupd.catalog.outbox import WaitingLetter
from vya_backupd.errors import NoticeError, VyaError
from vya_backupd.observe import mail_message
from vya_backupd.observe.mail_message import Envelope, compose
from vya_backupd.observe.mail_send import MailServer, MailSession, Receipt
from vya_backupd.observe.mail_text import Stationery
from vya_backupd.observe.notify_carrier import Means, Told
from vya_backupd.observe.notify_facts import site_record
from vya_backupd.observe.notify_rules import ALERT, DIGEST, EMAIL

_log = structlog.get_logger("vya.notify")


@dataclass(frozen=True, slots=True)
class Mail:
    """A message on its way, and the letters that it is made of. ``pending`` are those who do not have it yet."""

    letters: Sequence[WaitingLetter]
    message: EmailMessage
    sender: str
    pending: Sequence[str]


class MailCarrier:
    """Carries mails."""

    name = "mail"
    channels = (EMAIL,)

    def __init__(self, means: Means) -> None:
        self._means = means

    async def carry(self, letters: Sequence[WaitingLetter]) -> AsyncGenerator[Told, None]:
        """See ``Carrier``. A lost connection costs the message that it was lost with one attempt, not the others."""
        if not self._means.config().notifications.email.enabled:
            yield Told(letters, unwanted="mails are switched off")
            return
        mails = await asyncio.to_thread(lambda: list(self._write(letters)))
        async with AsyncExitStack() as closing:
            session: MailSession | None = None
            for number, mail in enumerate(mails):
                try:
                    if session is None or not session.is_open:
                        session = await closing.enter_async_context(self.server().session())
                except VyaError as error:
                    for each in mails[number:]:
                        yield Told(each.letters, error=error)
                    return
                yield await _hand_over(session, mail)

    def server(self) -> MailServer:
        """The mail server as it is configured now."""
        config = self._means.config()
        name = config.application.hostname
        ours = name if name.isascii() and name.isprintable() and " " not in name else "localhost"
        timeout = config.notifications.timeout.total_seconds()
        return MailServer(config.notifications.email, self._means.decrypt(), timeout, ours)

    def _write(self, letters: Sequence[WaitingLetter]) -> Iterator[Mail]:
        """One message for each letter; one for all parts of a digest. Off the event loop: it reads templates."""
        config = self._means.config()
        stationery = Stationery(config.notifications.email.templates, config.scheduling.timezone)
        digest = [each for each in letters if each.letter.topic == DIGEST]
        groups = [[each] for each in letters if each.letter.topic != DIGEST]
        for group in [*groups, *([digest] if digest else [])]:
            yield self._mail(stationery, group)

    def _mail(self, stationery: Stationery, group: Sequence[WaitingLetter]) -> Mail:
        first = group[0].letter
        facts = self.facts()
        reports = [each.letter.body["report"] for each in group]
        if first.topic == DIGEST:
            facts |= {"reports": reports, "subject": mail_message.digest_subject(facts["site"], reports)}
        elif first.topic == ALERT:
            facts |= reports[0] | {"subject": mail_message.alert_subject(facts["site"], reports[0]["event"])}
        else:
            facts |= reports[0] | {"subject": mail_message.subject_of(facts["site"], reports[0])}
        # A digest that grew since it was last tried is another message, and has another name.
        ids = str(first.body["message_id"]) + (f".{len(group)}" if len(group) > 1 else "")
        message = self.message(stationery, first.topic, facts, first.body["to"], ids)
        return Mail(group, message, self._sender(), first.body.get("pending") or first.body["to"])

    def facts(self) -> dict[str, Any]:
        """What every mail knows."""
        return {"site": site_record(self._means.config().application), "now": self._means.now().isoformat()}

    def message(
        self, stationery: Stationery, role: str, facts: dict[str, Any], to: Sequence[str], message_id: str
    ) -> EmailMessage:
        """A message from a template; says in the log what was wrong with the operator's own."""
        rendered = stationery.render(role, facts)
        for mistake in rendered.mistakes:
            _log.warning("notification.template_refused", code=mistake.code, reason=mistake.message)
        sender = self._means.config().notifications.email.from_address or ""
        return compose(Envelope(sender, to, facts["subject"], message_id, self._means.now()), rendered)

    def _sender(self) -> str:
        return mail_message.bare(self._means.config().notifications.email.from_address or "")


async def _hand_over(session: MailSession, mail: Mail) -> Told:
    try:
        receipt = await session.send(mail.sender, mail.pending, mail.message)
    except NoticeError as error:
        return Told(mail.letters, error=error)
    return _told(mail, receipt)


def _told(mail: Mail, receipt: Receipt) -> Told:
    """Who has it, who never will, and who may yet: those are tried again, and nobody else is."""
    later = {name: error for name, error in receipt.refused.items() if error.retryable}
    lost: dict[str, VyaError] = {name: error for name, error in receipt.refused.items() if not error.retryable}
    if later:
        return Told(mail.letters, error=next(iter(later.values())), lost=lost, left={"pending": list(later)})
    nobody = len(lost) == len(mail.pending)
    return Told(mail.letters, error=next(iter(lost.values())) if nobody else None, answer=receipt.answer, lost=lost)
