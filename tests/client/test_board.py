from __future__ import annotations

import pytest

from tests.client.canned import operation, progress, step
from vya_backupd.client.board import Board
from vya_backupd.client.views import LineView


def test_rate_share_and_time_left_come_from_the_last_seconds() -> None:
    board = Board()
    for second in range(30):
        row = board.progress(progress(second * 10 if second < 20 else 200 + (second - 20) * 50, 1000), float(second))
    assert row.rate() == pytest.approx(50, rel=0.15)
    assert row.share() == pytest.approx(0.65)
    left = row.seconds_left()
    assert left is not None
    assert left == pytest.approx(7, rel=0.2)


def test_a_database_that_grew_is_never_called_done_before_its_end() -> None:
    board = Board()
    board.progress(progress(10, 1000), 0.0)
    row = board.progress(progress(5000, 1000), 1.0)
    assert row.share() == 0.99
    assert row.seconds_left() is None
    board.step({"type": "step", **step("succeeded")})
    assert row.share() == 1.0


def test_without_an_expected_size_nothing_is_promised() -> None:
    row = Board().progress(progress(10, 0), 0.0)
    assert row.share() is None
    assert row.rate() is None
    assert row.seconds_left() is None


def test_a_new_phase_counts_anew() -> None:
    board = Board()
    board.progress(progress(900), 0.0)
    board.progress(progress(990), 1.0)
    row = board.progress(progress(5, phase="verify"), 2.0)
    assert (row.done, row.rate()) == (5, None)


def test_records_are_understood_nested_and_flat() -> None:
    board = Board()
    board.operation(
        {"type": "operation", "operation": operation(), "steps": [step("queued", "a"), step("succeeded", "b")]}
    )
    board.step({"type": "step", "step": step("failed", "a")})
    board.step({"type": "step", **step("running", "c")})
    assert board.state == "running"
    assert {row.database: row.state for row in board.rows.values()} == {"a": "failed", "b": "succeeded", "c": "running"}
    assert board.counts() == (2, 3)


def test_late_progress_does_not_bring_a_finished_step_back() -> None:
    board = Board()
    board.step(step("succeeded"))
    assert board.progress(progress(5), 1.0).state == "succeeded"


def test_lines_are_said_at_most_every_few_seconds_and_at_each_phase(capsys: pytest.CaptureFixture[str]) -> None:
    board, view = Board(), LineView()
    for tenth in range(120):
        view.progressed(board.progress(progress(tenth * 10, 2000), tenth / 10), tenth / 10)
    view.progressed(board.progress(progress(1, 2000, phase="publish"), 12.0), 12.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[1] == "prod-pg/shop: dump, 500 B, 25% of 1.95 KiB, 100 B/s, 15 s left"
    assert lines[3].startswith("prod-pg/shop: publish")


def test_who_waits_is_told_for_whom(capsys: pytest.CaptureFixture[str]) -> None:
    board, view = Board(), LineView()
    ahead = [{"id": "op-7", "kind": "restore"}, {"id": "op-8", "kind": "backup"}]
    for state, behind in (("queued", []), ("queued", ahead), ("queued", ahead[1:]), ("running", [])):
        board.operation({"type": "operation", "operation": operation(state), "steps": [], "behind": behind})
        view.moved(board)
    said = ["queued behind restore op-7 and 1 more", "queued behind backup op-8"]
    assert capsys.readouterr().err.splitlines() == said
