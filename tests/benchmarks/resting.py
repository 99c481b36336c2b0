"""Memory of the daemon, at rest and at work, and how long it takes to start."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.control import ask, operate
from tests.benchmarks.data import DATABASE
from tests.benchmarks.measure import resident
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

_REST = 8.0
"""Seconds after which the daemon counts as being at rest."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MB, file pages included."""

    started: float
    most: float
    rested: float


async def memory(servers: list[PrivateServer], root: Path) -> Memory:
    """A new daemon at rest, its most while it backs up the databases of all servers at once, and at rest again."""
    entries = [instance(server, server.spec.label) for server in servers]
    with Product(root, entries, servers=servers, config={"backup": {"workers": len(servers)}}) as product:
        pid = product.process.pid
        await asyncio.sleep(_REST)
        started = resident(pid)
        await asyncio.to_thread(
            operate,
            product.socket_path,
            "backup",
            databases=[DATABASE],
            globals=False,
            parallel=True,
            workers=len(servers),
        )
        most = resident(pid, "VmHWM")
        await asyncio.sleep(_REST)
        return Memory(started, most, resident(pid))


def startup(servers: list[PrivateServer], root: Path, rounds: int) -> float:
    """Median seconds from starting the program to the first answer on the control socket."""
    product = Product(root, [instance(server, server.spec.label) for server in servers], servers=servers)
    product.start().stop()
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        product.start()
        ask(product.socket_path, "GET", "/v1/health")
        seconds.append(time.perf_counter() - begun)
        product.stop()
    return statistics.median(seconds)
