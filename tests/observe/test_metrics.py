"""Metrics as Prometheus reads them: parsed back from both formats, over restarts on the real catalog."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from vya_backupd.catalog.catalog import Catalog
from vya_backupd.model.backup import BackupFacts, BackupType, Manifest, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.operation import Operation, OperationKind, State, Step
from vya_backupd.observe.counting import counts_of
from vya_backupd.observe.metrics import Live, Metrics

NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)
PLACE = {"database_type": "postgresql", "database_id": "pg"}


def finished(kind: str = "backup", state: str = "succeeded", **facts: Any) -> Event:
    instance = {
        "engine": "postgresql",
        "state": state,
        "steps": {"succeeded": 2},
        "size_bytes": 300,
        "duration_seconds": 7.5,
        "errors": {},
        **facts,
    }
    return Event("operation.finished", NOON, "o1", data={"kind": kind, "state": state, "instances": {"pg": instance}})


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    families = parser.text_string_to_metric_families(body.decode())
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def test_an_ended_backup_moves_every_family() -> None:
    metrics = Metrics("2.0.0")
    metrics.observe(finished())
    metrics.observe(
        finished(state="partial", steps={"succeeded": 1, "failed": 1}, errors={"stalled": 1}, size_bytes=50)
    )
    assert value(metrics, "vya_backup_executions_total", **PLACE, status="succeeded") == 1
    assert value(metrics, "vya_backup_executions_total", **PLACE, status="partial") == 1
    assert value(metrics, "vya_backup_errors_total", **PLACE, error_type="stalled") == 1
    assert value(metrics, "vya_backup_files_processed_total", operation="backup", status="succeeded") == 3
    assert value(metrics, "vya_backup_files_processed_total", operation="backup", status="failed") == 1
    assert value(metrics, "vya_backup_last_status", **PLACE) == 0
    assert value(metrics, "vya_backup_last_timestamp", **PLACE) == NOON.timestamp()
    assert value(metrics, "vya_backup_last_size_bytes", **PLACE) == 50
    assert value(metrics, "vya_backup_duration_seconds_count", **PLACE) == 2
    assert value(metrics, "vya_backup_duration_seconds_sum", **PLACE) == 15
    assert value(metrics, "vya_backup_duration_seconds_bucket", **PLACE, le="5.0") == 0
    assert value(metrics, "vya_backup_duration_seconds_bucket", **PLACE, le="15.0") == 2
    assert value(metrics, "vya_backup_duration_seconds_bucket", **PLACE, le="+Inf") == 2
    assert value(metrics, "vya_backup_size_bytes_summary_count", database_type="postgresql") == 3
    assert value(metrics, "vya_backup_size_bytes_summary_sum", database_type="postgresql") == 350


def test_restores_verifications_and_early_failures() -> None:
    metrics = Metrics("2.0.0")
    metrics.observe(finished("restore", "failed", steps={"failed": 1}, errors={"restore_failed": 1}))
    metrics.observe(finished("verify", steps={"succeeded": 4}))
    metrics.observe(finished("backup", "failed", steps={}, errors={"connection_refused": 1}, size_bytes=0))
    assert value(metrics, "vya_backup_restores_total", **PLACE, status="failed") == 1
    assert value(metrics, "vya_backup_restore_duration_seconds_count", **PLACE) == 1
    assert value(metrics, "vya_backup_files_processed_total", operation="verify", status="succeeded") == 4
    assert value(metrics, "vya_backup_executions_total", **PLACE, status="failed") == 1
    assert value(metrics, "vya_backup_errors_total", **PLACE, error_type="connection_refused") == 1
    assert value(metrics, "vya_backup_duration_seconds_count", **PLACE) is None
    assert value(metrics, "vya_backup_last_status", **PLACE) == 0


def test_a_dry_run_counts_nothing() -> None:
    metrics = Metrics("2.0.0")
    event = finished()
    event.data["dry_run"] = True
    metrics.observe(event)
    assert value(metrics, "vya_backup_executions_total", **PLACE, status="succeeded") is None
    assert value(metrics, "vya_backup_last_status", **PLACE) is None


def test_steps_give_the_last_success_of_each_database() -> None:
    metrics = Metrics("2.0.0")
    step = {"kind": "backup", "state": "succeeded", "engine": "postgresql"}
    metrics.observe(Event("step.finished", NOON, "o1", "pg", 'we"ird\\na\nme', data=step))
    metrics.observe(Event("step.finished", NOON, "o1", "pg", "bad", data={**step, "state": "failed"}))
    metrics.observe(Event("step.finished", NOON, "o2", "pg", "x", data={**step, "kind": "verify"}))
    name = "vya_backup_last_success_timestamp_seconds"
    assert value(metrics, name, **PLACE, database='we"ird\\na\nme') == NOON.timestamp()
    assert value(metrics, name, **PLACE, database="bad") is None
    assert value(metrics, "vya_last_verification_timestamp_seconds") == NOON.timestamp()


def test_live_values_are_asked_at_each_scrape() -> None:
    running = {"backup": 1}
    live = Live(
        running=lambda: running,
        waiting=lambda: 3,
        bytes_in_progress=lambda: 4096,
        configured=lambda: {"postgresql": 2, "mysql": 0},
        disk_usage=lambda: {"free": 10},
    )
    metrics = Metrics("2.0.0", live)
    metrics.set_coverage("postgresql", "pg", 9, 7)
    assert value(metrics, "vya_operations_running", kind="backup") == 1
    assert value(metrics, "vya_operations_running", kind="restore") == 0
    running["backup"] = 2
    assert value(metrics, "vya_operations_running", kind="backup") == 2
    assert value(metrics, "vya_operations_waiting") == 3
    assert value(metrics, "vya_operations_progress_bytes") == 4096
    assert value(metrics, "vya_backup_configured_databases", database_type="postgresql") == 2
    assert value(metrics, "vya_backup_disk_usage_bytes", path_type="free") == 10
    assert value(metrics, "vya_databases_discovered", **PLACE) == 9
    assert value(metrics, "vya_databases_covered", **PLACE) == 7
    assert any(name == "vya_build_info" for name, _ in samples(metrics))


def test_openmetrics_parses_with_every_family() -> None:
    metrics = Metrics("2.0.0")
    metrics.observe(finished())
    body, content_type = metrics.render(openmetrics=True)
    assert content_type.startswith("application/openmetrics-text")
    parsed = openmetrics_parser.text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    families = {family.name: family.type for family in parsed}
    assert families["vya_backup_executions"] == "counter"
    assert families["vya_backup_errors"] == "counter"
    assert families["vya_backup_restores"] == "counter"
    assert families["vya_backup_files_processed"] == "counter"
    assert families["vya_backup_duration_seconds"] == "histogram"
    assert families["vya_backup_restore_duration_seconds"] == "histogram"
    assert families["vya_backup_size_bytes_summary"] == "summary"
    for name in ("last_status", "last_timestamp", "last_size_bytes", "configured_databases", "disk_usage_bytes"):
        assert families[f"vya_backup_{name}"] == "gauge"


async def test_a_restart_never_makes_a_counter_fall(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/catalog.db"
    catalog = Catalog(url, counting=counts_of)
    await catalog.open()
    before = Metrics("2.0.0")
    catalog.events.subscribe(before.observe)
    steps = (Step("pg", "a", State.SUCCEEDED, "b1", detail={"size_bytes": 300}),)
    operation = Operation("o1", OperationKind.BACKUP, State.QUEUED, {}, NOON, "me", steps=steps)
    await catalog.operations.submit(operation, Event("operation.submitted", NOON, "o1"))
    await catalog.operations.advance("o1", State.RUNNING, event=Event("operation.started", NOON, "o1"))
    await catalog.operations.advance("o1", State.SUCCEEDED, event=finished())
    await catalog.close()
    assert value(before, "vya_backup_executions_total", **PLACE, status="succeeded") == 1

    again = Catalog(url, counting=counts_of)
    await again.open()
    for hours, name in ((0, "b1"), (1, "b2"), (1, "b3")):
        await again.backups.record(backup(name, NOON + timedelta(hours=hours)), None)
    assert [each.id for each in await again.backups.newest_each()] == ["b3"]
    assert await again.backups.newest_each("other") == []
    after = Metrics("2.0.0")
    await after.fill(again)
    await again.close()
    success = ("vya_backup_last_success_timestamp_seconds", frozenset({**PLACE, "database": "shop"}.items()))
    assert samples(after).pop(success) == (NOON + timedelta(hours=1)).timestamp()
    assert {**samples(before), success: samples(after)[success]} == samples(after)


def backup(name: str, taken_at: datetime) -> StoredBackup:
    kinds = (EngineKind.POSTGRESQL, BackupType.FULL)
    facts = BackupFacts(name, "pg", "shop", *kinds, "h", taken_at, taken_at, "18", "pg_dump", 6)
    return StoredBackup(Manifest(facts, name, 1, 1, 1, "sha256", "ab" * 32, 1, taken_at), f"pg/{name}")


def test_what_the_catalog_holds_is_shown_at_start() -> None:
    plain = backup("b", NOON)
    stored = replace(plain, manifest=replace(plain.manifest, verified_at=NOON))
    metrics = Metrics("2.0.0")
    metrics.load([], [], [stored], lambda _: "postgresql")
    success = value(metrics, "vya_backup_last_success_timestamp_seconds", **PLACE, database="shop")
    assert success == NOON.timestamp()
    assert value(metrics, "vya_last_verification_timestamp_seconds") == NOON.timestamp()


@pytest.mark.parametrize("name", ["operation.started", "step.finished", "backup.published"])
def test_only_ends_of_operations_count(name: str) -> None:
    assert list(counts_of(Event(name, NOON, data=finished().data))) == []
