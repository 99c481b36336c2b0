"""The board: nothing runs too early, nothing runs beside what it excludes, and everything runs once."""

from __future__ import annotations

import threading
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.pipeline.board import Batch, Board, Job

GROUPS = ("a", "b", "c", "d")
NAMES = st.frozensets(st.sampled_from(("x", "y", "z")), max_size=2)


def jobs(what: str, count: int) -> Batch:
    return Batch(what, (Job(what, lambda: iter(())) for _ in range(count)), count)


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    """Batches that come only after groups of an earlier letter, so that no circle is made."""
    made = []
    for _ in range(draw(st.integers(0, 8))):
        number = draw(st.integers(0, len(GROUPS) - 1))
        batch = jobs(GROUPS[number], draw(st.integers(0, 4)))
        batch.priority = draw(st.integers(0, 3))
        batch.after = frozenset(draw(st.sets(st.sampled_from(GROUPS[:number])))) if number else frozenset()
        batch.exclusive, batch.shared = draw(NAMES), draw(NAMES)
        batch.lanes = draw(st.sampled_from((None, 1, 2)))
        batch.within = draw(st.sampled_from(("", "all")))
        made.append(batch)
    return made


class Watcher:
    """Works a board off with several threads and looks at every beginning."""

    def __init__(self, made: list[Batch]) -> None:
        self.board = Board(made)
        self.left = Counter({group: 0 for group in GROUPS})
        for batch in made:
            self.left[batch.group] += batch.count
        self.running: list[Batch] = []
        self.done = Counter[str]()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def work(self, lane: int) -> None:
        while (taken := self.board.take(lane)) is not None:
            batch = taken.batch
            with self._lock:
                self._look(batch)
                self.running.append(batch)
            with self._lock:
                self.running.remove(batch)
                self.left[batch.group] -= 1
                self.done[batch.group] += 1
            self.board.done(taken)

    def _look(self, batch: Batch) -> None:
        if any(self.left[group] for group in batch.after):
            self.wrong.append(f"{batch.group} before {set(batch.after)}")
        for other in self.running:
            mine, theirs = batch.exclusive | batch.shared, other.exclusive | other.shared
            if batch.exclusive & theirs or other.exclusive & mine:
                self.wrong.append(f"{batch.group} beside {other.group}")


@given(batches())
def test_order_and_exclusion_hold(made: list[Batch]) -> None:
    watcher = Watcher(made)
    expected = Counter({group: count for group, count in watcher.left.items() if count})
    threads = [threading.Thread(target=watcher.work, args=(lane,)) for lane in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watcher.wrong == []
    assert (watcher.done, watcher.board.unfinished) == (expected, 0)


def test_the_highest_priority_comes_first() -> None:
    low, high = jobs("low", 2), jobs("high", 1)
    high.priority = 1
    board = Board([low, high])
    order = [board.take() for _ in range(3)]
    assert [taken.job.what for taken in order if taken] == ["high", "low", "low"]


def test_lanes_keep_apart_while_there_is_work_apart() -> None:
    first, second = jobs("first", 4), jobs("second", 2)
    first.priority, first.lanes, second.lanes = 1, 1, 1
    first.quick = second.quick = True
    board = Board([first, second])
    taken = [board.take(0), board.take(1), board.take_quick(0), board.take_quick(1)]
    assert [each.job.what for each in taken if each] == ["first", "second", "first", "second"]
    shared = board.take(1)
    assert shared is not None
    assert shared.job.what == "first"  # the other lane's, since nothing else is left
    for each in [*taken, shared]:
        assert each is not None
        board.done(each)
    last = board.take(1)
    assert last is not None
    assert last.job.what == "first"  # nobody else is at it any more
    board.done(last)
    assert (board.take(0), board.unfinished) == (None, 0)


def test_a_closed_board_gives_nothing() -> None:
    board = Board([jobs("a", 3)])
    board.close()
    assert (board.take(), board.unfinished) == (None, 3)


def test_what_waits_for_itself_is_left() -> None:
    batch = jobs("a", 1)
    batch.after = frozenset({"a"})
    board = Board([batch])
    assert (board.take(), board.unfinished) == (None, 1)
