"""Comings, goings and absences of the daemon, as events: who reads the record sees when nobody was there to write it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import structlog

from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event

BEAT_SECONDS = 1.0
"""How often a beat is due by which absences are noticed."""
LATE_SECONDS = 5.0
"""A beat that is so late was kept from coming: the process was stopped, or something held the event loop.

A machine that slept is another matter: the clock that counts the beats sleeps with it (``clock.jumped``).
"""

_log = structlog.get_logger("vya.presence")


class Presence:
    """A part that writes ``daemon.started``, ``daemon.stalled`` and ``daemon.stopped``.

    ``last`` runs after the last one was written.
    """

    name = "presence"

    def __init__(
        self,
        record: Callable[[Event], Awaitable[None]],
        now: Callable[[], datetime],
        facts: dict[str, Any],
        last: Callable[[], Awaitable[None]],
    ) -> None:
        self._record = record
        self._now = now
        self._facts = {**facts, "pid": os.getpid(), "uid": os.getuid()}
        self._last = last

    async def run(self) -> None:
        """Say that it began, and stay; say for how long nothing moved, whenever it was long."""
        await self._say("daemon.started", self._facts)
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            if (late := clock() - due) > LATE_SECONDS:
                await self._say("daemon.stalled", {"seconds": round(late, 1)})

    async def settle(self) -> None:
        """Say that it ends."""
        await self._say("daemon.stopped", self._facts)
        await self._last()

    async def _say(self, name: str, facts: dict[str, Any]) -> None:
        try:
            await self._record(Event(name, self._now(), data=facts))
        except VyaError as error:
            _log.warning("presence.not_recorded", about=name, error=error.message)
