"""The threads that compress and inflate: one pool for the whole process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor


def new_pool(workers: int | None = None) -> ThreadPoolExecutor:
    """A pool of ``workers`` threads; by default as many as this process may use cores."""
    return ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)), thread_name_prefix="codec")
