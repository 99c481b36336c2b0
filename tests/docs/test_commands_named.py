"""What the pages tell people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from vya_backupd.client import reference
from vya_backupd.client.main import build

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMANDS = {
    name: {option for parameter in command.params for option in parameter.opts}
    for name, command in reference.walk(typer.main.get_command(build()))
}
GROUPS = {name.partition(" ")[0] for name in COMMANDS if " " in name}
_WHOLE_LINES = re.compile(r"^\$? ?(vyactl [^\n]*)", re.MULTILINE)
_IN_TEXT = re.compile(r"`(vyactl [^`]*)`")


def _typed(page: Path) -> list[str]:
    text = page.read_text()
    return [" ".join(found.split()) for found in (*_WHOLE_LINES.findall(text), *_IN_TEXT.findall(text))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for line in _typed(page):
        words = re.sub(r"^vyactl (-o|--output) \w+ ", "vyactl ", line).split(" ")[1:]
        if not words or not re.fullmatch(r"[a-z]+(-[a-z]+)*", words[0]):
            continue  # "vyactl COMMAND --help", or the program alone
        if words[0] in GROUPS and (len(words) == 1 or not words[1].islower()):
            continue  # a group as such
        name = " ".join(words[:2]) if words[0] in GROUPS else words[0]
        assert name in COMMANDS, line
        named = {word.partition("=")[0].rstrip(",;:)") for word in words if word.startswith("--")} - {"--help"}
        assert named <= COMMANDS[name], line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


def test_the_workflow_runs_what_a_developer_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]
    for job in workflow["jobs"].values():
        assert job["steps"][-1]["run"] == "bash .ci/run"
    assert (ROOT / ".ci/run").exists()


def test_commands_are_found_in_pages_at_all() -> None:
    found = {page.name: len(_typed(page)) for page in PAGES}
    assert found["README.md"] >= 10
    assert found["operations.md"] >= 15
    assert found["commands.md"] >= len(COMMANDS)
