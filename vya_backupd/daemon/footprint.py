"""Memory that a daemon at rest does not need, given back.

Three kinds: garbage; free memory that the C library holds for later; and pages of program code that only the start or
the last operation ran. Those are the files' own pages, shared and never written to: whatever is called again comes back
by itself, from the page cache.

A library that a thread is loading right now lies in memory as a mere copy of its file for a moment, and is written to in
the next: pages taken away then would be lost. So only what has stood unchanged for some seconds is given back.
"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Iterator
from pathlib import Path

_DONTNEED = 4
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1
_LARGEST_BUFFER = 4 << 20
_KEPT = 16 << 20
_SMAPS = Path("/proc/self/smaps")

STANDING_SECONDS = 5.0
"""For how long a mapping must have stood before its pages are given back."""

_standing: dict[str, float] = {}
"""Since when each mapping has been seen as it is, by its line in the kernel's list."""


def share_heaps() -> None:
    """Let all threads share one heap, which keeps what the buffers of a dump need until ``settle``.

    The C library would give each thread a heap of its own, with free memory in every one, of which little comes back
    afterwards; and it would ask the kernel for many a buffer of some megabytes anew, whose pages cost as much as writing
    to them. Threads ask for few but large pieces, so they hardly meet.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BUFFER)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)


def settle() -> None:
    """Give it all back. Takes some milliseconds; never fails, at worst it gives back nothing."""
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, size in _code():
        library.madvise(start, size, _DONTNEED)


def _code() -> Iterator[tuple[int, int]]:
    """Start and size of each mapping of a file that stands, cannot be written to, and of which no page was changed."""
    now, seen = time.monotonic(), dict(_standing)
    _standing.clear()
    for line in _unchanged():
        _standing[line] = seen.get(line, now)
        if now - _standing[line] >= STANDING_SECONDS:
            start, end = (int(part, 16) for part in line.partition(" ")[0].split("-"))
            yield start, end - start


def _unchanged() -> Iterator[str]:
    """The kernel's lines of mappings of files that cannot be written to and have no page of their own."""
    try:
        lines = _SMAPS.read_text().splitlines()
    except OSError:
        return
    mapping: str | None = None
    for line in lines:
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):
            mapping = line if rest.startswith(("r-xp", "r--p")) and "/" in rest else None
        elif first == "Anonymous:" and mapping is not None and rest.split()[0] == "0":
            yield mapping
