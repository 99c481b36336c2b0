"""Notifications on the control socket: tell somebody now, and show what the other side says."""

from __future__ import annotations

from vya_backupd.api.access import Role
from vya_backupd.api.route import Asked, Record, Route
from vya_backupd.errors import UsageError
from vya_backupd.observe.notify_carrier import Means
from vya_backupd.observe.notify_trial import CHANNELS, Trial
from vya_backupd.operations.site import Site


class NotifyPanel:
    """Tries what is configured."""

    def __init__(self, site: Site, means: Means) -> None:
        self._site = site
        self._means = means

    def routes(self) -> list[Route]:
        """See ``Panel``."""
        return [Route("POST", "/v1/notify/test", Role.OPERATOR, self._test)]

    async def _test(self, asked: Asked) -> Record:
        channel, recipient = asked.text("channel"), asked.text("recipient")
        if channel is not None and channel not in CHANNELS:
            raise UsageError(f"'channel' must be one of {', '.join(CHANNELS)}")
        if recipient is not None and (not recipient or set(recipient) & set(" <>,\r\n")):
            raise UsageError("'recipient' must be a bare address, such as ops@example.com")
        instances = [each.id for each in self._site.enabled_instances(None)]
        return {"notifications": await Trial(self._means, instances).run(channel, recipient, asked.actor)}
