"""Whether each fault of the table in ``docs/faults.md`` was provoked in this session, and our answer to it held.

A pytest plugin. It hears how every test ended, on whichever worker, and at the end of a run of the whole suite it looks
for the tests that the table names: one that did not run, was only skipped, or failed, fails the session. A run of a
part of the suite proves nothing about the table and is not judged. Without ``VYA_REQUIRE_SERVERS=1``, and to somebody
who is not root and cannot fill disks or become others, what was skipped is told loudly instead.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"
_ROW = re.compile(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
_NAMED = re.compile(r"`([a-z0-9_]+/test_\w+\.py)::(\w+)`")


def table(page: str) -> list[tuple[int, list[str]]]:
    """The rows in their order: the number of the fault, and the tests that provoke it, as ``tests/FILE::NAME``."""
    return [
        (int(number), [f"tests/{path}::{name}" for path, name in _NAMED.findall(shown)])
        for number, _, _, shown in _ROW.findall(page)
    ]


def unproven(rows: Sequence[tuple[int, Sequence[str]]], ended: Mapping[str, set[str]]) -> list[str]:
    """What is not proven, in words: ``ended`` has the outcomes of each test, of all its parameters together.

    A test that some parameter skips, for a server without TLS perhaps, counts by its others.
    """
    found = []
    for number, tests in rows:
        for test in tests:
            outcomes = ended.get(test, set())
            if "failed" in outcomes:
                found.append(f"row {number}: {test} failed")
            elif "passed" not in outcomes:
                found.append(f"row {number}: {test} was {'skipped' if outcomes else 'not run'}")
    return found


def is_whole(config: pytest.Config) -> bool:
    """Whether the whole suite is to run: nothing was named, chosen or left out."""
    chosen = (config.option.keyword, config.option.markexpr, config.option.deselect, config.option.maxfail)
    asked_again = config.getoption("lf", default=False) or config.option.collectonly
    whole = [str(Path(argument)) for argument in config.args] == [
        str(Path(each)) for each in config.getini("testpaths")
    ]
    return whole and not any(chosen) and not asked_again


class Provoked:
    """The plugin; in the process that runs the session, not in workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._judges = is_whole(config)
        self._ended: dict[str, set[str]] = defaultdict(set)
        self._said: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """How a part of a test ended: a failure in setting up or tearing down is one of the test."""
        if report.when == "call" or report.outcome != "passed":
            name = report.nodeid.partition("[")[0].partition("@")[0]
            self._ended[name].add(report.outcome)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge, when there is something to judge by."""
        if not self._judges or session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            return
        self._said = unproven(table(PAGE.read_text()), self._ended)
        is_able = os.environ.get("VYA_REQUIRE_SERVERS") == "1" and os.geteuid() == 0
        if any(is_able or not each.endswith(" was skipped") for each in self._said):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell it: what is not proven, or that everything is."""
        if not self._judges:
            return
        rows = table(PAGE.read_text())
        if not self._said:
            count = len({test for _, tests in rows for test in tests})
            terminalreporter.write_line(f"faults: {len(rows)} rows of docs/faults.md, by {count} tests that passed")
            return
        terminalreporter.section("faults of docs/faults.md that were NOT provoked", red=True, bold=True)
        for line in self._said:
            terminalreporter.write_line(line, red=True)
