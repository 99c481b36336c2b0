"""Apply retention to everything once a day, whether or not anything was backed up.

The catalog remembers when that last went well, so a daemon that was down catches up once, and one that starts often does
not do it each time. A new catalog is left alone for its first day: who has just brought a store to a new machine may
not have brought the configuration that says how much of it is to stay.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog

from vya_backupd.errors import VyaError
from vya_backupd.model.operation import OperationKind
from vya_backupd.operations.judging import last_applied
from vya_backupd.operations.prune import PERIOD
from vya_backupd.operations.site import Site

LOOK_SECONDS = 60.0
"""How often the clock is looked at: a timer for the whole day would not see a suspend, or a clock that is set."""
RETRY = timedelta(hours=1)
"""After a run that failed, or of which nothing is known yet."""
_SKEW = timedelta(minutes=5)
"""A mark so little ahead of the clock was made by a clock that was since corrected."""

_log = structlog.get_logger("vya.retention")


class DailyRetention:
    """A part of the daemon. The clock is the site's."""

    name = "retention"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._asked: datetime | None = None

    async def run(self) -> None:
        """See ``Part``."""
        while True:
            try:
                await self.look()
            except VyaError as error:
                _log.warning("retention.not_queued", code=error.code, reason=error.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def settle(self) -> None:
        """See ``Part``. What is due now is due at the next start."""

    async def look(self) -> bool:
        """Queue a run over everything when one is due. Returns whether it was."""
        now, last = self._site.now(), await last_applied(self._site)
        if self._site.submit is None or last is None or not is_due(now, last):
            return False
        if self._asked is not None and not is_due(now, self._asked, RETRY):
            return False
        self._asked = now
        await self._site.ask(OperationKind.PRUNE, {"instances": None})
        return True


def is_due(now: datetime, last: datetime, period: timedelta = PERIOD) -> bool:
    """Whether a period has passed. A last time that lies ahead was written by a wrong clock: then it is due."""
    return not last - _SKEW <= now < last + period
