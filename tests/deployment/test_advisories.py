"""What is said of an audit of the dependencies: above all, that one which could not be made is none."""

from __future__ import annotations

from typing import Any

from tests.deployment.advisories import installed, judge

CLEAN = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
HOLE = {"name": "jinja2", "version": "3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.5"], "aliases": []}]}
SKIPPED = {"name": "isal", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def test_a_known_hole_fails_and_names_the_release_that_mends_it() -> None:
    code, said = judge({"dependencies": [CLEAN, HOLE]})
    assert code == 1
    assert "jinja2 3.0: PYSEC-1, mended in 3.1.5" in said


def test_nothing_that_was_asked_is_no_clean_bill() -> None:
    none: list[dict[str, Any]] = [{}, {"dependencies": []}, {"dependencies": [SKIPPED]}]
    for report in none:
        code, said = judge(report)
        assert (code, said[:11]) == (2, "NOT AUDITED")


def test_what_was_left_out_is_named_beside_what_is_clean() -> None:
    code, said = judge({"dependencies": [CLEAN, SKIPPED]})
    assert code == 0
    assert "1 packages were compared, 0 known holes" in said
    assert "NOT AUDITED: isal" in said


def test_everything_that_is_installed_is_asked_about() -> None:
    names = {line.partition("==")[0].lower() for line in installed()}
    assert {"aiohttp", "cryptography", "psycopg", "asyncmy"} <= names
    assert "vya-backupdb" not in names
