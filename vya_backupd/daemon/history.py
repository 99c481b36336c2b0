"""Forget once a day what was done and what happened longer ago than ``catalog.history.keep_operations``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from vya_backupd.catalog.history import Forgotten
from vya_backupd.daemon.daily import is_due
from vya_backupd.errors import VyaError
from vya_backupd.operations.site import Site

MARK = "history.forgotten"
"""The catalog's mark: when that was last done."""
LOOK_SECONDS = 600.0
"""How often the clock is looked at."""

Reader = Callable[[], int | None]
"""How far an observer has read the events: the number of the last one. None: it reads none."""

_log = structlog.get_logger("vya.history")


class Forgetting:
    """A part of the daemon. The clock is the site's; ``readers`` are asked what they still need."""

    name = "history"

    def __init__(self, site: Site, readers: Sequence[Reader]) -> None:
        self._site = site
        self._readers = readers

    async def run(self) -> None:
        """See ``Part``."""
        while True:
            try:
                await self.look()
            except VyaError as error:
                _log.warning("history.not_forgotten", code=error.code, reason=error.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def settle(self) -> None:
        """See ``Part``. A client that works by itself has no other time for it."""
        with contextlib.suppress(VyaError):
            await self.look()

    async def look(self) -> Forgotten | None:
        """Forget, if a day has passed since the last time. None when it has not, or an observer has not begun to read.

        A catalog that was never asked is left alone for its first day: its clock may be wrong.
        """
        catalog, now = self._site.catalog, self._site.now()
        last = await catalog.marks.get(MARK)
        if last is None:
            await catalog.marks.set(MARK, now.isoformat())
        if last is None or not is_due(now, datetime.fromisoformat(last)):
            return None
        read_to = [at for reader in self._readers if (at := reader()) is not None]
        if 0 in read_to:
            return None
        before = now - timedelta(days=self._site.config.catalog.history.keep_operations)
        forgotten = await catalog.history.forget(before, min(read_to, default=0))
        await catalog.marks.set(MARK, now.isoformat())
        if forgotten != Forgotten():
            _log.info("history.forgotten", operations=forgotten.operations, events=forgotten.events)
        return forgotten
