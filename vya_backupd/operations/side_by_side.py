"""Several things at the same time, none of which outlives the others' end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


async def guarded(work: Coroutine[Any, Any, Result], guard: Coroutine[Any, Any, None]) -> Result:
    """The result of ``work``, while ``guard`` runs beside it; both must end well, and the failure of one ends the other.

    Raises:
        BaseException: what ``guard`` failed with, else ``work``.
    """
    working, guarding = asyncio.ensure_future(work), asyncio.ensure_future(guard)
    both = {working, guarding}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for each in both:
            each.cancel()
        await asyncio.wait(both)
    if not guarding.cancelled():
        guarding.result()
    return working.result()


async def all_of(work: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run them side by side; their results in the same order. None of them runs any more when this ends.

    Raises:
        BaseException: the first failure of the row.
    """
    ended = await asyncio.gather(*work, return_exceptions=True)
    results = []
    for each in ended:
        if isinstance(each, BaseException):
            raise each
        results.append(each)
    return results
