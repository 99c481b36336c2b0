"""The records: keys that clients rely on, and times both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from vya_backupd.api import wire
from vya_backupd.errors import IntegrityError, ServerError, UsageError
from vya_backupd.model.backup import BackupFacts, BackupType, Hold, Manifest, StoredBackup
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.operation import Operation, OperationKind, Progress, State, Step

NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)


def stored(hold: Hold | None = None) -> StoredBackup:
    facts = BackupFacts(
        "b1", "pg", "shop", EngineKind.POSTGRESQL, BackupType.FULL, "host", NOON, NOON, "18.6", "pg_dump 18.6", 6
    )
    return StoredBackup(
        Manifest(facts, "f.sql.gz", 10, 40, 3, "sha256", "ab" * 32, 1.5, NOON, hold=hold), "pg/f.sql.gz"
    )


def operation(state: State, kind: OperationKind = OperationKind.BACKUP, **changes: object) -> Operation:
    step = Step("pg", "shop", State.SUCCEEDED, "b1")
    return Operation("o1", kind, state, {}, NOON, "me(1)", NOON, NOON, steps=(step,), **changes)  # type: ignore[arg-type]


def test_the_record_of_a_backup_has_the_promised_keys() -> None:
    assert wire.backup_record(stored(), Path("/srv")) == {
        "id": "b1",
        "instance": "pg",
        "database": "shop",
        "type": "full",
        "file": "/srv/pg/f.sql.gz",
        "size_bytes": 10,
        "raw_size_bytes": 40,
        "checksum": "ab" * 32,
        "duration_seconds": 1.5,
        "taken_at": "2026-01-09T12:00:00Z",
        "proof": "complete",
        "held": False,
    }
    held = wire.backup_detail(stored(Hold("audit", "me", NOON, NOON)))
    assert (held["held"], held["hold"]["until"]) == (True, "2026-01-09T12:00:00Z")


def test_the_result_of_an_operation() -> None:
    record = wire.result_record(operation(State.SUCCEEDED), [stored()])
    assert {"id", "kind", "state", "started_at", "finished_at"} <= set(record["operation"])
    assert {"instance", "database", "state", "backup_id", "error"} <= set(record["steps"][0])
    assert [backup["id"] for backup in record["backups"]] == ["b1"]
    verified = [{"file": "f", "ok": True}]
    verify = operation(State.SUCCEEDED, OperationKind.VERIFY, result={"verified": verified, "steps": "not mine"})
    assert wire.finished_line(verify)["verified"] == verified
    assert isinstance(wire.finished_line(verify)["steps"], list)
    assert wire.result_record(operation(State.FAILED, OperationKind.RESTORE))["restored"] == []


def test_lines_of_a_watch_name_their_type() -> None:
    progress = Progress("o1", "pg", "shop", "dump", 5, 10)
    lines = [wire.watch_line(update) for update in (operation(State.RUNNING), Step("pg", "shop"), progress)]
    assert [line["type"] for line in lines] == ["operation", "step", "progress"]
    assert (lines[2]["bytes_done"], lines[2]["expected_bytes"]) == (5, 10)
    assert wire.is_last(operation(State.PARTIAL))
    assert not wire.is_last(operation(State.RUNNING))
    assert not wire.is_last(progress)


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [
        (State.SUCCEEDED, None, 0),
        (State.PARTIAL, None, 3),
        (State.CANCELLED, None, 130),
        (State.INTERRUPTED, None, 130),
        (State.FAILED, ServerError("x"), 1),
        (State.FAILED, IntegrityError("x"), 5),
    ],
)
def test_exit_codes(state: State, error: ServerError | None, code: int) -> None:
    record = wire.result_record(operation(state, error=error.to_json() if error else None))
    assert wire.exit_code_of(record) == code


def test_times() -> None:
    east = datetime(2026, 1, 9, 14, 0, 0, 5000, timezone(timedelta(hours=2)))
    assert wire.format_time(east) == "2026-01-09T12:00:00.005000Z"
    assert wire.parse_time(wire.format_time(east)) == east
    for text in ("2026-01-09T12:00:00", "yesterday", ""):
        with pytest.raises(UsageError):
            wire.parse_time(text)
