"""Comings and goings of the daemon, as events: who reads the record sees when nobody was there to write it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import structlog

from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event

_log = structlog.get_logger("vya.presence")


class Presence:
    """A part that writes ``daemon.started`` and ``daemon.stopped``. ``last`` runs after the latter was written."""

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
        """Say that it began, and stay."""
        await self._say("daemon.started")
        await asyncio.Event().wait()

    async def settle(self) -> None:
        """Say that it ends."""
        await self._say("daemon.stopped")
        await self._last()

    async def _say(self, name: str) -> None:
        try:
            await self._record(Event(name, self._now(), data=self._facts))
        except VyaError as error:
            _log.warning("presence.not_recorded", about=name, error=error.message)
