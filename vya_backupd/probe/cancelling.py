"""Waiting for a driver in such a way that a cancellation reaches us, whatever the driver makes of it.

Drivers wait through ``asyncio.wait_for``. In Python 3.11 it returns its result when that arrives in the same turn of
the event loop as the cancellation, which is then lost: the caller goes on, and whoever cancelled it waits for ever. So
a driver works in a task of its own, and we wait for that with ``asyncio.wait``, which never takes anything back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GRACE_SECONDS = 1.0
"""How long a driver may take to give up before it is told again."""


async def cancellable(work: Coroutine[Any, Any, T], abandon: Callable[[T | None], object]) -> T:
    """The result of a driver's work, or its exception.

    When we are cancelled, so is the work, again and again until it has ended. ``abandon`` is called after each time,
    and takes away what the work stands on; at last with the result, if there came one that nobody wants any more.

    Raises:
        CancelledError: always when the waiting task was cancelled meanwhile.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # the first one is raised below
                await asyncio.wait({task}, timeout=GRACE_SECONDS)
            abandon(None)
        if not task.cancelled() and task.exception() is None:
            abandon(task.result())
        raise
    return task.result()
