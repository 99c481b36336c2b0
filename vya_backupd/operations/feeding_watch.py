"""Feeding under watch: a client that waits for a server which does nothing for it is not waited for.

A restore may stand still for hours while the server builds an index, so no time limit will do. When nothing was handed
over for the stall timeout, the server is asked whether it works on anything in that database; it does, or nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from vya_backupd.errors import ServerError, ToolError, VyaError
from vya_backupd.operations.feeding import Fed, Feeder, Feeding
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target

T = TypeVar("T")
Tell = Callable[[str, int], None]

_MISSES = 2
"""Looks in a row at which the server did nothing, or did not answer."""


class WatchedFeeder:
    """Another feeder, under watch."""

    def __init__(self, feeder: Feeder) -> None:
        self._feeder = feeder

    async def feed(self, feeding: Feeding) -> Fed:
        """See ``Feeder.feed``. ToolError ``stalled`` when nothing moves any more."""
        watch = FeedWatch(feeding.site, feeding.target, feeding.database, feeding.tell)
        return await watch.over(self._feeder.feed(replace(feeding, tell=watch.tell)))


class FeedWatch:
    """The watch over one database that is fed. ``tell`` takes the place of the one that was given, and is looked at."""

    def __init__(self, site: Site, target: Target, database: str, tell: Tell) -> None:
        self._site = site
        self._target = target
        self._database = database
        self._tell = tell
        self._moved_at = time.monotonic()

    def tell(self, phase: str, raw_bytes: int) -> None:
        """Report progress. Any thread."""
        self._moved_at = time.monotonic()
        self._tell(phase, raw_bytes)

    async def over(self, feeding: Awaitable[T]) -> T:
        """Wait for it.

        Raises:
            ToolError: ``stalled``; it was cancelled then, and is over.
        """
        task = asyncio.ensure_future(feeding)
        misses = 0
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=self._pause())
                if task.done() or self._is_moving:
                    misses = 0
                    continue
                misses = 0 if await self._is_worked_on() else misses + 1
                if misses >= _MISSES and not task.done() and not self._is_moving:
                    raise self._stalled()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    @property
    def _timeout(self) -> float:
        return self._site.config.backup.stall_timeout.total_seconds()

    @property
    def _is_moving(self) -> bool:
        return time.monotonic() - self._moved_at < self._timeout

    def _pause(self) -> float:
        """Seconds until the next look: when the stall timeout is over, then twice within a further one."""
        return max(self._timeout - (time.monotonic() - self._moved_at), self._timeout / _MISSES)

    async def _is_worked_on(self) -> bool:
        try:
            return await self._site.probe.busy_sessions(self._target.instance, self._database) > 0
        except ServerError:
            return False

    def _stalled(self) -> VyaError:
        return ToolError(
            f"nothing of the dump was taken for {time.monotonic() - self._moved_at:.0f} s,"
            " and the server works on nothing in the database",
            code="stalled",
            hint="Look at the server and the network between: was the connection forgotten on the way?",
            retryable=True,
        ).at(*self._target.where)
