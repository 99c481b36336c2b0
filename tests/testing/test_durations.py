"""The order in which the suite's modules begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from tests.durations import longest_first


@dataclass(frozen=True)
class Item:
    nodeid: str
    slow: bool = False

    def get_closest_marker(self, name: str) -> Any:
        return name if self.slow else None


def test_the_longest_module_begins_and_modules_stay_together() -> None:
    names = ("tests/a.py::1", "tests/b.py::1", "tests/a.py::2", "tests/e2e/c.py::1", "tests/d.py::1")
    items = cast("list[pytest.Item]", [Item(name, slow=name.startswith("tests/d")) for name in names])
    ordered = [item.nodeid for item in longest_first(items, {"tests/b.py": 9.0})]
    assert ordered == ["tests/d.py::1", "tests/b.py::1", "tests/e2e/c.py::1", "tests/a.py::1", "tests/a.py::2"]
