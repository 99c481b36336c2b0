"""The table of faults names every one, each with tests that exist; that they ran and passed is what ``provoked`` sees."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.provoked import PAGE, ROOT, table, unproven

ROWS = table(PAGE.read_text())


def test_every_fault_has_one_row_in_order() -> None:
    assert [number for number, _ in ROWS] == list(range(1, 67))


def test_every_row_names_a_test() -> None:
    assert [number for number, tests in ROWS if not tests] == []


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`([a-z0-9_]+/test_\w+\.py)::(\w+)`", PAGE.read_text())
    assert {f"tests/{path}::{name}" for path, name in named} >= {test for _, tests in ROWS for test in tests}
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_only_a_test_that_ran_and_passed_proves_a_row() -> None:
    rows = [(1, ["tests/a::x"]), (2, ["tests/a::y", "tests/b::z"]), (3, ["tests/b::w"])]
    well = {"tests/a::x": {"passed"}, "tests/a::y": {"passed", "skipped"}, "tests/b::z": {"passed"}}
    assert unproven(rows[:2], well) == []
    assert unproven(rows, well) == ["row 3: tests/b::w was not run"]
    assert unproven(rows, well | {"tests/b::w": {"skipped"}}) == ["row 3: tests/b::w was skipped"]
    assert unproven(rows, well | {"tests/b::w": {"passed", "failed"}}) == ["row 3: tests/b::w failed"]


_SUITE = """
import pytest
from pathlib import Path
from tests import provoked
provoked.PAGE = Path(__file__).parent / "faults.md"
provoked.os.geteuid = int
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(provoked.Provoked(config))
"""
_TESTS = """
import pytest
@pytest.mark.parametrize("server", ["one", pytest.param("two", marks=pytest.mark.skip)])
def test_holds(server): pass
def test_is_left_out(): pytest.skip("no server")
"""
_TABLE = "| 1 | a | b | `part/test_it.py::test_holds` |\n| 2 | a | b | `part/test_it.py::test_is_left_out` |\n"


def run(folder: Path, *arguments: str, require: str = "1") -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "VYA_REQUIRE_SERVERS": require},
    )
    return done.returncode, done.stdout + done.stderr


def test_a_whole_run_on_workers_fails_for_a_row_that_was_skipped_and_a_part_does_not(tmp_path: Path) -> None:
    """With a suite of its own, in which everything that runs passes."""
    tests = tmp_path / "tests" / "part"
    tests.mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    (tmp_path / "conftest.py").write_text(_SUITE)
    (tests / "test_it.py").write_text(_TESTS)
    (tmp_path / "faults.md").write_text(_TABLE)
    code, said = run(tmp_path, "-n", "2")
    assert code == 1
    assert "row 2: tests/part/test_it.py::test_is_left_out was skipped" in said
    assert "row 1" not in said
    code, said = run(tmp_path, require="0")
    assert (code, "row 2" in said) == (0, True)
    code, said = run(tmp_path, "tests/part/test_it.py")
    assert (code, "row 2" in said) == (0, False)
