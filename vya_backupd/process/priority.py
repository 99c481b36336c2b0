"""How much of cores and disks the children may take, told to the kernel for a whole process group.

Niceness is on top of our own, and only ever given away: without a privilege the kernel lets nobody take it back from a
child that runs. Such a child keeps what it has; those that follow get what is wanted.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

_HIGHEST_NICE = 19
_WHO_GROUP = 2
_CLASS_BEST_EFFORT, _CLASS_IDLE = 2, 3
_CLASS_SHIFT = 13
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
"""Numbers of the system call, for which the C library has no function."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Priority:
    """``nice``: 0-19 above the daemon's own. ``io``: ``idle``, or best effort from ``0`` to ``7``; None as the daemon."""

    nice: int = 0
    io: str | None = None

    def apply(self, group: int) -> bool:
        """Give it to every process of a group. False where the kernel refused some of it.

        Raises:
            ProcessLookupError: the group is gone.
        """
        wanted = min(_HIGHEST_NICE, os.getpriority(os.PRIO_PROCESS, os.getpid()) + self.nice)
        # A group that has it already is left alone: most installations never touch it.
        done = os.getpriority(os.PRIO_PGRP, group) == wanted or _renice(group, wanted)
        return _io_priority(group, self.io) and done


def _renice(group: int, nice: int) -> bool:
    try:
        os.setpriority(os.PRIO_PGRP, group, nice)
    except PermissionError:
        return False
    return True


def _io_priority(group: int, wanted: str | None) -> bool:
    """0 is what a process has that never asked for a priority: then its niceness decides."""
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is None:
        return wanted is None
    value = 0
    if wanted is not None:
        value = (
            (_CLASS_IDLE << _CLASS_SHIFT) if wanted == "idle" else (_CLASS_BEST_EFFORT << _CLASS_SHIFT) | int(wanted)
        )
    return bool(_libc.syscall(number, _WHO_GROUP, group, value) == 0)
