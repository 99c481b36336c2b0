"""Very many backups and very many instances: how long the daemon takes to start, and to answer.

Servers are none of it: the instances point at a port where nobody listens.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.benchmarks.control import ask, operate
from tests.benchmarks.measure import cpu_seconds, resident, table
from tests.benchmarks.stock import Shape, make_files, midnight
from vya_backupd.policy.naming import Naming
from vya_backupd.testing.product import Product

_NAMING = ("{hostname}/{db_id}/{db_name}/{date}", "{db_name}_{datetime}_{type}.sql.gz", "%Y%m%d_%H%M%S")
_AT_REST_SECONDS = 20.0


def scale(root: Path, shape: Shape, rounds: int) -> str:
    """A table: what was done, wall seconds (median), CPU seconds of the daemon."""
    begun = time.perf_counter()
    naming = Naming(*_NAMING, ZoneInfo("UTC"))
    for _ in make_files(root / "backups", naming, shape, midnight()):
        pass
    made = time.perf_counter() - begun
    product = _product(root, shape)
    try:
        rows = [["make the files (not the product's work)", f"{made:.0f}", ""], _first_start(product)]
        rows += [_start(product, rounds, kill=kill) for kill in (False, True)]
        rows += [_timed(product, name, work, rounds) for name, work in _questions(product, shape).items()]
        rows.append(_timed(product, "catalog rebuild", lambda: operate(product.socket_path, "rebuild"), 1))
        rows += _memory(product)
    finally:
        product.stop()
    title = (
        f"{shape.backups:,} backups of {shape.instances * shape.databases:,} databases on {shape.instances:,} instances"
    )
    return f"### {title}\n\n{table(['what', 's', 'CPU s'], rows)}"


def _product(root: Path, shape: Shape) -> Product:
    there = {"type": "postgresql", "host": "127.0.0.1", "port": 1, "username": "nobody", "password": "nothing"}
    entries = [{"id": f"pg-{each:05}", **there, "ssl": {"enabled": False}} for each in range(shape.instances)]
    config = {"scheduling": {"enabled": True, "cron": "0 3 1 1 *"}, "backup": {"reverify_days": 0}}
    return Product(root, entries, config=config)


def _first_start(product: Product) -> list[str]:
    """Without a catalog: all manifests are read before anything is answered."""
    begun = time.perf_counter()
    product.start()
    seconds = time.perf_counter() - begun
    return ["first start: the catalog is made from the store", f"{seconds:.1f}", f"{_cpu(product):.1f}"]


def _start(product: Product, rounds: int, *, kill: bool) -> list[str]:
    seconds, cpu = [], []
    for _ in range(rounds):
        (product.kill if kill else product.stop)()
        begun = time.perf_counter()
        product.start()
        ask(product.socket_path, "GET", "/v1/health")
        seconds.append(time.perf_counter() - begun)
        cpu.append(_cpu(product))
    name = f"start{' after kill -9' if kill else ''}, until the socket answers"
    return [name, f"{statistics.median(seconds):.2f}", f"{statistics.median(cpu):.2f}"]


def _questions(product: Product, shape: Shape) -> dict[str, Callable[[], object]]:
    path = product.socket_path
    place = f"instance=pg-{shape.instances // 2:05}&database=app_000"
    return {
        "`restore --list` of one database": lambda: ask(path, "GET", f"/v1/backups?{place}"),
        "a page of `backups list`": lambda: ask(path, "GET", "/v1/backups"),
        "`retention plan`": lambda: ask(path, "GET", "/v1/retention/plan"),
        "`status`": lambda: ask(path, "GET", "/v1/status"),
        "`schedule list`": lambda: ask(path, "GET", "/v1/schedule"),
        "`/metrics`": lambda: product.get("/metrics"),
        "`vyactl restore --list`, with the start of the client": lambda: product.ok(
            "restore", "--list", "--instance", f"pg-{shape.instances // 2:05}", "--database", "app_000"
        ),
    }


def _timed(product: Product, name: str, work: Callable[[], object], rounds: int) -> list[str]:
    work()
    seconds, before = [], _cpu(product)
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    cpu = (_cpu(product) - before) / rounds
    return [name, f"{statistics.median(seconds):.3f}", f"{cpu:.3f}"]


def _memory(product: Product) -> list[list[str]]:
    pid = product.process.pid
    most = resident(pid, "VmHWM")
    time.sleep(_AT_REST_SECONDS)
    before = _cpu(product)
    time.sleep(_AT_REST_SECONDS)
    idle = (_cpu(product) - before) / _AT_REST_SECONDS
    return [
        ["resident at most, all of the above", f"{most:.0f} MB", ""],
        ["resident at rest", f"{resident(pid):.0f} MB", ""],
        ["CPU of the daemon at rest", "", f"{idle:.1%} of a core"],
    ]


def _cpu(product: Product) -> float:
    return cpu_seconds(product.process.pid)


async def scaled(root: Path, rounds: int, *, small: bool) -> list[str]:
    """Both shapes: many backups of some databases, and many instances. ``small``: a tenth of each."""
    shapes = {"backups": Shape(50, 20, 100), "instances": Shape(2000, 5, 2)}
    if small:
        shapes = {"backups": Shape(50, 20, 10), "instances": Shape(200, 5, 2)}
    return [await asyncio.to_thread(scale, root / name, shape, rounds) for name, shape in shapes.items()]
