"""The threat model names tests that exist, for every protection that it claims."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
ROWS = [row for row in re.findall(r"^\|(.*)\|$", PAGE, re.MULTILINE) if not set(row) <= set("-|")]
NAMED = re.findall(r"`([a-z0-9_/]+/test_\w+\.py)::(\w+)`", PAGE)


def test_every_test_that_is_named_exists() -> None:
    assert len(NAMED) > 30
    missing = [
        f"{path}::{name}"
        for path, name in NAMED
        if not re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_protection_names_a_test() -> None:
    claims = [row for row in ROWS if not row.endswith(" Shown by ")]
    assert len(claims) > 15
    assert [row for row in claims if "::" not in row.rpartition("|")[2]] == []


def test_every_attacker_has_a_section() -> None:
    heads = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    for word in (
        "network",
        "database",
        "server that lies",
        "file",
        "machine",
        "stolen backup",
        "credentials",
        "mistake",
    ):
        assert any(word in head for head in heads), word
