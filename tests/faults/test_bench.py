"""Sixty faults, twenty on each engine: the same at every run, others with ``VYA_FAULT_SEED``. See ``python -m tests.faults``.

Each engine is a class, so that several workers share them. The servers are their own: they are killed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import require_spec
from tests.faults import network
from tests.faults.bench import Result, Series, table
from tests.faults.drawing import CANNOT_HAPPEN, INJECTIONS, RANDOM, cells, draw, injection_named, least_hit
from tests.faults.injection import ENGINES
from tests.faults.night import Tally, recorded
from tests.faults.works import WORKS
from vya_backupd.faults import POINTS

_SEED = int(os.environ.get("VYA_FAULT_SEED", "21"))
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


def test_every_point_of_the_daemon_is_passed_by_some_work_or_cannot_be() -> None:
    passed = {cell for cell in cells(ENGINES) if cell[1] != RANDOM}
    assert passed.isdisjoint(CANNOT_HAPPEN)
    assert passed | CANNOT_HAPPEN.keys() == {(engine, point) for engine in ENGINES for point in POINTS}


def test_the_network_is_among_what_is_drawn() -> None:
    works_that_speak = {work.name for work in WORKS.values() if work.uses_server}
    drawn = [draw(3, number, ENGINES) for number in range(1000)]
    speaking = {each.work for each in drawn if injection_named(each.injection) in network.INJECTIONS}
    assert speaking == works_that_speak
    assert {each.injection for each in drawn} == {each.name for each in INJECTIONS}


def test_where_hits_lack_is_drawn_first() -> None:
    everything = cells(["mysql"])
    hits = Counter(dict.fromkeys(everything, 4)) + Counter({("mysql", RANDOM): 8})
    for lacking in (("mysql", "backup.held"), ("mysql", RANDOM)):
        assert least_hit(1, everything, hits - Counter([lacking]), Counter()) == lacking
        assert least_hit(1, everything, hits - Counter([lacking]), Counter([lacking] * 9)) != lacking


def test_a_log_is_gone_on_with(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fault = draw(1, 4, ENGINES)
    records = [Result(fault, is_hit, "failed", {}, 2.0).record() for is_hit in (True, False)]
    log.write_text("".join(json.dumps(each) + "\n" for each in [*records, {"broken": {"mysql": {"kept": "gone"}}}]))
    tally = Tally.of(log)
    assert (tally.done, tally.hits[fault.cell], tally.missed[fault.cell], len(tally.broken)) == (5, 1, 1, 1)
    assert recorded(log, 4) == fault
    assert fault.cell not in tally.lacking(list(ENGINES), 1)
    assert fault.cell in tally.lacking(list(ENGINES), 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fault_is_the_same_by_seed_and_number_and_by_its_cell(engine: str) -> None:
    drawn = [draw(7, number, [engine]) for number in range(len(cells([engine])))]
    assert {each.cell for each in drawn} == set(cells([engine]))
    assert [draw(7, each.number, ENGINES, each.cell) for each in drawn] == drawn
    assert all(each.moment.point is None for each in drawn if each.cell[1] == RANDOM)
