"""The line in which the databases of one backup operation stand.

A database that is dumped keeps the tool and the server busy, and the rest of its way does not: it is looked at before,
and published after. So the next one is looked at while this one is dumped, and this one is published while the next is
dumped. The order stays, and no more databases than workers are dumped at once; only the waiting goes, which is most of
the time that a tiny database takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

_AHEAD = 2
"""Databases that are looked at or published beside those that are dumped."""


class Line:
    """``workers`` databases dumped at once, in the order in which they were looked at.

    ``flight`` is held by a database from beginning to end, ``looking`` while it is looked at.
    """

    def __init__(self, workers: int) -> None:
        self.flight = asyncio.Semaphore(workers + _AHEAD)
        self.looking = asyncio.Semaphore(workers)
        self._dumping = asyncio.Semaphore(workers)

    @asynccontextmanager
    async def turn(self, dumps: asyncio.Semaphore, begin: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """One database's turn to be dumped. ``dumps`` is the bound over all operations.

        ``begin`` tells that the turn has come, while the turn goes on; its failure is the block's, unless the block had
        failed before.
        """
        async with self._dumping, dumps:
            telling = asyncio.ensure_future(begin())
            try:
                yield
            except BaseException:
                with suppress(Exception):
                    await telling
                raise
            await telling
