"""Waiting until programs have begun to write into their pipes."""

from __future__ import annotations

import array
import asyncio
import fcntl
import select
import termios
import time
from collections.abc import Sequence

_LOOK_EVERY = 0.002


async def all_filled(fds: Sequence[int], amount: int, seconds: float) -> bool:
    """Wait until in each pipe ``amount`` bytes are to be read, or its writer has gone; False when time is up before."""
    until = time.monotonic() + seconds
    waiting = list(fds)
    while waiting := [fd for fd in waiting if not (_to_read(fd) >= amount or writer_gone(fd))]:
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(_LOOK_EVERY)
    return True


async def begun(fd: int) -> bool:
    """Wait until there is something to be read from a pipe; False when its writer went without a word."""
    readable, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)
    return _to_read(fd) > 0


def writer_gone(fd: int) -> bool:
    """Whether nobody can write into the pipe any more."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _to_read(fd: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]
