"""Ports of private servers: chosen once, and nobody else's until the server is discarded, also while it is stopped.

They lie below the range from which the kernel gives ports to clients and to those who ask for any. Among ourselves, in
whichever process, a port belongs to the one who holds the abstract socket of its name, which no dead process does.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_MANY = 10_000


class ReservedPort:
    """A loopback port that is ours: ``number``. Raises OSError when there is none left."""

    def __init__(self) -> None:
        kernels = int(_RANGE.read_text().split()[0])
        # Where the kernel's own range leaves no room, a port of it is better than none.
        first = max(_LOWEST, kernels - _MANY) if kernels > _LOWEST + 1000 else _LOWEST
        numbers = list(range(first, first + _MANY))
        random.shuffle(numbers)
        for self.number in numbers:
            self._held = _hold(self.number)
            if self._held >= 0:
                return
        raise OSError("no free port")

    def release(self) -> None:
        """Others may have it."""
        if self._held >= 0:
            os.close(self._held)
        self._held = -1


def _hold(number: int) -> int:
    """The descriptor that makes the port ours; -1 when it is somebody else's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name, socket.socket() as probe:
        try:
            name.bind(f"\0vya-backupdb-port-{number}")
            probe.bind(("127.0.0.1", number))
        except OSError:
            return -1
        return os.dup(name.fileno())
