"""A bound on what a server's answer may take of our memory: the drivers keep all of it before we see a row.

Nobody can tell how much an answer will be, and the drivers have no limit. So our memory is looked at while they work. It
may grow by other work meanwhile, as by a backup: the bound is far above that, and far above any honest answer.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from vya_backupd.errors import ServerError

T = TypeVar("T")

LARGEST = 1 << 30
"""Bytes by which our memory may grow during one answer."""
_LOOK_SECONDS = 0.1
_STATM = Path("/proc/self/statm")


async def bounded(work: Coroutine[Any, Any, T], cut: Callable[[], None]) -> T:
    """The result of a driver's work. ``cut`` ends the connection that it stands on.

    Raises:
        ServerError: the answer is larger than ``LARGEST``. What ``work`` raises, too.
    """
    task, before = asyncio.ensure_future(work), _resident()
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK_SECONDS))[0]:
            if _resident() - before > LARGEST:
                cut()
                raise ServerError(
                    f"the answer is larger than {LARGEST >> 20} MiB, and was cut off",
                    hint="Is it really such a server that answers there? Look at host and port.",
                )
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


def cut_postgresql(connection: Any) -> None:
    """End a connection of psycopg beneath whoever reads it."""
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as shared:
        shared.shutdown(socket.SHUT_RDWR)


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
