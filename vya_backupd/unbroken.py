"""Work that is not left half-way: what is done to files and what is written down of it belong together.

A cancellation is heard at the next ``await``, and there may be one between a deed and its record. Whoever must not be
parted there hands the whole over. It runs as a task of its own, which nobody cancels, and the caller waits for it as often
as it is cancelled itself: one cancellation is seldom the last, since a stop that takes too long cancels again. A thread
that writes is waited for in the same way, or the next one would write beside it.

Two answers to the cancellation that came meanwhile: ``to_its_end`` raises it when the work is over, whatever came of it;
``outlasting`` gives the result, and who goes on from there asks ``heed``. Neither is for work that waits for others, a
server, a person: that would keep a stop waiting with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Wait for it even when we are cancelled; then the cancellation goes on, and the work stands."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # the cancellation is what the caller hears of; this one counts as heard, too
        raise


async def outlasting(work: Coroutine[Any, Any, _T]) -> _T:
    """Its result, even when we are cancelled: the work counts, and whoever goes on from there asks ``heed``."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


def heed() -> None:
    """Hear a cancellation that came while something was ``outlasting`` it. Raises CancelledError."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
