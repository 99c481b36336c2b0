"""The alert rules and the example around them, by promtool: they are valid, each fires and clears, each is explained."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.peers import require_peer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config/prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
STORIES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
PAGE = (ROOT / "docs/alerts.md").read_text()


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    ran = subprocess.run(
        [require_peer("promtool"), *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "FAILED" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_fires_and_clears_in_a_story_and_is_explained(rule: dict[str, Any]) -> None:
    looks = [look for story in STORIES for look in story["alert_rule_test"] if look["alertname"] == rule["alert"]]
    fires = [bool(look.get("exp_alerts")) for look in looks]
    assert True in fires
    assert False in fires[fires.index(True) :], "it has to clear again"
    assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_page_explains_these_alerts_and_no_others() -> None:
    assert sorted(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) == sorted(rule["alert"] for rule in RULES)
    critical, _, warnings = PAGE.partition("\n## Warnings\n")
    for rule in RULES:
        part = critical if rule["labels"]["severity"] == "critical" else warnings
        assert f"### {rule['alert']}\n" in part
