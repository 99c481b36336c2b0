"""Who dumps what of one database: nothing is forgotten, nothing comes twice, and everybody has about as much to do."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.policy.dump_plan_mysql import Key, Range, Share, Table, bounds, sessions, shares, to_cut, zoomed

MIB = 1 << 20
tables_of_any_size = st.lists(st.tuples(st.integers(0, 500 * MIB), st.booleans()), min_size=1, max_size=30).map(
    lambda found: [Table(f"t{number}", size, still) for number, (size, still) in enumerate(found)]
)


def spans_from(edges: list[int]) -> tuple[tuple[int, int], ...]:
    edges = sorted(set(edges))
    return tuple(zip(edges[::2], [edge - 1 for edge in edges[1::2]], strict=False))


spans = (
    st.lists(st.integers(-(10**20), 10**20), min_size=2, max_size=40, unique=True)
    .map(spans_from)
    .filter(lambda found: bool(found) and all(first <= last for first, last in found))
)


def dumped_by(table: Table, made: list[Share]) -> list[Range | None]:
    """Everything of a table that is dumped, by whomever: None for all of it."""
    named = {name for share in made for name in share.tables}
    found = [share.range for share in made if table.name in share.tables]
    return found + [None] * sum(not share.tables and table.name not in named for share in made)


@given(tables_of_any_size, st.integers(2, 8), spans)
def test_every_row_is_dumped_once(tables: list[Table], count: int, values: tuple[tuple[int, int], ...]) -> None:
    keys = {name: Key("id", values) for name in to_cut(tables, count) if not name.endswith("3")}
    made = shares(tables, count, keys)
    assert [share.tables for share in made].count([]) == 1
    for table in tables:
        parts = dumped_by(table, made)
        if table.name not in keys:
            assert parts == [None]
            continue
        limits = [(part.low, part.high) for part in parts if part is not None]
        assert len(limits) == len(parts)
        assert limits[0][0] is None
        assert limits[-1][1] is None
        assert all(high == low and high is not None for (_, high), (low, _) in itertools.pairwise(limits)), (
            "without gap or overlap"
        )


@given(tables_of_any_size, st.integers(2, 8))
def test_what_does_not_hold_still_is_read_by_one_process(tables: list[Table], count: int) -> None:
    named = {name for share in shares(tables, count, {}) for name in share.tables}
    assert not named & {table.name for table in tables if not table.holds_still}
    assert not set(to_cut(tables, count)) & {table.name for table in tables if not table.holds_still}


@given(spans, st.integers(2, 8))
def test_bounds_rise_and_cut_off_nothing_but_values(values: tuple[tuple[int, int], ...], pieces: int) -> None:
    found = bounds(values, pieces)
    assert found == sorted(set(found))
    assert len(found) < pieces
    assert all(values[0][0] < bound <= values[-1][1] + 1 for bound in found)


def test_bounds_share_evenly_and_leave_gaps_alone() -> None:
    assert bounds([(0, 999)], 4) == [250, 500, 750]
    assert bounds([(0, 99), (10**15, 10**15 + 99)], 2) == [10**15]
    assert bounds([(0, 99), (10**15, 10**15 + 99)], 4) == [50, 10**15, 10**15 + 50]
    assert bounds([(7, 7)], 8) == []


@given(spans, st.integers(1, 64))
def test_a_closer_look_covers_the_same_values(values: tuple[tuple[int, int], ...], cells: int) -> None:
    parts = zoomed(values, cells)
    assert parts[0][0] == values[0][0]
    assert parts[-1][1] == values[-1][1]
    assert sum(last - first + 1 for first, last in parts) == sum(last - first + 1 for first, last in values)
    assert all(first <= last for first, last in parts)


def test_how_many_sessions() -> None:
    large, small = [Table("a", 100 * MIB), Table("b", 60 * MIB)], [Table("a", 100 * MIB)]
    assert sessions(large, 8, None) == (2, "160 MiB in tables, 8 cores")
    assert sessions([Table("a", 9 << 30)], 64, None)[0] == 8
    assert sessions([Table("a", 9 << 30)], 1, None)[0] == 1
    assert sessions(small, 8, None) == (1, "100 MiB in tables: several sessions would not be worth it")
    assert sessions(small, 8, 3) == (3, "configured: 3")
    assert sessions([Table("a", MIB)], 8, 3) == (1, "no table is large enough to be read apart")
    assert sessions([Table("a", MIB)], 8, 3, piece_size=MIB) == (3, "configured: 3")
    assert sessions([], 8, None)[0] == 1


def test_a_shop_is_shared_evenly() -> None:
    tables = [Table("events", 400), Table("blobs", 220), Table("accounts", 200), Table("people", 100), Table("txt", 80)]
    two = shares(tables, 2, {})
    assert [(share.tables, share.size) for share in two] == [([], 500), (["blobs", "accounts", "txt"], 500)]
    assert to_cut(tables, 2) == []
    assert to_cut(tables, 4) == ["events"]
    four = shares(tables, 4, {"events": Key("id", ((1, 1000),))})
    assert sorted(share.size for share in four) == [200, 200, 300, 300]
