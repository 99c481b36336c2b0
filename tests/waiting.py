"""Waiting for what becomes true by itself: a process that starts, an event in a log, a child that dies.

Machines that run tests are busy. Where a time is not the point of a test, ``PATIENCE`` is the deadline: much longer
than anything takes, so that only what never happens fails. Where it is the point, the time counts as passed only when
we ourselves were given our turns meanwhile: a machine that let us wait let the others wait too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120.0
"""Seconds after which something that has no deadline of its own counts as never happening."""
_PAUSE = 0.01
_FAIR_SHARE = 0.25
"""Of the turns that an idle machine would have given us; with less, the deadline moves."""

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = PATIENCE, otherwise: str = "it did not happen") -> T:
    """Look again and again until the condition gives something true, and return that."""
    deadline, turns = time.monotonic() + seconds, 0
    while not (value := condition()):
        turns += 1
        if time.monotonic() > deadline and turns > min(100, seconds / _PAUSE * _FAIR_SHARE):
            raise AssertionError(f"{otherwise}, within {seconds:g} s")
        time.sleep(_PAUSE)
    return value


async def soon(condition: Callable[[], T], otherwise: str = "it did not happen") -> T:
    """The same among coroutines, within ``PATIENCE``."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{otherwise}, within {PATIENCE:g} s")
        await asyncio.sleep(_PAUSE)
    return value
