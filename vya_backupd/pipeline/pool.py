"""The threads that compress and inflate: one pool for the whole process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from vya_backupd.pipeline.slots import Slots

_WAITING = 4
"""Segments that dumps may have in flight beyond two for each thread: those that the disk and the pipes make wait."""


class CodecPool(ThreadPoolExecutor):
    """The threads, and the ``slots`` for what they work on."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, thread_name_prefix="codec")
        self.slots = Slots(2 * workers + _WAITING)


def new_pool(workers: int | None = None) -> CodecPool:
    """A pool of ``workers`` threads; by default as many as this process may use cores."""
    return CodecPool(workers or len(os.sched_getaffinity(0)))
