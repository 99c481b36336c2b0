"""Which fault comes next: drawn by seed and number alone, so that every one of them can be had again.

A *cell* is an engine with a named point, or with ``RANDOM`` for a moment that no point names. The cells are gone through
in an order that the seed shuffles, so each is drawn equally often; work, injection and turn are then drawn for it. A long
run draws those cells first that were hit least; since each fault is told with its cell, it can be had again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from tests.faults import injection as processes
from tests.faults import network
from tests.faults.injection import Injection, Moment, possible
from tests.faults.works import COMMITTED, WORKS, Work

INJECTIONS: list[Injection] = [*processes.INJECTIONS, *network.INJECTIONS]
"""Everything that can be drawn: a further module of injections has its name here."""
RANDOM = "(random)"
_REPEATED = 0.1
"""Share of faults after which the same work is done again, calmly."""
_RANDOM_CELLS = 3
"""How often a cell of random moments stands among an engine's others."""
Cell = tuple[str, str]
CANNOT_HAPPEN: dict[Cell, str] = {
    ("postgresql", "backup.held"): "its sessions share an exported snapshot, so commits are never held back",
    ("postgresql", "restore.lending"): "its routines and views have owners, to whom no right has to be lent",
}
"""The points that an engine never passes, and why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: in this work, at this moment, that injection. ``repeat``: the work is done again afterwards, calmly."""

    seed: int
    number: int
    engine: str
    work: str
    injection: str
    moment: Moment
    repeat: bool

    @property
    def cell(self) -> Cell:
        """Where its hit counts."""
        return self.engine, self.moment.point or RANDOM

    @property
    def replay(self) -> str:
        """The command that does this one again."""
        cell = f"{self.engine}:{self.cell[1]}"
        return f"python -m tests.faults --seed {self.seed} --only {self.number} --cell '{cell}'"

    def record(self) -> dict[str, Any]:
        """Its facts, for a log."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.number}: {self.engine}, {self.work}: {self.injection}, {self.moment}"


def cells(engines: Sequence[str]) -> list[Cell]:
    """Every cell of these engines, random moments more than once."""
    found = []
    for engine in engines:
        points = dict.fromkeys(point for work in WORKS.values() for point in work.points_on(engine))
        found += [(engine, point) for point in points] + [(engine, RANDOM)] * _RANDOM_CELLS
    return found


def least_hit(seed: int, among: Sequence[Cell], hits: Mapping[Cell, int], missed: Mapping[Cell, int]) -> Cell:
    """The cell that lacks hits most. Misses count, too, if less: what cannot be hit must not be tried for ever."""
    order = sorted(among)
    Random(seed).shuffle(order)
    return min(order, key=lambda cell: (hits.get(cell, 0) + missed.get(cell, 0) / 3) / among.count(cell))


def draw(seed: int, number: int, engines: Sequence[str], cell: Cell | None = None) -> Fault:
    """The fault of this number; ``cell`` instead of the one whose turn it is."""
    order = cells(engines)
    Random(seed).shuffle(order)
    engine, point = cell or order[number % len(order)]
    random = Random(f"{seed}/{number}/{engine}/{point}")
    works = [work for work in WORKS.values() if point == RANDOM or point in work.points_on(engine)]
    choices = [(work, each) for work in works for each in INJECTIONS if _fits(each, work, engine, point)]
    weights = [each.weight / sum(other is work for other, _ in choices) for work, each in choices]
    ((work, injection),) = random.choices(choices, weights)
    if point == RANDOM:
        moment = Moment(share=random.uniform(0.0, 0.95))
    else:
        moment = Moment(point, random.randint(1, work.points_on(engine)[point]))
    return Fault(seed, number, engine, work.name, injection.name, moment, random.random() < _REPEATED)


def _fits(injection: Injection, work: Work, engine: str, point: str) -> bool:
    if work.name not in injection.works or not possible(injection, engine):
        return False
    if point == RANDOM:
        return injection.action == "hang"
    if injection.action == "fail" and (engine, work.name, point) in COMMITTED:
        return False
    return injection.points is None or point in injection.points


def injection_named(name: str) -> Injection:
    """The injection of this name."""
    return next(each for each in INJECTIONS if each.name == name)
