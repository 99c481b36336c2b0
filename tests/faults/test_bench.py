"""Sixty faults, twenty on each engine: the same at every run, others with ``VYA_FAULT_SEED``. See ``python -m tests.faults``.

Each engine is a class, so that several workers share them. The servers are their own: they are killed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import require_spec
from tests.faults.bench import Series, table
from tests.faults.drawing import RANDOM, cells, draw
from tests.faults.injection import ENGINES
from tests.faults.works import WORKS
from vya_backupd.faults import POINTS

_SEED = int(os.environ.get("VYA_FAULT_SEED", "1"))
_FAULTS = 20
_FEWEST_HITS = 10
"""Of the twenty. A moment that no point names may come too late, and a tool may have ended."""


def run(engine: str, folder: Path) -> None:
    print(f"seed {_SEED}; another one: VYA_FAULT_SEED=N")
    with require_spec(engine).start(folder) as server:
        series = Series(lambda _: server)
        try:
            for number in range(_FAULTS):
                series.run(draw(_SEED, number, [engine]))
            wrong = series.conclude()
        finally:
            series.close()
    print(table(series.hits, [engine]))
    bad = {str(each.fault): (each.broken, each.fault.replay) for each in series.results if each.broken}
    assert not bad
    assert not wrong
    assert series.hits.total() >= _FEWEST_HITS


class TestPostgresql:
    def test_nothing_is_lost(self, tmp_path: Path) -> None:
        run("postgresql", tmp_path)


class TestMariadb:
    def test_nothing_is_lost(self, tmp_path: Path) -> None:
        run("mariadb", tmp_path)


class TestMysql:
    def test_nothing_is_lost(self, tmp_path: Path) -> None:
        run("mysql", tmp_path)


def test_every_point_of_the_daemon_is_passed_by_some_work() -> None:
    passed = {point for work in WORKS.values() for engine in ENGINES for point in work.points_on(engine)}
    assert passed == set(POINTS)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fault_is_the_same_by_seed_and_number_and_by_its_cell(engine: str) -> None:
    drawn = [draw(7, number, [engine]) for number in range(len(cells([engine])))]
    assert {each.cell for each in drawn} == set(cells([engine]))
    assert [draw(7, each.number, ENGINES, each.cell) for each in drawn] == drawn
    assert all(each.moment.point is None for each in drawn if each.cell[1] == RANDOM)
