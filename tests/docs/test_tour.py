"""The tour of the README is what a reader gets who types it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from tests.conftest import StartServer
from vya_backupd.testing import sample, tour
from vya_backupd.testing.tour import Command

README = Path(__file__).parents[2] / "README.md"
_PROGRESS = re.compile(r"^(local-pg|\(file\))/[^\n:]*: [^\n]*\n", re.MULTILINE)
_VARYING = (
    # A backup is verified right after it was published: a list may come before or after that.
    (re.compile(r"complete|verified"), "PROOF"),
    (re.compile(r"PostgreSQL \d[^\n]*"), "SERVER"),
    (re.compile(re.escape(tour.FOLDER)), "FOLDER"),
    (re.compile(r"\d{8}T?-?\d{6}-[0-9a-f]{6,8}|\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\d[\d.]* ([KMGTPE]i)?B\b"), "SIZE"),
    (re.compile(r"(\d+ min )?\d[\d.]* s\b"), "TIME"),
    # A start that is twenty hours away has a date: right after midnight the next one is.
    (re.compile(r"(\b\d\d-\d\d )?\b\d\d:\d\d\b"), "HOUR"),
    (re.compile(r"\d+(\.\d+)?"), "N"),
    (re.compile(r"public\.\w+"), "TABLE"),
    (re.compile(r"section \w+"), "SECTION"),
    (re.compile(r"\w+\(N\)"), "USER"),
    (re.compile(r"[ -]+"), " "),
)


def masked(output: str) -> list[str]:
    """The output's lines without progress, and without what no two runs share."""
    text = _PROGRESS.sub("", output)
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines()]


def test_masking_hides_no_words() -> None:
    shown = "20261123T055229-b7746745  local-pg  shop  1.66 MiB  held\nlocal-pg/shop: dumping, 4 B\nexit code 5\n"
    assert masked(shown) == ["ID local pg shop SIZE held", "exit code N"]
    assert masked("running for 6.6 s\n") == masked("running for 1 min 07 s\n") == ["running for TIME"]
    assert masked("Next  local-pg at 00:00\n") == masked("Next  local-pg at 11-25 00:00\n") == ["Next local pg at HOUR"]
    assert masked("70.5 GiB of 252 GiB free\n") == masked("1.7 TiB of 3.5 TiB free\n") == ["SIZE of SIZE free"]


def test_a_page_is_taken_apart_and_put_together() -> None:
    page = "text\n```console\n$ one <<END\n> more\n> END\nsaid\n$ two\n```\n```\n$ none\n```\n"
    found = tour.commands(page)
    assert found == [Command("one <<END\nmore\nEND", "said\n"), Command("two", "")]
    assert tour.rewritten(page, found) == page
    assert "$ two\nnew\n```" in tour.rewritten(page, [found[0], Command("two", "new\n")])


@pytest.fixture
def walked(start_server: StartServer) -> list[Command]:
    server = start_server("postgresql-18")
    sample.fill(server)
    with tempfile.TemporaryDirectory(prefix="vya-tour-") as folder:
        return tour.walk([each.text for each in tour.commands(README.read_text())], server, Path(folder))


def test_the_readme_shows_what_its_commands_print(walked: list[Command]) -> None:
    shown = tour.commands(README.read_text())
    hint = "look at what changed, then run: python -m vya_backupd.testing.tour"
    for printed, wanted in zip(walked, shown, strict=True):
        assert masked(printed.output) == masked(wanted.output), f"{wanted.text}\n{hint}"
    endings = [line for each in shown for line in each.output.splitlines() if line.startswith("exit code")]
    assert endings == ["exit code 5", "exit code 6", "exit code 6"]
