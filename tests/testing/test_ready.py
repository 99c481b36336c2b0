"""Forked clients do what programs of their own do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vya_backupd.testing.product import Product
from vya_backupd.testing.ready import ReadyClients, is_simple

COMMANDS = (
    ("--version",),
    ("backup", "--help"),
    ("backup", "--frob"),
    ("config", "show"),
    ("config", "show", "--output", "json"),
    ("backups", "list", "--output", "json"),
    ("verify", "--file", "no such file ☂"),
    ("backup", "--standalone", "--config", "nowhere.yaml"),
)


def test_a_forked_client_says_and_ends_what_a_program_of_its_own_does(tmp_path: Path) -> None:
    product = Product(tmp_path, [])
    environment = product._environment()
    ready = ReadyClients()
    for arguments in COMMANDS:
        program = str(Path(sys.executable).parent / "vyactl")
        real = subprocess.run(
            [program, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        forked = ready.run(arguments, environment, None, 60)
        assert forked == (real.returncode, real.stdout, real.stderr), arguments
        assert ready.run(arguments, environment, None, 60) == forked, "clients leave nothing behind for the next"


def test_a_client_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    ready = ReadyClients()
    script = {"VYA_CONFIG": str(tmp_path / "none")}
    with pytest.raises(subprocess.TimeoutExpired):
        ready.run(["config", "validate"], script, None, 0.0001)
    assert ready.run(["config", "validate"], script, None, 60)[0] == 78


def test_what_means_something_to_the_start_of_python_is_not_simple() -> None:
    assert is_simple({"VYA_FAULTS": "x", "COLUMNS": "80"})
    assert not is_simple({"LC_ALL": "C"})
    assert not is_simple({"PYTHONPATH": "x", "VYA_FAULTS": ""})
