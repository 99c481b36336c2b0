"""The records that cross the control socket, shared by daemon and client.

JSON objects throughout. Times are UTC with a ``Z``; sizes are bytes; durations are seconds. A reader ignores keys that
it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vya_backupd.errors import UsageError
from vya_backupd.model.backup import Extent, Hold, StoredBackup
from vya_backupd.model.operation import Operation, OperationKind, Progress, State, Step, is_final

Record = dict[str, Any]


def format_time(time: datetime) -> str:
    """``2026-01-09T10:00:00Z``, with microseconds only where there are some."""
    return time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def parse_time(text: str) -> datetime:
    """The aware UTC datetime of a record's time.

    Raises:
        UsageError: this is no ISO 8601 time with an offset.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise UsageError(f"{text!r} is not a time with an offset", hint="write it like 2026-01-09T10:00:00Z")
    return time.astimezone(UTC)


def place_of(record: Record) -> str:
    """Where in the list of all backups this record's stands: a page may begin after it, be it gone by then or not."""
    return f"{record['taken_at']} {record['id']}"


def parse_place(text: str) -> tuple[datetime, str]:
    """The snapshot's time and the id that ``place_of`` wrote down. Raises UsageError."""
    time, _, backup_id = text.partition(" ")
    return parse_time(time), backup_id


def _time_or_none(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)


def step_record(step: Step) -> Record:
    """One database's part of an operation."""
    return {
        "instance": step.instance,
        "database": step.database,
        "state": str(step.state),
        "backup_id": step.backup_id,
        "error": step.error,
        "detail": step.detail,
    }


def operation_record(operation: Operation) -> Record:
    """An operation without its steps."""
    return {
        "id": operation.id,
        "kind": str(operation.kind),
        "state": str(operation.state),
        "submitted_at": format_time(operation.submitted_at),
        "submitted_by": operation.submitted_by,
        "key": operation.key,
        "started_at": _time_or_none(operation.started_at),
        "finished_at": _time_or_none(operation.finished_at),
        "attempt": operation.attempt,
        "request": operation.request,
        "error": operation.error,
    }


def hold_record(hold: Hold | None) -> Record | None:
    """Who keeps a backup from deletion, why, and until when."""
    if hold is None:
        return None
    return {"note": hold.note, "by": hold.by, "at": format_time(hold.at), "until": _time_or_none(hold.until)}


def backup_record(stored: StoredBackup, base_path: Path | None = None) -> Record:
    """A backup as lists show it. ``file`` is absolute when the base path is given."""
    manifest, facts = stored.manifest, stored.manifest.facts
    return {
        "id": facts.id,
        "instance": facts.instance,
        "database": facts.database,
        "type": str(facts.type),
        "file": str(base_path / stored.path) if base_path else stored.path,
        "size_bytes": manifest.size_bytes,
        "raw_size_bytes": manifest.raw_size_bytes,
        "checksum": manifest.checksum,
        "duration_seconds": manifest.duration_seconds,
        "taken_at": format_time(facts.taken_at),
        "proof": str(manifest.proof),
        "held": manifest.hold is not None,
    }


def backup_detail(stored: StoredBackup, base_path: Path | None = None) -> Record:
    """A backup as ``backups show`` shows it: the record of lists and everything else that the manifest knows."""
    manifest, facts = stored.manifest, stored.manifest.facts
    return {
        **backup_record(stored, base_path),
        "engine": str(facts.engine),
        "hostname": facts.hostname,
        "server_version": facts.server_version,
        "tool": facts.tool,
        "codec": str(facts.codec),
        "compression_level": facts.compression_level,
        "started_at": format_time(facts.started_at),
        "finished_at": format_time(manifest.finished_at),
        "verified_at": _time_or_none(manifest.verified_at),
        "checksum_algorithm": manifest.checksum_algorithm,
        "members": manifest.members,
        "tables_count": manifest.schema_info.tables_count,
        "views_count": manifest.schema_info.views_count,
        "procedures_count": manifest.schema_info.procedures_count,
        "schema_hash": manifest.schema_info.schema_hash,
        "properties": facts.properties,
        "warnings": list(manifest.warnings),
        "hold": hold_record(manifest.hold),
    }


def object_records(extents: Iterable[Extent]) -> list[Record]:
    """What a backup holds, the largest first: each object with its sizes in the file and as text, and rows if counted.

    ``sections`` has the same for each section that the object is in: definition, rows, triggers and the like.
    """
    found: dict[str, dict[str, Record]] = {}
    for extent in extents:
        section = extent.section.name.lower()
        part = {"size_bytes": extent.size, "raw_size_bytes": extent.raw_size, "rows": extent.rows, "extents": 1}
        before = found.setdefault(extent.name, {}).get(section)
        found[extent.name][section] = part if before is None else _added(before, part)
    records = [_object_record(name, sections) for name, sections in found.items()]
    return sorted(records, key=lambda record: (-int(record["raw_size_bytes"]), str(record["name"])))


def _object_record(name: str, sections: dict[str, Record]) -> Record:
    sizes = {key: sum(int(part[key]) for part in sections.values()) for key in ("size_bytes", "raw_size_bytes")}
    return {"name": name, **sizes, "rows": sections.get("data", {}).get("rows"), "sections": sections}


def _added(one: Record, other: Record) -> Record:
    unknown = one["rows"] is None or other["rows"] is None
    return {key: None if key == "rows" and unknown else one[key] + other[key] for key in one}


_LISTS_OF_RESULTS = {OperationKind.RESTORE: "restored", OperationKind.VERIFY: "verified"}


def result_record(operation: Operation, backups: Iterable[StoredBackup] = (), base_path: Path | None = None) -> Record:
    """An operation with its steps and the backups that it made or used: what a client prints when it has ended.

    A restore and a verification add the list that their handler left in the result under ``restored`` or ``verified``;
    any other key of the result is handed on as it is.
    """
    record = {
        "operation": operation_record(operation),
        "steps": [step_record(step) for step in operation.steps],
        "backups": [backup_record(stored, base_path) for stored in backups],
    }
    extra = _LISTS_OF_RESULTS.get(operation.kind)
    defaults: Record = {extra: []} if extra else {}
    return {**defaults, **operation.result, **record}


def progress_record(progress: Progress) -> Record:
    """How far one step is, in bytes of dump."""
    return {
        "instance": progress.instance,
        "database": progress.database,
        "phase": progress.phase,
        "bytes_done": progress.bytes_done,
        "expected_bytes": progress.expected_bytes,
        "bytes_written": progress.bytes_written,
        "message": progress.message,
    }


def watch_line(update: Operation | Step | Progress, ahead: Iterable[Operation] = ()) -> Record:
    """One line of a watch before its last: its ``type`` and what moved; ``ahead`` are those for which it waits."""
    if isinstance(update, Progress):
        return {"type": "progress", **progress_record(update)}
    if isinstance(update, Step):
        return {"type": "step", **step_record(update)}
    return {
        "type": "operation",
        "operation": operation_record(update),
        "steps": [step_record(step) for step in update.steps],
        "behind": [{"id": each.id, "kind": str(each.kind)} for each in ahead],
    }


def finished_line(operation: Operation, backups: Iterable[StoredBackup] = (), base_path: Path | None = None) -> Record:
    """The last line of a watch: the result record."""
    return {"type": "finished", **result_record(operation, backups, base_path)}


def is_last(update: object) -> bool:
    """Whether an update of a watch is an operation that has ended."""
    return isinstance(update, Operation) and is_final(update.state)


def exit_code_of(record: Record) -> int:
    """The exit code that a result record stands for: 0 all well, 3 some steps failed, else that of the error."""
    state = State(record["operation"]["state"])
    if state is State.SUCCEEDED:
        return 0
    if state is State.PARTIAL:
        return 3
    if state in {State.CANCELLED, State.INTERRUPTED}:
        return 130
    errors = [record["operation"].get("error"), *(step.get("error") for step in record["steps"])]
    codes = {int(error.get("exit_code", 1)) for error in errors if error}
    return codes.pop() if len(codes) == 1 else 1
