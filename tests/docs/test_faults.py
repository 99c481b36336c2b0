"""The table of faults names every one, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text()
ROWS = re.findall(r"^\| ([\d-]+) \|(.*)\|(.*)\|(.*)\|$", PAGE, re.MULTILINE)


def numbers(cell: str) -> list[int]:
    first, _, last = cell.partition("-")
    return list(range(int(first), int(last or first) + 1))


def test_every_fault_has_one_row_in_order() -> None:
    assert [number for row in ROWS for number in numbers(row[0])] == list(range(1, 67))


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`([a-z0-9_]+/test_\w+\.py)::(\w+)`", PAGE)
    assert len(named) > 60
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_a_row_without_a_test_says_that_it_comes_later() -> None:
    bare = [row[0] for row in ROWS if "::" not in row[3] and "later" not in row[2]]
    assert bare == []
