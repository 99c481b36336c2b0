"""Metrics as Prometheus reads them: parsed back from both formats, over restarts on the real catalog."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from tests.peers import require_peer
from vya_backupd.catalog.catalog import Catalog
from vya_backupd.catalog.figures import Figures, Newest, Stock
from vya_backupd.errors import StorageError
from vya_backupd.model.backup import BackupFacts, BackupType, Manifest, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.operation import Operation, OperationKind, State, Step
from vya_backupd.observe.counting import counts_of
from vya_backupd.observe.metrics import Metrics
from vya_backupd.observe.outlook import InstanceOutlook, Live, Outlook

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


def test_a_failure_that_is_about_no_instance_counts() -> None:
    metrics = Metrics("2.0.0")
    cut_short = {"kind": "prune", "state": "interrupted", "instances": {}, "error_code": "interrupted"}
    metrics.observe(Event("operation.finished", NOON, "o1", data=cut_short))
    nowhere = {"database_type": "none", "database_id": "none"}
    assert value(metrics, "vya_backup_errors_total", **nowhere, error_type="interrupted") == 1
    metrics.observe(
        Event("operation.finished", NOON, "o2", data={"kind": "prune", "state": "succeeded", "instances": {}})
    )
    assert value(metrics, "vya_backup_errors_total", **nowhere, error_type="interrupted") == 1


def test_a_dry_run_counts_nothing() -> None:
    metrics = Metrics("2.0.0")
    event = finished()
    event.data["dry_run"] = True
    metrics.observe(event)
    assert value(metrics, "vya_backup_executions_total", **PLACE, status="succeeded") is None
    assert value(metrics, "vya_backup_last_status", **PLACE) is None


def test_live_values_are_asked_at_each_scrape() -> None:
    running = {"backup": 1}
    live = Live(
        running=lambda: running,
        waiting=lambda: 3,
        bytes_in_progress=lambda: 4096,
        configured=lambda: {"postgresql": 2, "mysql": 0},
        disk_usage=lambda: {"free": 10},
        missed=lambda: {"fresh": 3, "covered": 0},
        scheduler_lag=lambda: 1.5,
        pushes=lambda: {"failed": 2},
        reload_well=lambda: False,
        in_force_since=lambda: NOON,
    )
    metrics = Metrics("2.0.0", live)
    assert value(metrics, "vya_operations_running", kind="backup") == 1
    assert value(metrics, "vya_operations_running", kind="restore") == 0
    running["backup"] = 2
    assert value(metrics, "vya_operations_running", kind="backup") == 2
    assert value(metrics, "vya_operations_waiting") == 3
    assert value(metrics, "vya_operations_progress_bytes") == 4096
    assert value(metrics, "vya_backup_configured_databases", database_type="postgresql") == 2
    assert value(metrics, "vya_backup_disk_usage_bytes", path_type="free") == 10
    assert value(metrics, "vya_backup_disk_usage_bytes", path_type="backups") == 0
    assert value(metrics, "vya_objectives_missed", objective="fresh") == 3
    assert value(metrics, "vya_objectives_missed", objective="covered") == 0
    assert value(metrics, "vya_scheduler_lag_seconds") == 1.5
    assert value(metrics, "vya_metrics_pushes_total", status="failed") == 2
    assert value(metrics, "vya_config_last_reload_successful") == 0
    assert value(metrics, "vya_config_last_reload_success_timestamp_seconds") == NOON.timestamp()
    assert any(name == "vya_build_info" for name, _ in samples(metrics))


def test_what_is_expected_of_an_instance_is_shown_as_far_as_it_is_known() -> None:
    metrics = Metrics("2.0.0")
    day = timedelta(days=1)
    answered = InstanceOutlook("postgresql", "pg", 1.5 * day, day, True, 9, 7, 1)
    silent = InstanceOutlook("mysql", "my", 2 * day, day, False)
    metrics.outlook = Outlook((answered, silent), {("postgresql", "pg", 'we"ird\\na\nme'): NOON}, 30 * day)
    silent_place = {"database_type": "mysql", "database_id": "my"}
    assert value(metrics, "vya_instance_reachable", **PLACE) == 1
    assert value(metrics, "vya_instance_reachable", **silent_place) == 0
    assert value(metrics, "vya_databases_discovered", **PLACE) == 9
    assert value(metrics, "vya_databases_covered", **PLACE) == 7
    assert value(metrics, "vya_databases_uncovered", **PLACE) == 1
    assert value(metrics, "vya_databases_covered", **silent_place) is None
    assert value(metrics, "vya_backup_max_age_seconds", **silent_place) == 2 * 86400
    assert value(metrics, "vya_backup_expected_interval_seconds", **PLACE) == 86400
    due = value(metrics, "vya_backup_due_timestamp_seconds", **PLACE, database='we"ird\\na\nme')
    assert due == NOON.timestamp()
    assert value(metrics, "vya_verification_interval_seconds") == 30 * 86400


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


async def test_everything_is_equal_before_and_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/catalog.db"
    catalog = Catalog(url, counting=counts_of)
    await catalog.open()
    before = Metrics("2.0.0")
    await before.fill(catalog, NOON)
    catalog.events.subscribe(before.observe)
    published = Event("backup.published", NOON, "o1", "pg", "shop")
    for hours, name, size in ((0, "b1", 70), (1, "b2", 50), (1, "b3", 60)):
        await catalog.backups.record(backup(name, NOON + timedelta(hours=hours), size), published)
    steps = (Step("pg", "shop", State.SUCCEEDED, "b1", detail={"size_bytes": 300}),)
    operation = Operation("o1", OperationKind.BACKUP, State.QUEUED, {}, NOON, "me", steps=steps)
    await catalog.operations.submit(operation, Event("operation.submitted", NOON, "o1"))
    await catalog.operations.advance("o1", State.RUNNING, event=Event("operation.started", NOON, "o1"))
    await catalog.operations.advance("o1", State.SUCCEEDED, event=finished())
    dry = finished(state="partial")
    dry.data["dry_run"] = True
    await catalog.record(dry)
    await before.freshen(catalog, NOON + timedelta(hours=2))
    await catalog.close()

    again = Catalog(url, counting=counts_of)
    await again.open()
    after = Metrics("2.0.0")
    await after.fill(again, NOON + timedelta(hours=2), ["pg", "never-backed-up"])
    await again.close()
    assert own(samples(before)) == own(samples(after))
    shop = PLACE | {"database": "shop"}
    ended = (NOON + timedelta(hours=1)).timestamp()
    assert value(after, "vya_backup_last_success_timestamp_seconds", **shop) == ended
    assert value(after, "vya_backup_newest_dump_bytes", **shop) == 60
    assert value(after, "vya_backup_previous_dump_bytes", **shop) == 50
    assert value(after, "vya_backups_stored", **PLACE) == 3
    assert value(after, "vya_backups_stored_bytes", **PLACE) == 180
    assert value(after, "vya_backups_never_verified") == 3
    assert value(after, "vya_oldest_verification_timestamp_seconds") == NOON.timestamp()
    assert value(after, "vya_backup_executions_total", **PLACE, status="succeeded") == 1
    assert value(after, "vya_backup_last_status", **PLACE) == 1


async def test_figures_are_read_again_only_when_backups_came_or_went(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.db")
    await catalog.open()
    metrics = Metrics("2.0.0")
    catalog.events.subscribe(metrics.observe)
    await metrics.fill(catalog, NOON)
    await catalog.backups.record(backup("silent", NOON), None)
    await metrics.freshen(catalog, NOON)
    assert value(metrics, "vya_backups_stored", **PLACE) is None
    await catalog.backups.record(backup("told", NOON), Event("backup.published", NOON))
    assert metrics.is_stale
    await metrics.freshen(catalog, NOON)
    assert value(metrics, "vya_backups_stored", **PLACE) == 2
    await catalog.close()
    metrics.is_stale = True
    with pytest.raises(StorageError):
        await metrics.freshen(catalog, NOON)
    assert metrics.is_stale
    assert value(metrics, "vya_backups_stored", **PLACE) == 2, "the last figures stay"


def test_promtool_has_one_complaint_only() -> None:
    metrics = Metrics("2.0.0", Live(disk_usage=lambda: {"free": 1}, pushes=lambda: {"ok": 1}, scheduler_lag=lambda: 0))
    metrics.observe(finished())
    metrics.figures = Figures(
        (Newest("postgresql", "pg", "shop", NOON, NOON, 1, 1),), (Stock("postgresql", "pg", 1, 1, NOON),)
    )
    checked = subprocess.run(
        [require_peer("promtool"), "check", "metrics"], input=metrics.render()[0], capture_output=True, check=False
    )
    complaints = checked.stdout.decode() + checked.stderr.decode()
    assert [line.split()[0] for line in complaints.splitlines()] == ["vya_backup_size_bytes_summary"], complaints


def own(shown: dict[tuple[str, frozenset[tuple[str, str]]], float]) -> dict[Any, float]:
    """Without what the process itself is."""
    return {key: number for key, number in shown.items() if not key[0].startswith("process_")}


def backup(name: str, taken_at: datetime, size: int = 1) -> StoredBackup:
    kinds = (EngineKind.POSTGRESQL, BackupType.FULL)
    facts = BackupFacts(name, "pg", "shop", *kinds, "h", taken_at, taken_at, "18", "pg_dump", 6)
    return StoredBackup(Manifest(facts, name, size, size, 1, "sha256", "ab" * 32, 1, taken_at), f"pg/{name}")
