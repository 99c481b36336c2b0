"""How many sessions a restore gets."""

from __future__ import annotations

import pytest

from vya_backupd.policy.restore_lanes import MOST_BY_ITSELF, first_to_load, index_work, lanes_of, plan_lanes, spread

GIB = 1 << 30


@pytest.mark.parametrize(
    ("raw_size", "cores", "wanted", "sessions"),
    [
        (GIB, 2, None, 2),
        (GIB, 64, None, MOST_BY_ITSELF),
        (GIB, 1, None, 1),
        (1 << 20, 64, None, 1),
        (100 << 20, 64, None, 3),
        (0, 2, 5, 5),
        (GIB, 2, 1, 1),
    ],
)
def test_sessions_follow_size_and_cores_unless_somebody_says(
    raw_size: int, cores: int, wanted: int | None, sessions: int
) -> None:
    assert plan_lanes(raw_size, cores, wanted).sessions == sessions


def test_work_is_spread_evenly_and_wholly() -> None:
    weights = {"a": 10, "b": 6, "c": 5, "d": 0, "e": 0}
    assert spread(weights, 2) == [["a", "d", "e"], ["b", "c"]]
    assert spread(weights, 1) == [["a", "b", "c", "d", "e"]]
    assert sorted(spread({"a": 1, "b": 2}, 8)) == [["a"], ["b"]]
    assert spread({}, 3) == []


def test_tables_with_most_to_follow_are_loaded_first() -> None:
    tables = {"log": 900, "files": 500, "events": 400, "customers": 100}
    first = first_to_load(tables, {"customers": 80, "events": 70})
    assert sorted(tables, key=lambda name: -first[name]) == ["customers", "events", "log", "files"]


def test_a_table_is_shared_when_one_session_would_be_late_with_it() -> None:
    tables = {"events": 400 << 20, "customers": 100 << 20, "accounts": 200 << 20, "files": 300 << 20}
    assert lanes_of(tables, {}, 2) == {"events": 1, "customers": 1, "accounts": 1, "files": 1}
    assert lanes_of(tables, {"events": 10 << 20}, 2)["events"] == 2  # what follows takes longer than all other rows
    assert lanes_of({"log": 900 << 20, "customers": 100 << 20}, {}, 8) == {"log": 8, "customers": 1}
    assert lanes_of({"empty": 0}, {}, 4) == {"empty": 1}
    assert lanes_of({}, {}, 4) == {}


def test_large_values_are_no_work_for_an_index() -> None:
    assert index_work(1000, 4_000_000) == 1000
    assert index_work(0, 128_000) == 1000
