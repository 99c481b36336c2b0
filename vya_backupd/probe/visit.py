"""A visit to one database: what is asked before, during and after its dump, over one connection where that is possible.

For a tiny database to connect costs as much as everything that is asked. But a connection that nobody uses is in the
way: a database to which somebody is connected cannot be dropped or renamed (PostgreSQL), and servers have only so many.
So it is kept from one question to the next, and given up when nothing was asked for some seconds, as while a long dump
goes on. Whoever asks then connects anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self, TypeVar

from vya_backupd.errors import ServerError, VyaError
from vya_backupd.model.instance import Instance
from vya_backupd.probe.connect import Session, session
from vya_backupd.probe.failures import translated

T = TypeVar("T")

KEPT_SECONDS = 5.0
"""How long a connection is kept while nothing is asked."""


class Visit:
    """Connects at the first question; the end of the context ends the connection. For one task at a time."""

    def __init__(self, instance: Instance, database: str, patience: float | None) -> None:
        self._place = instance, database
        self._patience = patience
        self._session: Session | None = None
        self._held = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def ask(self, what: str, questions: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Ask; once more over a new connection when one that was kept fails: it may have been ended meanwhile.

        Raises:
            ServerError, NotFoundError: as ``connect.session``. The connection is given up then.
        """
        kept = self._session is not None
        try:
            return await self._asked(what, questions)
        except ServerError:
            if not kept:
                raise
        return await self._asked(what, questions)

    async def leave(self) -> None:
        """End the connection, if there is one. That it ends badly is nobody's concern: what was asked is answered."""
        held, self._held, self._session = self._held, AsyncExitStack(), None
        with contextlib.suppress(VyaError):
            await held.aclose()

    @asynccontextmanager
    async def rest(self) -> AsyncIterator[None]:
        """Nothing is asked within the block. When it takes long, the connection is ended meanwhile."""
        leaving = asyncio.ensure_future(self._leave_later())
        try:
            yield
        finally:
            leaving.cancel()
            await asyncio.wait({leaving})

    async def _leave_later(self) -> None:
        await asyncio.sleep(KEPT_SECONDS)
        await self.leave()

    async def _asked(self, what: str, questions: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        try:
            if self._session is None:
                self._session = await self._held.enter_async_context(session(*self._place, what, self._patience))
            with translated(*self._place, what):
                return await self._session.talk(questions)
        except BaseException as error:
            held, self._held, self._session = self._held, AsyncExitStack(), None
            await held.__aexit__(type(error), error, error.__traceback__)
            raise
