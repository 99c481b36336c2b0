"""Measuring on a machine that is never quite quiet: rounds in rotated order, medians, ratios within one run."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run: wall seconds, bytes written (0: nothing kept), CPU seconds of the daemon where it is one of ours."""

    seconds: float
    size: int = 0
    cpu: float = 0.0


@dataclass(slots=True)
class Series:
    """All runs of one contender."""

    runs: list[Run] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def spread(self) -> str:
        """Fastest and slowest."""
        return f"{min(run.seconds for run in self.runs):.1f}-{max(run.seconds for run in self.runs):.1f}"

    @property
    def size(self) -> int:
        """Bytes written by the last run."""
        return self.runs[-1].size

    @property
    def cpu(self) -> float:
        """The median of the daemon's CPU seconds."""
        return statistics.median(run.cpu for run in self.runs)


Contender = Callable[[], Awaitable[Run]]


async def compare(contenders: Mapping[str, Contender], rounds: int, *, warm: bool = True) -> dict[str, Series]:
    """Run every contender ``rounds`` times. Each round begins with another one; an unmeasured run warms the caches.

    ``warm`` False: without that run, where one is as long as everything else.
    """
    names = list(contenders)
    series = {name: Series() for name in names}
    if warm:
        await contenders[names[0]]()
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            series[name].runs.append(await contenders[name]())
    return series


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its threads so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int, key: str = "VmRSS") -> float:
    """Resident memory in MB (of a million bytes); ``VmHWM`` for the most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / MEGABYTE
    raise ValueError(key)


def machine() -> str:
    """What this was measured on, and how busy it was."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    when = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {when}; load average before: {load:.1f}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
