"""How long each module of the suite takes, so that workers begin with the longest and none is left with it at the end.

``tests/durations.json`` has seconds by module, as a whole run measured them. ``VYA_DURATIONS=FILE`` writes such a file at
the end of a run; what `.ci/run` has measured lies in ``.durations.json``, and takes the other's place when the two have
drifted apart. A module that is not in it yet is guessed by the number of its tests.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

_KNOWN = Path(__file__).with_suffix(".json")
_GUESS, _GUESS_END_TO_END, _GUESS_SLOW = 0.3, 3.0, 15.0
"""Seconds for a test of which nothing is known."""
_TOLD = 12
"""Modules that are named at the end of a run that is measured."""


def longest_first(items: Sequence[pytest.Item], known: dict[str, float]) -> list[pytest.Item]:
    """The tests, those of the longest module first, within a module in their order."""
    guessed: dict[str, float] = defaultdict(float)
    for item in items:
        guessed[_module(item.nodeid)] += _guess(item)
    weights = {module: known.get(module, seconds) for module, seconds in guessed.items()}
    return sorted(items, key=lambda item: (-weights[_module(item.nodeid)], _module(item.nodeid)))


def _guess(item: pytest.Item) -> float:
    if item.get_closest_marker("slow"):
        return _GUESS_SLOW
    return _GUESS_END_TO_END if "/e2e/" in item.nodeid else _GUESS


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class Durations:
    """The plugin: orders what was collected, in every worker alike; measures where the session is run."""

    def __init__(self, config: pytest.Config) -> None:
        target = os.environ.get("VYA_DURATIONS")
        self._target = Path(target) if target and not hasattr(config, "workerinput") else None
        self._seconds: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Order them."""
        known = json.loads(_KNOWN.read_text()) if _KNOWN.exists() else {}
        items[:] = longest_first(items, known)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up: setting up and tearing down take time, too."""
        self._seconds[_module(report.nodeid)] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write it down, and name those that took longest."""
        if self._target is None:
            return
        rounded = {module: round(seconds, 1) for module, seconds in sorted(self._seconds.items())}
        self._target.write_text(json.dumps(rounded, indent=1) + "\n")
        terminalreporter.section("modules that took longest")
        longest = sorted(self._seconds.items(), key=lambda item: -item[1])[:_TOLD]
        for module, seconds in longest:
            terminalreporter.write_line(f"{seconds:7.1f} s  {module}")
