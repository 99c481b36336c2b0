"""How a finished operation is shown, and which exit code it gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from vya_backupd.client import shown
from vya_backupd.client.screen import Screen
from vya_backupd.errors import VyaError

BACKUP_TITLES = ("ID", "INSTANCE", "DATABASE", "TAKEN AT", "SIZE", "RAW", "PROOF", "HELD", "FILE")
SIZE_TITLES = ("SIZE", "RAW")
_NAMED_DETAILS = {"size_bytes": "size", "raw_size_bytes": "raw", "expected_bytes": "expected"}


def operation_of(record: dict[str, Any]) -> dict[str, Any]:
    """The operation within a result record, or the record itself where it is one."""
    inner = record.get("operation")
    return inner if isinstance(inner, dict) else record


def exit_code(record: dict[str, Any]) -> int:
    """0 succeeded, 3 partial, 130 cancelled or interrupted; a failure gives its error's code.

    A damaged file is said as such (5) whatever else went wrong. Where steps failed for different reasons, 1.
    """
    operation = operation_of(record)
    steps = record.get("steps") or operation.get("steps") or []
    codes = {int(step["error"].get("exit_code", 1)) for step in steps if step.get("error")}
    match operation.get("state"):
        case "succeeded":
            return 0
        case "cancelled" | "interrupted":
            return 130
    if operation.get("kind") == "verify" and (5 in codes or _damaged(record)):
        return 5
    if operation.get("state") == "partial":
        return 3
    if error := operation.get("error"):
        return int(error.get("exit_code", 1))
    return codes.pop() if len(codes) == 1 else 1


def report(screen: Screen, record: dict[str, Any], *, verbose: bool = False) -> int:
    """Print the result: the answer on stdout, failures and the summary on stderr. Returns the exit code."""
    if screen.is_json:
        screen.json({key: value for key, value in record.items() if key != "type"})
    else:
        restored, verified = record.get("restored") or [], record.get("verified") or []
        if not restored and not verified:
            backups_table(screen, record.get("backups") or [])
        _restored_table(screen, restored)
        _verified_table(screen, verified)
        if verbose:
            _steps_table(screen, record)
    _notes(screen, record)
    _failures(screen, record)
    if operation_of(record).get("kind") == "prune":
        _pruned(screen, record)
    screen.say(summary(record))
    return exit_code(record)


def summary(record: dict[str, Any]) -> str:
    """One line: which operation, how it ended, how long it took."""
    operation = operation_of(record)
    steps = record.get("steps") or []
    text = f"{operation.get('kind')} {operation.get('id')}: {operation.get('state')}"
    if steps:
        good = sum(step.get("state") == "succeeded" for step in steps)
        text += f", {good} of {shown.count(len(steps), 'step')}"
    span = seconds_of(operation)
    return text if span is None else f"{text} in {shown.duration(span)}"


def seconds_of(operation: dict[str, Any]) -> float | None:
    """From start to end; None while either is unknown."""
    try:
        began = datetime.fromisoformat(operation["started_at"])
        return (datetime.fromisoformat(operation["finished_at"]) - began).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def backups_table(screen: Screen, backups: list[dict[str, Any]], *, titled: bool = True) -> None:
    """Backups, one a line."""
    rows = [
        (
            backup.get("id"),
            backup.get("instance"),
            "(globals)" if backup.get("type") == "globals" else backup.get("database"),
            shown.moment(backup.get("taken_at")),
            shown.size(backup.get("size_bytes")),
            shown.size(backup.get("raw_size_bytes")),
            backup.get("proof"),
            shown.yes_no(backup.get("held")),
            backup.get("file"),
        )
        for backup in backups
    ]
    screen.table(BACKUP_TITLES, rows, right=SIZE_TITLES, titled=titled)


def _restored_table(screen: Screen, restored: list[dict[str, Any]]) -> None:
    rows = [
        (
            item.get("target_instance") or item.get("instance"),
            item.get("target_database") or item.get("database"),
            item.get("backup_id") or item.get("file"),
            shown.duration(item.get("seconds") or item.get("duration_seconds")),
        )
        for item in restored
    ]
    screen.table(("TARGET", "DATABASE", "FROM", "TIME"), rows, right=("TIME",))


def _notes(screen: Screen, record: dict[str, Any]) -> None:
    """What a restore has to tell though it went well, on stderr."""
    for item in record.get("restored") or []:
        for note in item.get("notes") or []:
            where = shown.place(item.get("instance"), item.get("database"))
            screen.say(f"note: {where}: {shown.paragraphs(str(note))}")


def _verified_table(screen: Screen, verified: list[dict[str, Any]]) -> None:
    rows = [
        (
            "ok" if item.get("ok") else "DAMAGED",
            shown.size(item.get("bytes")),
            shown.duration(item.get("seconds")),
            item.get("file"),
        )
        for item in verified
    ]
    screen.table(("RESULT", "SIZE", "TIME", "FILE"), rows, right=("SIZE", "TIME"))


def _pruned(screen: Screen, record: dict[str, Any]) -> None:
    """What retention came to; where it is switched off, that nothing went, and how that is changed."""
    if record.get("cleanup_enabled") is False:
        screen.say("nothing was deleted: storage.retention.cleanup_enabled is false")
        expiring = shown.count(record.get("would_expire") or 0, "backup")
        screen.say(f"hint:  {expiring} would expire. Set it to true and reload the daemon to have them deleted.")
        return
    if "expired" not in record:
        return  # it ended before it came to anything
    screen.say(
        f"{shown.count(record['expired'], 'backup')} deleted, {shown.size(record.get('freed_bytes'))} freed, "
        f"{record.get('kept')} stay"
    )
    for text in record.get("skipped") or []:
        screen.say(f"not deleted this time: {shown.plain(text)}")


def _steps_table(screen: Screen, record: dict[str, Any]) -> None:
    rows = [
        (step.get("instance"), step.get("database"), step.get("state"), details(step.get("detail") or {}))
        for step in record.get("steps") or []
    ]
    screen.table(("INSTANCE", "DATABASE", "STATE", "DETAIL"), rows)


def details(detail: dict[str, Any]) -> str:
    """A step's detail on one line; byte counts are made readable."""
    parts: list[str] = []
    for key, value in detail.items():
        if key.endswith("_bytes") and isinstance(value, int | float):
            parts.append(f"{_NAMED_DETAILS.get(key, key.removesuffix('_bytes'))} {shown.size(value)}")
        elif isinstance(value, list):
            parts.append(f"{key.replace('_', ' ')}: {'; '.join(_entry(item) for item in value)}" if value else "")
        elif isinstance(value, dict):
            parts.append(f"{key.replace('_', ' ')}: {_entry(value)}" if value else "")
        elif isinstance(value, bool):
            parts.append(f"{key.replace('_', ' ')}: {shown.yes_no(value)}")
        elif key.endswith("seconds") and isinstance(value, int | float):
            parts.append(f"{key.removesuffix('seconds').replace('_', ' ') or 'took '}{shown.duration(value)}")
        elif value not in (None, ""):
            parts.append(f"{key.replace('_', ' ')} {value}")
    return ", ".join(part for part in parts if part)


def _entry(item: Any) -> str:
    """One entry of a list within a detail; of an error, its message."""
    if not isinstance(item, dict):
        return str(item)
    return str(item["message"]) if "message" in item else details(item)


def _failures(screen: Screen, record: dict[str, Any]) -> None:
    """Every failure with its place and hint, on stderr."""
    for step in record.get("steps") or []:
        if step.get("error"):
            _failure(screen, step["error"], step.get("instance"), step.get("database"))
    for item in record.get("verified") or []:
        if item.get("error") and not any(step.get("error") for step in record.get("steps") or []):
            error = item["error"]
            _failure(screen, error if isinstance(error, dict) else {"message": str(error)}, item.get("file"), None)
    if error := operation_of(record).get("error"):
        _failure(screen, error, error.get("instance"), error.get("database"))


def _failure(screen: Screen, record: dict[str, Any], instance: Any, database: Any) -> None:
    error = VyaError.from_json(record)
    where = shown.place(instance, database)
    screen.say(
        f"error: {where}: {shown.paragraphs(error.message)}" if where else f"error: {shown.paragraphs(error.message)}"
    )
    if error.hint:
        screen.say(f"hint:  {shown.paragraphs(error.hint)}")


def _damaged(record: dict[str, Any]) -> bool:
    return any(not item.get("ok") for item in record.get("verified") or [])
