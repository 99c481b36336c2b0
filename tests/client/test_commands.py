"""The page of commands, the help pages and the tree of commands say the same."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from vya_backupd.client import reference
from vya_backupd.client.command import EXIT_CODES, PagedCommand
from vya_backupd.client.main import build, run
from vya_backupd.errors import VyaError

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
TREE: dict[str, Any] = dict(reference.walk(typer.main.get_command(build())))
WANTED = """
    backup restore verify status health metrics
    backups-list backups-show backups-hold backups-release backups-delete
    operations-list operations-show operations-watch operations-cancel catalog-rebuild
    config-validate config-show config-test-connections credentials-encrypt credentials-check credentials-rotate
    retention-plan retention-apply audit-show audit-verify schedule-list schedule-pause schedule-resume doctor notify-test
    throttle-show throttle-set throttle-reset extract
"""


def test_every_command_is_there() -> None:
    assert {name.replace(" ", "-", 1) for name in TREE} == set(WANTED.split())


def test_the_page_is_what_the_program_says(tmp_path: Path) -> None:
    written = tmp_path / "commands.md"
    subprocess.run([sys.executable, "-m", "vya_backupd.client.reference", written], check=True, timeout=60)
    assert PAGE.read_text() == written.read_text(), "rewrite it: python -m vya_backupd.client.reference"


@pytest.mark.parametrize("module", ["vya_backupd.client.reference", "vya_backupd.config.reference"])
def test_an_option_is_not_a_file_to_write(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", module]
    asked = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    refused = subprocess.run([*command, "--nonsense"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (asked.returncode, refused.returncode) == (0, 2)
    assert asked.stdout.startswith("usage:")
    assert "--nonsense" in refused.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TREE)
def test_every_command_and_option_is_documented(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = TREE[name]
    section = PAGE.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert run([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    for option in [option for parameter in command.params for option in parameter.opts if option.startswith("--")]:
        assert f"`{option}`" in section
        assert option in shown
    assert all(parameter.help for parameter in command.params)
    assert "Examples:" in shown
    assert "Exit codes:" in shown
    assert len(command.help.split()) >= 8


@pytest.mark.parametrize("example", [example for command in TREE.values() for example in command.page.examples])
def test_every_example_is_understood(example: str) -> None:
    program, *words = shlex.split(re.split(r" (?:>|\|\|?) ?", example)[0], comments=True)
    assert program == "vyactl"
    command: Any = typer.main.get_command(build())
    context = command.make_context(program, words)
    while not isinstance(command, PagedCommand):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


def test_every_exit_code_of_an_error_has_a_meaning() -> None:
    def classes(cls: type[VyaError]) -> set[type[VyaError]]:
        return {cls}.union(*(classes(sub) for sub in cls.__subclasses__()))

    assert {cls.exit_code for cls in classes(VyaError)} <= set(EXIT_CODES)


def test_the_program_alone_shows_its_help_and_gives_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert capsys.readouterr().out.startswith("Usage: vyactl [OPTIONS] COMMAND")


def test_a_group_alone_names_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["backups"]) == 2
    assert capsys.readouterr().err == "error: Missing command.\nhint:  See: vyactl backups --help\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert re.fullmatch(r"vyactl \d+\.\d+\.\d+\n", capsys.readouterr().out)
