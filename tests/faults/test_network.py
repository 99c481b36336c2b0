"""A network that fails in the midst of real backups and restores: a clear error each time, and never a wrong backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any

import pytest

from tests.conftest import require_spec
from tests.faults import bench as runner
from tests.faults.injection import Moment
from tests.faults.invariants import broken
from tests.faults.network import NetworkFails, reloaded
from tests.faults.proxy import Kind, Way
from tests.faults.rig import Bench, opened
from tests.faults.works import WORKS

_NOBODY: frozenset[str] = frozenset()


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Bench]]:
    """A bench of each engine, on a server of its own, opened when first wanted. Nothing stalls on a busy machine."""
    there: dict[str, Bench] = {}
    with ExitStack() as stack:

        def get(engine: str) -> Bench:
            if engine not in there:
                folder = tmp_path_factory.mktemp("network")
                server = stack.enter_context(require_spec(engine).start(folder))
                backup = {"stall_timeout": "5m"}
                there[engine] = stack.enter_context(opened(server, folder / "site", backup=backup))
                assert broken(there[engine]) == {}
            return there[engine]

        yield get


@contextmanager
def stalling(bench: Bench, after: str) -> Iterator[None]:
    """Let nothing be waited for that has not moved for so long."""
    before = bench.product.settings["backup"]["stall_timeout"]
    _set_stall_timeout(bench, after)
    try:
        yield
    finally:
        _set_stall_timeout(bench, before)


def _set_stall_timeout(bench: Bench, value: str) -> None:
    bench.product.settings["backup"]["stall_timeout"] = value
    bench.product.write_config()
    reloaded(bench)


def struck(bench: Bench, work: str, moment: Moment, way: Way, after: int, kind: Kind) -> tuple[str, set[str], bool]:
    """Do a work, and this to the network in the midst of it; all invariants hold. Its state, its errors, and a hit."""
    injection = NetworkFails(name="here", kind=kind, way=way, after=after, works=_NOBODY)
    run, hit = runner.disturbed(bench, WORKS[work], injection, moment, Random(0))
    assert runner.judged(bench, run) == {}
    WORKS[work].tidy(bench)
    assert run.operation is not None, run.refused
    record: dict[str, Any] = bench.control.operation(run.operation)
    return record["operation"]["state"], {each["error"]["code"] for each in record["steps"] if each["error"]}, hit


BACKUP = ("parallel backup", Moment("backup.dumping"), Way.FROM_SERVER, 20_000)
RESTORE = ("parallel restore", Moment("restore.lane"), Way.TO_SERVER, 60_000)
"""Behind so many bytes only the connections of the tools are left to be struck."""


@pytest.mark.parametrize(
    ("engine", "what", "kind"),
    [
        ("postgresql", BACKUP, Kind.RESET),
        ("postgresql", RESTORE, Kind.HANG),
        ("mariadb", RESTORE, Kind.CLOSE),
        ("mysql", RESTORE, Kind.HANG),
    ],
)
def test_a_network_that_fails_is_told_and_nothing_is_wrong(
    benches: Callable[[str], Bench], engine: str, what: tuple[str, Moment, Way, int], kind: Kind
) -> None:
    bench = benches(engine)
    if kind is Kind.HANG:
        with stalling(bench, "2s"):
            state, codes, _ = struck(bench, *what, kind)
        assert (state, len(codes)) == ("failed", 1)
        assert codes <= {"stalled", "server_lost"}
    else:
        assert struck(bench, *what, kind) == ("failed", {"server_lost"}, True)
