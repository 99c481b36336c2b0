"""What a watcher of an operation gets, and how a slow one is kept from filling the memory.

An update is a noun of the model: first the whole ``Operation``, then ``Step`` whenever one moves and ``Progress`` now
and then, at last the ``Operation`` in its final state. Progress that nobody has read yet is replaced by newer progress
of the same step; steps and ends are never dropped. So a watcher that sleeps costs at most one progress and a few moves
for each step.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator

from vya_backupd.model.operation import Operation, Progress, Step

Update = Operation | Step | Progress


class Watch:
    """The mailbox of one watcher; used within the event loop only."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[str, ...], Update] = OrderedDict()
        self._serial = 0
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, update: Update) -> None:
        """Leave an update. Nothing is taken after ``close``."""
        if self._closed:
            return
        if isinstance(update, Progress):
            self._records[("progress", update.instance, update.database)] = update
        else:
            self._serial += 1
            self._records[("", str(self._serial))] = update
        self._wake.set()

    def close(self) -> None:
        """Nothing follows: the reader ends when it has read what is here."""
        self._closed = True
        self._wake.set()

    def __len__(self) -> int:
        return len(self._records)

    async def updates(self) -> AsyncIterator[Update]:
        """The updates in order, until the mailbox is closed and empty."""
        while True:
            while self._records:
                yield self._records.popitem(last=False)[1]
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()
