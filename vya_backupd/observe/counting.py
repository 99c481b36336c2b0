"""What an event adds to the totals that never fall: the one place that says what is counted.

The catalog stores these totals in the transaction of the event itself (it is given ``counts_of``), and ``metrics``
shows them. Of what operations do, only their end counts, so that nothing is counted twice, and ends by crash count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vya_backupd.catalog.ledger import Count
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind

EXECUTIONS = "vya_backup_executions"
ERRORS = "vya_backup_errors"
RESTORES = "vya_backup_restores"
FILES = "vya_backup_files_processed"
DURATION = "vya_backup_duration_seconds"
RESTORE_DURATION = "vya_backup_restore_duration_seconds"
SIZE = "vya_backup_size_bytes_summary"
EXPIRED = "vya_backups_expired"
NOTIFICATIONS = "vya_notifications"

NOWHERE = {"database_type": "none", "database_id": "none"}
"""Where an operation failed that had come to no instance yet, or is about none."""
BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0)
"""Upper bounds in seconds of the duration histograms: from a small database to a night."""

NOTIFICATION_ENDS = ("sent", "delayed", "failed")
"""What an attempt to send a message may come to: said to be received, tried again later, or given up."""

FILE_OPERATIONS = (OperationKind.BACKUP, OperationKind.RESTORE, OperationKind.VERIFY)
"""Operations that work through databases or files one by one."""

_OUTCOMES_OF_FILES = {"succeeded": "succeeded", "failed": "failed"}


def counts_of(event: Event) -> Iterator[Count]:
    """The counts of one event; none for most, and none for a dry run, which processes nothing."""
    if event.name == "backup.expired":
        yield Count(EXPIRED, {"database_id": str(event.instance)})
    noun, _, verb = event.name.partition(".")
    if noun == "notification" and verb in NOTIFICATION_ENDS:
        yield Count(NOTIFICATIONS, {"channel": str(event.data.get("channel", "unknown")), "status": verb})
    if event.name != "operation.finished" or event.data.get("dry_run"):
        return
    kind = str(event.data.get("kind", ""))
    if not event.data.get("instances") and event.data.get("error_code"):
        yield Count(ERRORS, {**NOWHERE, "error_type": str(event.data["error_code"])})
    for instance, facts in event.data.get("instances", {}).items():
        labels = {"database_type": str(facts.get("engine", "unknown")), "database_id": str(instance)}
        yield from _of_instance(kind, labels, facts)


def _of_instance(kind: str, labels: dict[str, str], facts: dict[str, Any]) -> Iterator[Count]:
    status = str(facts["state"])
    if kind == OperationKind.BACKUP:
        yield Count(EXECUTIONS, {**labels, "status": status})
        yield from _duration(DURATION, labels, facts)
        yield from _sizes(labels, facts)
    elif kind == OperationKind.RESTORE:
        yield Count(RESTORES, {**labels, "status": status})
        yield from _duration(RESTORE_DURATION, labels, facts)
    for code, number in facts.get("errors", {}).items():
        yield Count(ERRORS, {**labels, "error_type": str(code)}, number)
    for state, number in facts.get("steps", {}).items():
        if state in _OUTCOMES_OF_FILES:
            yield Count(FILES, {"operation": kind, "status": _OUTCOMES_OF_FILES[state]}, number)


def _duration(name: str, labels: dict[str, str], facts: dict[str, Any]) -> Iterator[Count]:
    seconds = float(facts.get("duration_seconds", 0.0))
    if not facts.get("steps"):
        # It failed before it had anything to do: that is an execution, and no duration of one.
        return
    for bound in BUCKETS:
        yield Count(f"{name}_bucket", {**labels, "le": str(bound)}, 1 if seconds <= bound else 0)
    yield Count(f"{name}_count", labels, 1)
    yield Count(f"{name}_sum", labels, seconds)


def _sizes(labels: dict[str, str], facts: dict[str, Any]) -> Iterator[Count]:
    made = facts.get("steps", {}).get("succeeded", 0)
    if made:
        by_type = {"database_type": labels["database_type"]}
        yield Count(f"{SIZE}_count", by_type, made)
        yield Count(f"{SIZE}_sum", by_type, float(facts.get("size_bytes", 0)))
