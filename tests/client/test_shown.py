from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.client import shown
from vya_backupd.client.command import names


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (10_239, "10.0 KiB"),
        (102_348, "99.9 KiB"),
        (102_399, "100 KiB"),
        (215_000_000, "205 MiB"),
        (1023 * 1024, "1.00 MiB"),
        (3 * 1024**5, "3.00 PiB"),
        (5000 * 1024**5, "5000 PiB"),
    ],
)
def test_sizes_have_three_figures(count: int | None, text: str) -> None:
    assert shown.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (float("inf"), "-"),
        (-1, "-"),
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert shown.duration(seconds) == text


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1)))
def test_a_moment_is_never_before_the_time_it_stands_for_and_less_than_a_second_after(naive: datetime) -> None:
    when = naive.replace(tzinfo=UTC)
    said = datetime.fromisoformat(shown.moment(when.isoformat()))
    assert timedelta(0) <= said - when < timedelta(seconds=1)
    assert said.microsecond == 0


def test_a_moment_that_is_no_time_is_shown_as_it_is() -> None:
    assert shown.moment("once\x1b[31m") == r"once\x1b[31m"
    assert shown.moment(None) == "-"


@given(st.text())
def test_no_name_can_move_the_cursor_or_start_a_line(text: str) -> None:
    assert shown.plain(text).isprintable()


def test_printable_names_are_shown_as_they_are() -> None:
    assert shown.plain("Zürich [bold] 東京 '\"") == "Zürich [bold] 東京 '\""


def test_messages_keep_their_lines() -> None:
    assert shown.paragraphs("a\x07\nb") == "a\\x07\nb"


def test_names_are_split_at_commas_and_repeats_are_added() -> None:
    assert names(["a,b", "c"]) == ["a", "b", "c"]
    assert names([r"one\,name,two"]) == ["one,name", "two"]
    assert names([]) is None
    assert names([","]) is None
