"""Every backup is read again within some days: one at a time, the least recently read one first, evenly spread.

A reading is an operation like any other, submitted only while nothing else runs or waits for the instance. The catalog
knows when each file was read and when the last turn was; so a restart neither forgets a turn nor takes one more.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog

from vya_backupd.catalog.figures import LeastRead
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.errors import NotFoundError, VyaError
from vya_backupd.model.operation import Operation, OperationKind, is_final
from vya_backupd.operations.site import Site
from vya_backupd.policy import reverify

MARK = "reverify.last"
"""The catalog's mark: when the last turn was."""

LOOK_SECONDS = 30.0
"""How often it is looked whether it is time: a longer timer would not see that the machine slept."""

_CANDIDATES = 1000
_BACKOFF = timedelta(days=1)
"""After a file that did not pass its reading, until it is read again; others come first meanwhile."""

_log = structlog.get_logger("vya.reverify")


class Reverification:
    """A part of the daemon. The clock is the site's."""

    name = "reverify"

    def __init__(self, site: Site, queue: OperationQueue) -> None:
        self._site = site
        self._queue = queue
        self._running: str | None = None
        self._tried: dict[str, datetime] = {}

    async def run(self) -> None:
        """See ``Part``."""
        while True:
            try:
                await self.look()
            except VyaError as error:
                _log.warning("reverify.not_queued", code=error.code, reason=error.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def settle(self) -> None:
        """See ``Part``. What is due now is due at the next start."""

    async def look(self) -> Operation | None:
        """Submit the reading whose turn it is; None when it is nobody's turn, or the instance is busy."""
        site, now = self._site, self._site.now()
        if not site.config.backup.reverify_days or await self._is_reading():
            return None
        candidates = await site.catalog.figures.least_verified(now, _CANDIDATES)
        if not await self._is_time(candidates, now):
            return None
        chosen = self._choose(candidates, now)
        if chosen is None:
            return None
        operation = await self._queue.submit(OperationKind.VERIFY, {"backup_id": chosen.id}, "daemon")
        self._running = operation.id
        self._tried[chosen.id] = now
        await site.catalog.marks.set(MARK, now.isoformat())
        return operation

    async def _is_reading(self) -> bool:
        if self._running is not None:
            try:
                ended = is_final((await self._queue.operation(self._running)).state)
            except NotFoundError:
                ended = True  # the catalog was lost, and with it what it knew of operations
            if ended:
                self._running = None
        return self._running is not None

    async def _is_time(self, candidates: list[LeastRead], now: datetime) -> bool:
        within = timedelta(days=self._site.config.backup.reverify_days)
        count = await self._site.catalog.backups.count()
        wait = reverify.pace([each.read_at for each in candidates], count, within, now)
        if wait is None:
            return False
        said = await self._site.catalog.marks.get(MARK)
        if said is None:
            await self._site.catalog.marks.set(MARK, now.isoformat())
            return not wait
        last = datetime.fromisoformat(said)
        # A last turn that lies ahead was written under a wrong clock, and holds nobody up.
        return last > now or now - last >= wait

    def _choose(self, candidates: list[LeastRead], now: datetime) -> LeastRead | None:
        """The first whose instance is at rest and that was not tried lately."""
        self._tried = {name: at for name, at in self._tried.items() if now - at < _BACKOFF}
        active = [*self._queue.running, *self._queue.waiting]
        if any(_concerns_all(each) for each in active):
            return None
        busy = {instance for each in active for instance in _instances(each)}
        return next((each for each in candidates if each.instance not in busy and each.id not in self._tried), None)


def _instances(operation: Operation) -> set[str]:
    request = operation.request
    named = {request.get(key) for key in ("instance", "target_instance")} | set(request.get("instances") or ())
    return {str(name) for name in named if name} | {step.instance for step in operation.steps}


def _concerns_all(operation: Operation) -> bool:
    """Whether nobody can say yet whom it works for."""
    return not _instances(operation)
