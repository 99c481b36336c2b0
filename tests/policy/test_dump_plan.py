"""Plans of dumps: nothing twice, nothing missing, and one session where more would not help."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.policy.dump_plan import PIECE_SIZE, TableSize, plan, smallest_table

MIB = 1 << 20
GIB = 1 << 30


@st.composite
def tables(draw: st.DrawFn) -> list[TableSize]:
    sizes = draw(st.lists(st.tuples(st.integers(0, 5 * GIB), st.integers(0, 700_000)), max_size=12))
    return [TableSize(f"t{number}", size, span) for number, (size, span) in enumerate(sizes)]


@given(tables(), st.integers(1, 64), st.one_of(st.none(), st.integers(1, 16)))
def test_pieces_are_all_of_the_tables_once(given_tables: list[TableSize], cores: int, wanted: int | None) -> None:
    made = plan(given_tables, cores, wanted)
    assert made.reason
    if made.sessions == 1:
        assert not made.pieces
        return
    assert made.sessions <= (wanted or min(cores, 8))
    large = {table.name: table.span for table in given_tables if table.size >= smallest_table()}
    pieces: dict[str, list[tuple[int | None, int | None]]] = {name: [] for name in large}
    for piece in made.pieces:
        pieces[piece.table].append((piece.first, piece.end))
        assert piece.size <= PIECE_SIZE or large[piece.table] <= piece.size // PIECE_SIZE + 1
    for name, ranges in pieces.items():
        bounds = [bound for each in ranges for bound in each]
        assert bounds[0] is bounds[-1] is None
        inner = bounds[1:-1]
        assert inner[::2] == inner[1::2]
        numbers = [bound for bound in inner[::2] if bound is not None]
        assert len(numbers) == len(ranges) - 1
        assert numbers == sorted(set(numbers))
        assert all(0 < number < large[name] for number in numbers)


def test_small_databases_are_dumped_by_the_tool_alone() -> None:
    made = plan([TableSize("a", 100 * MIB, 12_800), TableSize("b", 27 * MIB, 3_400)], 8, None)
    assert made.sessions == 1
    assert made.reason == "127 MiB in large tables: several sessions would not be worth it"


def test_sessions_by_size_and_cores() -> None:
    def sessions(size: int, cores: int, wanted: int | None = None) -> int:
        return plan([TableSize("a", size, size // 8192)], cores, wanted).sessions

    assert sessions(128 * MIB, 64) == 2
    assert sessions(10 * GIB, 64) == 8
    assert sessions(10 * GIB, 2) == 2
    assert sessions(10 * GIB, 1) == 1
    assert sessions(10 * GIB, 2, 5) == 5
    assert sessions(9 * MIB, 2, 5) == 5
    assert sessions(10 * GIB, 8, 1) == 1


def test_what_is_wanted_needs_a_table_to_be_read_apart() -> None:
    made = plan([TableSize("a", MIB, 128)], 4, 4)
    assert (made.sessions, made.reason) == (1, "no table is large enough to be read apart")


def test_tables_come_by_their_names_and_the_end_is_cut_finer() -> None:
    made = plan([TableSize("b", GIB, 131_072), TableSize("a", 20 * MIB, 2_560)], 2, None)
    names = [piece.table for piece in made.pieces]
    assert names == sorted(names)
    assert [piece.size for piece in made.pieces if piece.table == "a"] == [10 * MIB, 10 * MIB]
    assert max(piece.size for piece in made.pieces) == PIECE_SIZE
    assert made.pieces[-1].size == PIECE_SIZE // 4


def test_a_table_without_a_span_stays_whole() -> None:
    made = plan([TableSize("a", 10 * GIB), TableSize("b", 10 * GIB, 1)], 4, None)
    assert [(piece.table, piece.first, piece.end) for piece in made.pieces] == [("a", None, None), ("b", None, None)]
