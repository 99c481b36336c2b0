"""Work that is not left half-way: what is done to files and what is written down of it belong together."""

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
