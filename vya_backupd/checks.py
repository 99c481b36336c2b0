"""The daemon's look at itself: catalog, store and servers, every half minute and when something failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event
from vya_backupd.operations.site import Site
from vya_backupd.service import DaemonService

CHECK_SECONDS = 30.0
"""How often catalog, store and servers are asked whether they are well."""

_STORAGE_CODES = frozenset({"disk_full", "storage_unwritable", "storage_failed", "storage_layout"})
"""Failures of a step that say something of the whole store."""


class Checks:
    """A part of the daemon. ``serving`` says whether it still serves; ``after`` is called after each round."""

    name = "checks"

    def __init__(
        self, site: Site, service: DaemonService, serving: Callable[[], bool], after: Callable[[], None]
    ) -> None:
        self._site = site
        self._service = service
        self._serving = serving
        self._after = after
        self._wanted = asyncio.Event()
        self.further: list[Callable[[], Awaitable[None]]] = []
        """What else is looked at; it raises what is not as it must be, as a VyaError."""

    async def run(self) -> None:
        """Look, until the daemon stops.

        A driver may swallow the cancellation that ends this task, in the midst of a connection; so it is asked as well
        whether the daemon still serves, or the stop would wait for ever.
        """
        while self._serving():
            await self._check()
            if not self._serving():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()

    async def settle(self) -> None:
        """Nothing waits here."""

    def soon(self) -> None:
        """Look at once."""
        self._wanted.set()

    def observe(self, event: Event) -> None:
        """Look at once where a step fared otherwise than the last check would have it."""
        if event.name == "step.finished":
            failed = event.data.get("error_code") in _STORAGE_CODES
            if failed or self._service.troubles:
                self.soon()

    async def _check(self) -> None:
        troubles = []
        for check in (self._site.catalog.check, self._check_store, *self.further):
            try:
                await check()
            except VyaError as error:
                troubles.append(f"{error.code}: {error.message}")
        self._service.troubles = tuple(dict.fromkeys(troubles))  # a catalog that is full fails more than one of them
        await self._service.refresh()
        self._after()

    async def _check_store(self) -> None:
        await asyncio.to_thread(self._site.store.check)
