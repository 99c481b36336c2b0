"""The bench is proven: each seeded bug is caught by the invariant that is there for it, and nothing is without one.

Each scene is played on the product as it is, where everything holds, and on a daemon with the bug.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import pytest

from tests.conftest import ServerPool
from tests.faults import bench as runner
from tests.faults.injection import INJECTIONS, Injection, Moment
from tests.faults.invariants import INVARIANTS, broken
from tests.faults.lying import ToolLies, liar
from tests.faults.more_invariants import newest_stay, published_first, witnessed
from tests.faults.mutants import MUTANTS
from tests.faults.rig import NARROW, Bench, opened
from tests.faults.stage import Stage
from tests.faults.tracing import traced, unsynced
from tests.faults.works import FRESH, WORKS, Run
from tests.waiting import PATIENCE, until

_NOBODY: frozenset[str] = frozenset()
_TRACE = "trace"

# A daemon lets nobody but root look into it.
_CAN_TRACE = os.geteuid() == 0 and shutil.which("strace") is not None
needs_strace = pytest.mark.skipif(
    not _CAN_TRACE, reason="needs root, and strace (apt-get install strace), to trace a running daemon"
)


@pytest.fixture(scope="module")
def stage(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    server, folder = server_pool.get("postgresql"), tmp_path_factory.mktemp("mutants")
    with opened(server, folder / "site", tools=liar(server, folder / "liar")) as bench:
        server.sql(_FUSSY, NARROW)
        for _ in range(2):
            _calm(bench)
        assert broken(bench) == {}
        stage = Stage(bench, folder)
        stage.save()
        yield stage


_FUSSY = f"""
    CREATE FUNCTION fussy(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
        BEGIN IF current_database() <> '{NARROW}'
            THEN RAISE EXCEPTION 'not here'; END IF; RETURN t; END $$"""
"""A function that works in one database alone."""


# what is played


def _calm(bench: Bench) -> None:
    bench.advance(NARROW)
    bench.back_up(NARROW)
    bench.settle()


def _play(bench: Bench, work: str, injection: Injection | str, moment: str) -> None:
    """One work, struck at a point. Everything is revived, and at rest."""
    if isinstance(injection, str):
        injection = next(each for each in INJECTIONS if each.name == injection)
    _, hit = runner.disturbed(bench, WORKS[work], injection, Moment(moment), Random(0))
    assert hit, "nothing was struck"


def _lie(bench: Bench, lie: str) -> None:
    _play(
        bench,
        "backup",
        ToolLies(name=lie, lie=lie, folder=bench.product.root.parent / "liar", works=_NOBODY),
        "backup.probed",
    )


def _traced_backup(bench: Bench) -> None:
    with traced(bench, bench.product.root / _TRACE):
        _calm(bench)


def _failure_and_success(bench: Bench) -> None:
    _play(bench, "backup", "fail", "backup.dumped")
    bench.back_up(NARROW)
    bench.settle()


def _look_before_it_is_published(bench: Bench) -> None:
    """Hold a backup before it is visible, look, and let it go on."""
    _held_backup(bench, "store.placed")
    bench.notes["early"] = broken(bench, {"published first": published_first})
    bench.arm("")
    bench.settle()


def _death_behind_a_commit(bench: Bench) -> None:
    """The daemon dies behind the first commit that follows the manifest."""
    run = _held_backup(bench, "store.manifest")
    bench.arm("catalog.written=kill")
    run.until_over()
    bench.revive()
    bench.settle()


def _held_backup(bench: Bench, point: str) -> Run:
    bench.advance(NARROW)
    bench.arm(f"{point}=hang")
    run = Run(bench, WORKS["backup"])
    until(lambda: bench.hangs_at == point, PATIENCE)
    return run


def _restore_that_fails(bench: Bench) -> None:
    """An index of the backup cannot be made where it is restored to."""
    bench.server.sql("CREATE INDEX fussy_index ON ledger (fussy(digest))", NARROW)
    try:
        _calm(bench)
        run = Run(bench, WORKS["restore"])
        run.until_over()
        bench.settle()
    finally:
        bench.server.sql("DROP INDEX fussy_index", NARROW)
    bench.notes["restored anyway"] = FRESH in bench.databases()
    bench.server.drop_database(FRESH)
    _calm(bench)


# what must have been noticed


def _is_synced(bench: Bench) -> None:
    trace = bench.product.root / _TRACE
    assert unsynced(trace) == [] if trace.exists() else True


def _was_published_first(bench: Bench) -> None:
    assert bench.notes.get("early", {}) == {}


def _failed_whole(bench: Bench) -> None:
    assert not bench.notes.get("restored anyway"), "a database in which a statement failed was given its name"


ALL: dict[str, Callable[[Bench], None]] = INVARIANTS | {
    "newest stay": newest_stay,
    "witnessed": witnessed,
    "synced": _is_synced,
    "published first": _was_published_first,
    "failed whole": _failed_whole,
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What is played for a bug, and which invariant it breaks then."""

    play: Callable[[Bench], None]
    caught_by: str


SCENES = {
    "nothing_is_synced": Scene(_traced_backup, "synced"),
    "no_end_marker": Scene(lambda bench: _lie(bench, "cut"), "contents"),
    "exit_code_lost": Scene(lambda bench: _lie(bench, "failed"), "contents"),
    "room_is_made_first": Scene(lambda bench: _play(bench, "backup", "fail", "backup.dumped"), "kept"),
    "holds_mean_nothing": Scene(_calm, "kept"),
    "listed_before_published": Scene(_look_before_it_is_published, "published first"),
    "failures_fill_places": Scene(_failure_and_success, "newest stay"),
    "partials_stay": Scene(lambda bench: _play(bench, "backup", "kill the daemon", "backup.dumped"), "tidy"),
    "errors_are_passed_over": Scene(_restore_that_fails, "failed whole"),
    "a_segment_is_lost": Scene(_calm, "contents"),
    "events_come_later": Scene(_death_behind_a_commit, "witnessed"),
}


def test_every_bug_has_a_scene() -> None:
    assert MUTANTS.keys() == SCENES.keys()


@pytest.fixture(scope="module")
def without_bugs(stage: Stage) -> dict[str, dict[str, str]]:
    """What is broken after each scene where there is no bug, and which of all invariants is after the last one."""
    stage.begin()
    found = {}
    for name, scene in SCENES.items():
        if name == "nothing_is_synced" and not _CAN_TRACE:
            continue
        scene.play(stage.bench)
        found[name] = broken(stage.bench, {scene.caught_by: ALL[scene.caught_by]})
    return found | {"at the end": broken(stage.bench, ALL)}


@needs_strace
def test_nothing_is_broken_without_a_bug(without_bugs: dict[str, dict[str, str]]) -> None:
    assert without_bugs == {name: {} for name in (*SCENES, "at the end")}


@pytest.mark.parametrize(
    "mutant", [pytest.param(name, marks=needs_strace if name == "nothing_is_synced" else ()) for name in SCENES]
)
def test_a_bug_is_caught(stage: Stage, mutant: str) -> None:
    scene = SCENES[mutant]
    stage.begin(mutant)
    scene.play(stage.bench)
    assert broken(stage.bench, {scene.caught_by: ALL[scene.caught_by]}).keys() == {scene.caught_by}
