"""Many faults, over several sittings: where faults lack, what the log remembers, and what it all comes to."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.faults.bench import Result, Series, table
from tests.faults.drawing import RANDOM, Cell, Fault, cells, draw, least_hit
from tests.faults.injection import Moment

_TRIES = 3
"""How many faults one hit may cost before a point is given up."""


@dataclass
class Tally:
    """What a log of results amounts to."""

    done: int = 0
    hits: Counter[Cell] = field(default_factory=Counter)
    missed: Counter[Cell] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    injections: Counter[str] = field(default_factory=Counter)
    broken: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, log: Path | None) -> Tally:
        """Of everything in this file; of nothing where there is none."""
        tally = cls()
        if log is not None and log.exists():
            for line in log.read_text().splitlines():
                tally.add(json.loads(line))
        return tally

    def add(self, record: dict[str, Any]) -> None:
        """One line of the log: a fault, or what was wrong at the end of a sitting."""
        if record["broken"]:
            self.broken.append(record)
        if "number" not in record:
            return
        self.done = max(self.done, record["number"] + 1)
        cell = record["engine"], record["moment"]["point"] or RANDOM
        (self.hits if record["hit"] else self.missed)[cell] += 1
        self.states[str(record["state"])] += record["hit"]
        self.injections[record["injection"]] += record["hit"]
        self.seconds += record["seconds"]

    def lacking(self, engines: list[str], wanted: int) -> list[Cell]:
        """The cells that were hit less often than that, and are worth another try."""
        tries = self.hits + self.missed
        return [
            cell
            for cell in dict.fromkeys(cells(engines))
            if cell[1] != RANDOM and self.hits[cell] < wanted and tries[cell] < wanted * _TRIES
        ]

    def __str__(self) -> str:
        named = ", ".join(f"{name} {count}" for name, count in self.injections.most_common())
        ends = ", ".join(f"{name} {count}" for name, count in self.states.most_common())
        return (
            f"{self.done} faults in {self.seconds / 60:.0f} minutes, {self.hits.total()} hits, {len(self.broken)} broken\n"
            f"hits by injection: {named}\nhow the work ended that was hit: {ends}"
        )


def recorded(log: Path, number: int) -> Fault:
    """The fault of this number, as a log has it. StopIteration: it has none."""
    records = (json.loads(line) for line in log.read_text().splitlines())
    record = next(each for each in records if each.get("number") == number)
    facts = {each.name: record[each.name] for each in fields(Fault)}
    return Fault(**facts | {"moment": Moment(**record["moment"])})


@dataclass
class Night:
    """Faults until there are enough of them, or a sitting is over; each has a line in the log.

    ``faults``: how many at least; ``hits``: how often each point of each engine; ``batch``: how many in one sitting.
    """

    series: Series
    seed: int
    engines: list[str]
    faults: int
    hits: int = 0
    batch: int | None = None
    log: Path | None = None

    def run(self) -> int:
        """Go on where the log ends. Returns 1 when something was broken now, 2 when points were hit too rarely, else 0."""
        tally = Tally.of(self.log)
        before, wrong_before, began = tally.done, len(tally.broken), time.monotonic()
        print(f"seed {self.seed}, {self.faults} faults, {before} done before", flush=True)
        while (fault := self._next(tally, before)) is not None:
            result = self.series.run(fault)
            self._note(tally, result.record())
            rate = (time.monotonic() - began) / (tally.done - before)
            print(f"[{tally.done}/{self.faults}, {rate:.1f} s each] {_said(result)}", flush=True)
        if wrong := self.series.conclude():
            print(f"BROKEN at the end: {wrong}", flush=True)
            self._note(tally, {"broken": wrong})
        print(table(tally.hits, self.engines))
        print(tally)
        if len(tally.broken) > wrong_before:
            return 1
        return 2 if any(tally.hits[cell] < self.hits for cell in cells(self.engines) if cell[1] != RANDOM) else 0

    def _next(self, tally: Tally, before: int) -> Fault | None:
        if self.batch is not None and tally.done - before >= self.batch:
            return None
        lacking = tally.lacking(self.engines, self.hits)
        if tally.done >= self.faults and not lacking:
            return None
        among = [cell for cell in cells(self.engines) if not lacking or cell in lacking or cell[1] == RANDOM]
        return draw(self.seed, tally.done, self.engines, least_hit(self.seed, among, tally.hits, tally.missed))

    def _note(self, tally: Tally, record: dict[str, Any]) -> None:
        tally.add(json.loads(json.dumps(record, default=str)))
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(json.dumps(record, default=str) + "\n")


def _said(result: Result) -> str:
    mark = "BROKEN" if result.broken else "hit" if result.hit else "missed"
    return f"{mark} {result.fault} -> {result.state}, {result.seconds:.1f} s"
