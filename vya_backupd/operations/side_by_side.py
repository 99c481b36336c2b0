"""Several questions to servers at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


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
