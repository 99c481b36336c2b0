"""What a running daemon uses, read from outside: memory, files, threads, children, catalog, and how soon it answers."""

from __future__ import annotations

import http.client
import os
import re
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.testing.product import Product

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. Memory in MB of a million bytes, ``heap`` being what belongs to the process alone; lag in ms."""

    at: float
    rss: float
    heap: float
    descriptors: int
    sockets: int
    threads: int
    children: int
    catalog: float
    operations: int
    events: int
    state: float
    store: int
    partials: int
    lag: float
    scheduler_lag: float
    load: float


def sample(product: Product, at: float) -> Sample:
    """Look at the daemon now; ``at`` is the time of the look, in seconds since the beginning."""
    proc = Path(f"/proc/{product.process.pid}")
    status = dict(re.findall(r"^(\w+):\s+(\d+)", (proc / "status").read_text(), re.MULTILINE))
    links = _links(proc / "fd")
    operations, events = _counted(product.state_dir / "catalog.db")
    lag, metrics = _answered(product)
    late = re.search(r"^vya_scheduler_lag_seconds ([\d.e+-]+)", metrics, re.MULTILINE)
    return Sample(
        at=round(at, 1),
        rss=int(status["VmRSS"]) * 1024 / MEGABYTE,
        heap=int(status["RssAnon"]) * 1024 / MEGABYTE,
        descriptors=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
        threads=int(status["Threads"]),
        children=len(descendants(product.process.pid)),
        catalog=_size(*product.state_dir.glob("catalog.db*")),
        operations=operations,
        events=events,
        state=_size(*(path for path in product.state_dir.rglob("*") if path.is_file())),
        store=sum(1 for _ in product.base_path.rglob("*.metadata.json")),
        partials=sum(path.is_file() and path.suffix != ".probe" for path in product.temp_path.rglob("*")),
        lag=lag,
        scheduler_lag=float(late[1]) if late else 0.0,
        load=os.getloadavg()[0],
    )


def descendants(pid: int) -> list[int]:
    """The living children of a process, their children, and so on."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _links(folder: Path) -> list[str]:
    """What the descriptors lead to; none for anybody but root, whom alone the kernel shows those of the daemon."""
    found = []
    try:
        entries = os.listdir(folder)
    except PermissionError:
        return []
    for entry in entries:
        try:
            found.append(os.readlink(folder / entry))
        except FileNotFoundError:
            continue
    return found


def _size(*files: Path) -> float:
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total / MEGABYTE


def _counted(catalog: Path) -> tuple[int, int]:
    """Rows of operations and of events."""
    connection = sqlite3.connect(f"file:{catalog}?mode=ro", uri=True, timeout=30)
    try:
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("operations", "events")
        ]
        return int(counts[0]), int(counts[1])
    finally:
        connection.close()


def _answered(product: Product) -> tuple[float, str]:
    """How many ms the event loop took to answer a probe that asks for nothing else; and the metrics."""
    port = public_port(product)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        began = time.perf_counter()
        connection.request("GET", "/health/live")
        connection.getresponse().read()
        lag = (time.perf_counter() - began) * 1000
        connection.request("GET", "/metrics")
        return round(lag, 1), connection.getresponse().read().decode()
    finally:
        connection.close()


_ports: dict[int, int] = {}


def public_port(product: Product) -> int:
    """Where the public site of the daemon that runs listens; read from its log once."""
    pid = product.process.pid
    if pid not in _ports:
        _ports[pid] = int(product.events("public.listening")[-1]["port"])
    return _ports[pid]
