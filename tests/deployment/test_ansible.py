"""The role is well formed, and refuses to begin without credentials. ``test_confined`` lets it work for real."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.deployment.linters import require_linter
from tests.deployment.machine import ROOT

ROLE = ROOT / "config/ansible"


def _ansible(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    folder = require_linter("ansible")
    return subprocess.run(
        [folder / name, *map(str, words)],
        cwd=ROLE,
        env={
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "ANSIBLE_ROLES_PATH": f"{ROLE}/roles",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_playbook_is_one() -> None:
    done = _ansible("ansible-playbook", "--syntax-check", "-i", "backup_servers,", "site.yml")
    assert done.returncode == 0, done.stderr
    assert "playbook: site.yml" in done.stdout


@pytest.mark.slow
def test_the_linter_has_no_objection() -> None:
    done = _ansible("ansible-lint", "--offline", "-q", "-c", ROLE / ".ansible-lint", ".")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_without_credentials_it_stops_before_it_begins(playbook: list[object]) -> None:
    done = _ansible("ansible-playbook", *playbook[:5], "-e", f"ansible_python_interpreter={sys.executable}")
    assert done.returncode == 2
    assert "vya_backupdb_credentials_key are needed" in done.stdout
