"""What is done to the product: an injection is set up before work begins, strikes at its moment, and is taken away.

The runner does, for one fault::

    with injection.around(bench) as strike:      # sets up; may change what the daemon is about to meet
        moment.arm(bench)                         # the daemon will hang at the named point, if there is one
        run = Run(bench, work)                    # the work begins, in a thread
        if moment.comes(run):                     # it hangs at the point; or so much of the work's time has passed
            hit = strike(run)                     # does the deed; whether it hit anything
        bench.arm("")                             # the daemon goes on, if it still can
        run.until_over()
    # here the injection has been taken away; the runner starts what is dead and asks the invariants

To add one, derive from ``Injection`` and put an instance into ``INJECTIONS``, here or in a module that ``drawing`` names.
"""

from __future__ import annotations

import os
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from tests.e2e.killing import Seen
from tests.faults.rig import Bench, paused
from tests.faults.works import WORKS, Run, Work
from tests.waiting import PATIENCE, until
from vya_backupd.faults import POINTS
from vya_backupd.testing import guard

ENGINES = ("postgresql", "mariadb", "mysql")
Strike = Callable[[Run], bool]
"""Does the deed once its moment has come. Returns whether there was anything to do it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection(ABC):
    """One way of doing harm. ``works``: the names of the works that it can meet."""

    name: str
    works: frozenset[str]
    engines: frozenset[str] = frozenset(ENGINES)
    needs: frozenset[str] = frozenset()
    """What the machine must have: ``root``, or names of programs."""
    points: frozenset[str] | None = None
    """The points at which it makes sense; None for all that the work passes; empty for none but random moments."""
    action: str = "hang"
    """What the daemon does at the named point meanwhile: ``fail`` where the point itself fails."""
    weight: float = 1.0
    """How often it is drawn beside others; less than 1 for what takes long."""

    @abstractmethod
    def around(self, bench: Bench) -> AbstractContextManager[Strike]:
        """Set up; at the end take everything away again, so that a revived product can work as ever."""


def possible(injection: Injection, engine: str) -> bool:
    """Whether this machine can do it: ``root`` is a right, everything else a program that must be there."""
    there = {"root"} if os.geteuid() == 0 else set()
    lacking = {need for need in injection.needs - there if need == "root" or shutil.which(need) is None}
    return engine in injection.engines and not lacking


@dataclass(frozen=True, slots=True)
class Moment:
    """When: at the ``turn``-th passing of a point, or when ``share`` of the time is over that the work takes calmly."""

    point: str | None = None
    turn: int = 1
    share: float = 0.0

    def arm(self, bench: Bench, action: str = "hang") -> None:
        """Make the daemon hang, or fail, at the point."""
        bench.arm(f"{self.point}={action}@{self.turn}" if self.point else "")

    def comes(self, run: Run, seconds: float) -> bool:
        """Wait for it; False when the work was over before. ``seconds``: how long the work takes when nothing happens."""
        if self.point is not None:
            until(lambda: self._is_passed(run.bench) or run.is_over, otherwise=f"{run.work.name} hangs elsewhere")
            return self._is_passed(run.bench)
        paused(self.share * seconds)
        return not run.is_over

    def _is_passed(self, bench: Bench) -> bool:
        return bench.hangs_at == self.point or self.point in bench.passed

    def __str__(self) -> str:
        return f"{self.point}@{self.turn}" if self.point else f"after {self.share:.0%} of its time"


# what can be done to processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(Injection):
    """Send a signal to somebody; after a SIGSTOP let them go on after ``seconds``, or when the work is over (None)."""

    number: signal.Signals
    whom: Callable[[Run], list[int]]
    seconds: float | None = 0.0

    @contextmanager
    def around(self, bench: Bench) -> Iterator[Strike]:
        """See ``Injection``."""
        struck: list[int] = []
        try:
            yield lambda run: self._strike(run, struck)
        finally:
            if self.number is signal.SIGSTOP:
                _send(struck, signal.SIGCONT)
        if struck and self.number is not signal.SIGSTOP and self.whom is _daemon:
            until(lambda: not bench.is_up, otherwise="the daemon does not end")

    def _strike(self, run: Run, struck: list[int]) -> bool:
        struck += self.whom(run)
        _send(struck, self.number)
        if self.number is signal.SIGSTOP and self.seconds is not None:
            paused(self.seconds)
            _send(struck, signal.SIGCONT)
        return bool(struck)


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        guard.send(pid, number)


def _daemon(run: Run) -> list[int]:
    return [run.bench.product.process.pid] if run.bench.is_up else []


def _tool(run: Run) -> list[int]:
    """A program that works for the daemon now. Where the point is before its start, the first that is started after it."""
    if not _tools(run):
        run.bench.arm("")
    with suppress(AssertionError):
        until(lambda: _tools(run) or run.is_over, PATIENCE)
    return [each.pid for each in _tools(run)[-1:]]


def _tools(run: Run) -> list[Seen]:
    known = ("dump", "psql", "mysql", "mariadb")
    return [each for each in run.bench.children if any(word in each.command for word in known)]


def _server(run: Run) -> list[int]:
    bench = run.bench
    return sorted(guard.family(str(bench.server.data_dir.resolve()), bench.server.pid)) if bench.server.running else []


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEnds(Injection):
    """The server goes: all its processes at once, or in good order (its own signal)."""

    in_good_order: bool

    @contextmanager
    def around(self, bench: Bench) -> Iterator[Strike]:
        """See ``Injection``."""

        def strike(run: Run) -> bool:
            if not bench.server.running:
                return False
            if self.in_good_order:
                guard.send(bench.server.pid, bench.server.stop_signal)
            else:
                bench.server.kill()
            return True

        yield strike
        if self.in_good_order:
            bench.server.stop()
        bench.server.start()


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFails(Injection):
    """The step at a named point raises an error that nobody expects."""

    @contextmanager
    def around(self, bench: Bench) -> Iterator[Strike]:
        """See ``Injection``."""
        yield lambda _run: True


def _names(wanted: Callable[[Work], bool] = lambda _: True) -> frozenset[str]:
    return frozenset(name for name, work in WORKS.items() if wanted(work))


_BESIDE_TOOLS = frozenset(
    {"backup.probed", "backup.session", "backup.globals", "backup.dumping", "restore.verified", "restore.lending"}
    | {"restore.created", "restore.lane"}
)
"""Points at which a program of the vendor runs, or is about to."""
_ALL = _names()
_WITH_TOOL = _names(lambda work: work.uses_tool)
_WITH_SERVER = _names(lambda work: work.uses_server)

_FAILING = (
    frozenset(POINTS)
    - {"catalog.written", "restore.swap_step", "restore.swapped"}
    - {each for each in POINTS if each.startswith("start.")}
)
"""Points behind which something can fail: between a commit, or a step of an exchange, and its return there is nothing."""

INJECTIONS: list[Injection] = [
    Signal(name="kill the daemon", number=signal.SIGKILL, whom=_daemon, works=_ALL, weight=2.0),
    Signal(name="stop the daemon", number=signal.SIGTERM, whom=_daemon, works=_ALL - {"start"}),
    Signal(name="hold the daemon", number=signal.SIGSTOP, whom=_daemon, works=_ALL, seconds=0.2),
    Signal(name="kill a tool", points=_BESIDE_TOOLS, number=signal.SIGKILL, whom=_tool, works=_WITH_TOOL, weight=2.0),
    Signal(name="end a tool", points=_BESIDE_TOOLS, number=signal.SIGTERM, whom=_tool, works=_WITH_TOOL),
    Signal(name="hold a tool", points=_BESIDE_TOOLS, number=signal.SIGSTOP, whom=_tool, works=_WITH_TOOL, seconds=0.2),
    Signal(
        name="hold a tool for good",
        number=signal.SIGSTOP,
        whom=_tool,
        works=frozenset({"backup"}),
        seconds=None,
        points=frozenset({"backup.dumping"}),
        weight=2.0,
    ),
    Signal(name="hold the server", number=signal.SIGSTOP, whom=_server, works=_WITH_SERVER, seconds=0.2),
    ServerEnds(name="kill the server", in_good_order=False, works=_WITH_SERVER, weight=0.7),
    ServerEnds(name="stop the server", in_good_order=True, works=_WITH_SERVER, weight=0.4),
    PointFails(name="fail", works=_ALL - {"start"}, points=_FAILING, action="fail"),
]
"""What is done to processes and steps."""
