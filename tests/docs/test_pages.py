"""Every error code and every metric has its place in the docs, and no page points to nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from vya_backupd.catalog.figures import Errands, Figures, Newest, Readings, Stock, Waiting
from vya_backupd.catalog.ledger import Count
from vya_backupd.errors import CODES, VyaError
from vya_backupd.model.event import Event
from vya_backupd.observe.metrics import Metrics
from vya_backupd.observe.metrics_totals import COUNTERS, HISTOGRAMS, SUMMARIES
from vya_backupd.observe.outlook import InstanceOutlook, Live, Outlook

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TROUBLES = (ROOT / "docs/troubleshooting.md").read_text()


def _sections(page: str) -> dict[str, str]:
    parts = re.split(r"^### `([\w]+)`$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_error_code_has_a_section_and_no_other() -> None:
    assert sorted(_sections(TROUBLES)) == sorted(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_section_says_more_than_the_code(code: str) -> None:
    text = _sections(TROUBLES)[code].split("\n## ")[0]
    assert len(text.split()) >= 12
    assert CODES[code] not in text, "repeats the error tree"


def test_exit_codes_of_sections_are_those_of_a_class() -> None:
    exits = {cls.exit_code for cls in VyaError.__subclasses__()} | {1}
    assert {int(code) for code in re.findall(r"Exit code (\d+)", TROUBLES)} <= exits


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            anchors = {_anchor(title) for title in re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)}
            assert anchor in anchors, target


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_every_metric_is_described_with_its_labels() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    rows = {name: row for row in page.splitlines() for name in re.findall(r"^\| `(\w+)", row)}
    shown = {_name(family): family for family in _families()}
    assert sorted(rows) == sorted(shown)
    for name, family in shown.items():
        assert family.samples, name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        described = re.findall(r"^\| `\w+(?:\{([\w,]*)\})?`", rows[name])[0]
        assert set(filter(None, described.split(","))) == labels, name


def _name(family: Metric) -> str:
    return {"counter": f"{family.name}_total", "info": f"{family.name}_info"}.get(family.type, family.name)


def _families() -> Iterator[Metric]:
    """All families, each with at least one sample, so that its labels are seen."""
    at = datetime.now(UTC)
    live = Live(
        configured=lambda: {"mysql": 1},
        disk_usage=lambda: {"free": 1},
        missed=lambda: {"fresh": 1},
        scheduler_lag=lambda: 0.0,
        pushes=lambda: {"failed": 1},
        in_force_since=lambda: at,
    )
    metrics = Metrics("0", live)
    for name, (_, labels) in (COUNTERS | SUMMARIES).items():
        suffix = "_count" if name in SUMMARIES else ""
        metrics.count(Count(f"{name}{suffix}", dict.fromkeys(labels, "x")))
    for name in HISTOGRAMS:
        metrics.count(Count(f"{name}_count", {"database_type": "mysql", "database_id": "one"}))
    ended = {"engine": "mysql", "state": "succeeded", "size_bytes": 1}
    metrics.observe(Event("operation.finished", at, data={"kind": "backup", "instances": {"one": ended}}))
    newest = Newest("mysql", "one", "shop", at, at, 1, 1)
    metrics.figures = Figures((newest,), (Stock("mysql", "one", 1, 1, at),), Readings(at, at, 1))
    metrics.errands = Errands((Waiting("mail", 1, at),), 0, at)
    day = timedelta(days=1)
    instance = InstanceOutlook("mysql", "one", day, day, True, 2, 1, 1)
    metrics.outlook = Outlook((instance,), {("mysql", "one", "shop"): at}, day)
    yield from metrics.registry.collect()
