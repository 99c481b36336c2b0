"""Runs faults one after the other: each prepared, begun, struck, cleaned up behind, and then judged by the invariants."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.drawing import CANNOT_HAPPEN, RANDOM, Cell, Fault, injection_named
from tests.faults.injection import Injection, Moment
from tests.faults.invariants import INVARIANTS, RARE, broken
from tests.faults.rig import Bench, opened
from tests.faults.works import WORKS, Run, Work
from vya_backupd.errors import VyaError
from vya_backupd.faults import POINTS
from vya_backupd.testing.servers import PrivateServer

_RARELY = 12
"""Faults of one bench between two looks at the rare invariants."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one fault. ``hit``: the injection found something to harm while the work was under way."""

    fault: Fault
    hit: bool
    state: str | None
    broken: dict[str, str]
    seconds: float

    def record(self) -> dict[str, Any]:
        """Its facts, for a log."""
        rest = {"hit": self.hit, "state": self.state, "broken": self.broken, "seconds": round(self.seconds, 2)}
        return self.fault.record() | rest


def calm_seconds(bench: Bench, work: Work) -> float:
    """How long a work takes when nothing happens: found once, by doing it."""
    known: dict[str, float] = bench.notes.setdefault("calm", {})
    if work.name not in known:
        work.prepare(bench, Random(0))
        bench.arm("")
        run = Run(bench, work)
        run.until_over()
        known[work.name] = time.monotonic() - run.began
        bench.settle()
        work.tidy(bench)
    return known[work.name]


def disturbed(bench: Bench, work: Work, injection: Injection, moment: Moment, random: Random) -> tuple[Run, bool]:
    """Do a work, and this to it. Returns the run, with everything revived and at rest, and whether there was a hit."""
    seconds = 0.0 if moment.point else calm_seconds(bench, work)
    work.prepare(bench, random)
    written = bench.written_to(work.writes) if work.writes else nullcontext()
    with written, injection.around(bench) as strike:
        moment.arm(bench, injection.action)
        run = Run(bench, work)
        hit = moment.comes(run, seconds) and strike(run)
        bench.arm("")
        run.until_over()
    bench.revive()
    if injection.action == "fail":
        work.mend(bench)
    bench.settle()
    return run, hit


def judged(bench: Bench, run: Run) -> dict[str, str]:
    """Every invariant that is broken after a run, its target among them."""
    found = broken(bench, INVARIANTS)
    state = bench.state(run.operation) if run.operation else None
    look = run.work.target
    if look is not None:
        found |= broken(bench, {"target": lambda each: _as_told(look(each), state)})
    return found


def _as_told(is_new: bool, state: str | None) -> None:
    assert is_new or state != "succeeded", "the restore succeeded, and its target is what it was"
    assert not is_new or state != "failed", "the restore failed, and its target is new"


def repeated(bench: Bench, work: Work) -> None:
    """The same work, calmly: now it must succeed.

    Raises:
        AssertionError: it does not.
    """
    work.prepare(bench, Random(1))
    bench.arm("")
    run = Run(bench, work)
    run.until_over()
    if run.operation is not None:
        record = bench.control.finished(run.operation)
        assert record["operation"]["state"] == "succeeded", f"the next {work.name} does not work: {record}"
    assert run.refused is None, f"the next {work.name} was refused: {run.refused}"
    bench.settle()
    work.tidy(bench)


def run_fault(bench: Bench, fault: Fault) -> Result:
    """One fault, from its preparation to the verdict. The bench is ready for the next one if nothing was broken."""
    began = time.monotonic()
    work, state, hit = WORKS[fault.work], None, False
    try:
        run, hit = disturbed(bench, work, injection_named(fault.injection), fault.moment, Random(fault.number))
        found = judged(bench, run)
        state = bench.state(run.operation) if run.operation else None
        if not found:
            work.tidy(bench)
            found = broken(bench, _afterwards(bench, fault, work))
    except (AssertionError, VyaError, OSError, RuntimeError, ValueError, HTTPException) as error:
        found = {"run": f"{type(error).__name__}: {error}"[:2000]}
    return Result(fault, hit, state, found, time.monotonic() - began)


def _afterwards(bench: Bench, fault: Fault, work: Work) -> dict[str, Callable[[Bench], None]]:
    bench.notes["faults"] = count = bench.notes.get("faults", 0) + 1
    asked: dict[str, Callable[[Bench], None]] = {}
    if fault.repeat:
        asked["repeated"] = lambda each: repeated(each, work)
    return asked | (RARE if count % _RARELY == 0 else {})


@dataclass
class Series:
    """Faults on several engines: a bench for each, made when first wanted, made anew when something was broken."""

    servers: Callable[[str], PrivateServer]
    tell: Callable[[str], None] = print
    hits: Counter[Cell] = field(default_factory=Counter)
    results: list[Result] = field(default_factory=list)
    _benches: dict[str, tuple[ExitStack, Bench]] = field(default_factory=dict)

    def run(self, fault: Fault) -> Result:
        """One fault. What is broken is told, with the command that does it again."""
        bench = self._bench(fault.engine)
        result = run_fault(bench, fault)
        self.results.append(result)
        self.hits[fault.cell] += result.hit
        if result.broken:
            self.tell(f"BROKEN {fault}\n  " + "\n  ".join(f"{name}: {text}" for name, text in result.broken.items()))
            self.tell(f"  again: {fault.replay}\n  the daemon's log ends:\n{bench.product.log()[-3000:]}")
            self.close(fault.engine)
        return result

    def close(self, *engines: str) -> None:
        """Close the benches of these engines, or all."""
        for engine in engines or tuple(self._benches):
            self._benches.pop(engine)[0].close()

    def conclude(self) -> dict[str, dict[str, str]]:
        """Ask every bench everything once more, and for all of its backups. What is broken, by engine."""
        found = {}
        for engine, (_, bench) in self._benches.items():
            bench.store = type(bench.store)(bench.product)
            bench.notes.pop("restored", None)
            if wrong := broken(bench, INVARIANTS | RARE):
                found[engine] = wrong
        return found

    def _bench(self, engine: str) -> Bench:
        if engine not in self._benches:
            stack = ExitStack()
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vya-faults-", ignore_cleanup_errors=True))
            self._benches[engine] = stack, stack.enter_context(opened(self.servers(engine), Path(folder)))
        return self._benches[engine][1]


def table(hits: Counter[Cell], engines: Sequence[str]) -> str:
    """Hits by point and engine, as text, and which of them cannot happen."""
    points = [*POINTS, RANDOM]
    lines = [f"{'hit while an operation ran':28}" + "".join(f"{engine:>12}" for engine in engines)]
    for point in points:
        shown = ["-" if (engine, point) in CANNOT_HAPPEN else hits[engine, point] for engine in engines]
        lines.append(f"{point:28}" + "".join(f"{each:>12}" for each in shown))
    lines += [f"- {engine}, {point}: {why}" for (engine, point), why in CANNOT_HAPPEN.items() if engine in engines]
    return "\n".join(lines)
