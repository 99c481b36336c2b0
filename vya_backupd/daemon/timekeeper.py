"""The part of the daemon that looks at the schedules in time.

Three things wake it: a bell at the start of the next slot (``daemon.scheduler``); an event that may change a decision;
and the clock itself, compared once a second with one that cannot be set. When the two differ by more than some seconds,
the clock was set or the machine slept: that is said, and everything is looked at again. Without any of them, it looks
after half a minute at the latest.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from vya_backupd.daemon.slots import ACTOR, Slots
from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event
from vya_backupd.operations.site import Site

if TYPE_CHECKING:
    from vya_backupd.daemon.scheduler import Bell

LOOK_SECONDS = 30.0
"""The longest time between two looks."""
BEAT_SECONDS = 1.0
"""How often the clocks are compared."""
_BELLS = 8
"""Instances for which the bell is hung: those that come first. Later ones have their turn before their time."""
JUMP_SECONDS = 5.0
"""A difference that is no ordinary correction."""

_log = structlog.get_logger("vya.schedule")


class Timekeeper:
    """See the module's text. Implements ``Part``."""

    name = "scheduler"

    def __init__(self, site: Site, slots: Slots) -> None:
        self._site = site
        self._slots = slots
        self._woken = asyncio.Event()
        self._changed = True
        self._bell: Bell | None = None
        self._behind = timedelta(0)

    async def run(self) -> None:
        """See ``Part``."""
        unsubscribe = self._site.catalog.events.subscribe(self._observe)
        self._behind = self._distance()
        try:
            while True:
                everywhere, self._changed = self._changed, False
                looked = await self._look(everywhere=everywhere)
                # What began while we looked, or while the bell was hung, is no longer the next start: no bell rings for it.
                if not (looked and self._slots.lag_seconds):
                    await self._rest()
        finally:
            unsubscribe()
            if self._bell is not None:
                self._bell.close()

    async def settle(self) -> None:
        """See ``Part``. A slot that is due now is due at the next start."""

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def _observe(self, event: Event) -> None:
        """A scheduled operation ended: its instances may need a next attempt."""
        if event.name == "operation.finished" and event.actor == ACTOR:
            self._slots.nudge(event.data.get("instances", {}))
            self.wake()

    async def _look(self, *, everywhere: bool) -> bool:
        """Look, and hang the bell for what comes next. Whether everything could be looked at."""
        try:
            await self._slots.look(everywhere=everywhere)
        except VyaError as error:
            self._changed = True
            _log.warning("schedule.not_looked_at", code=error.code, reason=error.message)
        await self._hang_bell()
        return not self._changed

    async def _hang_bell(self) -> None:
        instances = self._slots.soonest(_BELLS)
        if self._bell is None:
            if not instances:
                return
            from vya_backupd.daemon.scheduler import Bell

            self._bell = Bell(self._site.config.application.state_dir, self._wait_of, self.wake)
        self._bell.hang(instances)

    def _wait_of(self, instance: str) -> timedelta | None:
        start = self._slots.next_start(instance)
        return None if start is None else start - self._site.now()

    async def _rest(self) -> None:
        """Wait for a reason to look."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LOOK_SECONDS
        while not self._woken.is_set() and loop.time() < until and not self._slots.has_new_settings:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._woken.wait()
            await self._compare_clocks()
        self._woken.clear()

    async def _compare_clocks(self) -> None:
        distance = self._distance()
        jump, self._behind = (distance - self._behind).total_seconds(), distance
        if abs(jump) <= JUMP_SECONDS:
            return
        self._changed = True
        self.wake()
        event = Event("clock.jumped", self._site.now(), data={"seconds": round(jump, 1)})
        try:
            await self._site.catalog.record(event)
        except VyaError as error:
            _log.warning("clock.jumped", seconds=round(jump, 1), not_recorded=error.code)

    def _distance(self) -> timedelta:
        """How far the wall clock is from the one that only runs."""
        return self._site.now() - datetime.fromtimestamp(asyncio.get_running_loop().time(), tz=self._site.now().tzinfo)
