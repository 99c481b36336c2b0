"""Whether those who are to be told can be reached: looked at before something is to tell, and without telling."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from vya_backupd.config.secret_ref import SecretRef, site_of
from vya_backupd.errors import VyaError
from vya_backupd.model.finding import Finding, Level, broken, doubtful, fine
from vya_backupd.observe.notify_carrier import Means
from vya_backupd.observe.notify_mail import MailCarrier
from vya_backupd.observe.notify_rules import INSTANCE
from vya_backupd.observe.push import PushTerms, knock

Look = Callable[[], Awaitable[Sequence[Finding]]]


class Reach:
    """The ways out of the house, by the configuration in force."""

    def __init__(self, means: Means, push_terms: Callable[[], PushTerms | None]) -> None:
        self._means = means
        self._push_terms = push_terms

    def looks(self) -> list[tuple[str, Look]]:
        """What there is to look at, each with the name of its check."""
        return [("mail", self.mail), ("pushgateway", self.pushgateway), ("webhooks", self.webhooks)]

    async def mail(self) -> Sequence[Finding]:
        """Connect, greet, agree on TLS and log in, as a mail would; and hang up."""
        notifications = self._means.config().notifications
        email = notifications.email
        if not email.enabled:
            if self._addresses():
                return [fine("mail", "mails are off; webhooks or pings tell")]
            text = "nobody is told when a backup fails: mails are off, and there is no webhook and no ping"
            return [doubtful("mail", text, "See notifications in config.yaml, and `vyactl notify test`.")]
        try:
            server = MailCarrier(self._means).server()
            async with server.session():
                pass
        except VyaError as error:
            return [Finding("mail", Level.FAIL, error.message, error.hint)]
        found = [fine("mail", f"the mail server {server.where} is there and lets us in")]
        if not email.error_recipients:
            text = "nobody is mailed when a backup fails"
            found.append(doubtful("mail", text, "Add addresses to notifications.email.error_recipients."))
        return found

    async def pushgateway(self) -> Sequence[Finding]:
        """Ask whether it is ready."""
        terms = self._push_terms()
        if terms is None:
            return []
        trouble = await knock(terms)
        if trouble is None:
            return [fine("pushgateway", f"{terms.gateway} is ready")]
        hint = "See monitoring.prometheus.pushgateway_url. Backups go on without it."
        return [broken("pushgateway", f"{terms.gateway} does not take metrics: {trouble}", hint)]

    async def webhooks(self) -> Sequence[Finding]:
        """Look the hosts up. Nothing is sent: there is no telling what the other side would make of it."""
        found: list[Finding] = []
        for reference in self._addresses():
            found += await self._resolved(reference)
        return found

    def _addresses(self) -> list[SecretRef]:
        notifications = self._means.config().notifications
        pings = (notifications.ping.success_url, notifications.ping.failure_url)
        return [hook.url for hook in notifications.webhooks] + [each for each in pings if each is not None]

    async def _resolved(self, reference: SecretRef) -> Sequence[Finding]:
        try:
            url = (await asyncio.to_thread(reference.reveal, self._means.decrypt())).reveal().replace(INSTANCE, "x")
        except VyaError as error:
            return [Finding("webhooks", Level.FAIL, error.message, error.hint)]
        parts = urlsplit(url)
        try:
            await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or parts.scheme)
        except socket.gaierror as error:
            text = f"the host of {site_of(url)} is not known: {error.strerror}"
            return [broken("webhooks", text, "Is the name right, and does this machine resolve names?")]
        return [fine("webhooks", f"the host of {site_of(url)} is known")]
