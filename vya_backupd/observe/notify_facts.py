"""What a person, or a program, is told of an operation that ended: a record of plain JSON values.

Made once, when the operation has ended, and kept with the letters: so a mail that is tried again says the same, whatever
has been deleted since.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from vya_backupd.catalog.recency import RecentBackup
from vya_backupd.config.schema import Application
from vya_backupd.model.backup import GLOBALS_NAME
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, State, Step, is_final

MOST_STEPS = 200
"""Databases that a record lists one by one, the failed ones first."""
EVERYTHING = "*"
"""The database of a step that stands for all of a server, which could not be asked which ones it has."""
_MOST_WARNINGS = 5
_MOST_NAMED = 10
_LONGEST = 1500
"""Characters of one message of an error; a tool may have said much more, and the log has it."""

Record = dict[str, Any]
Place = tuple[str, str]


def site_record(application: Application) -> Record:
    """Which installation speaks."""
    return {
        "name": application.name,
        "hostname": application.hostname,
        "environment": application.environment,
    }


def event_record(event: Event) -> Record:
    """An event by itself."""
    return {
        "name": event.name,
        "at": event.at.isoformat(),
        "operation_id": event.operation_id,
        "instance": event.instance,
        "database": event.database,
        "actor": event.actor,
        "data": event.data,
    }


def operation_report(
    event: Event, operation: Operation, recent: Iterable[RecentBackup] = (), before: Operation | None = None
) -> Record:
    """The record of an operation that ended with this event.

    ``recent`` has the two newest backups of each database of its instances; ``before`` is the run to compare it with.
    """
    state = State(str(event.data.get("state", operation.state)))
    by_place: dict[Place, list[RecentBackup]] = {}
    for backup in recent:
        by_place.setdefault((backup.instance, backup.database), []).append(backup)
    steps = [_step_record(each, state, _backups_for(each, by_place)) for each in operation.steps]
    steps.sort(key=lambda each: each["state"] == State.SUCCEEDED)
    counts = Counter(each["state"] for each in steps)
    return {
        "operation": _operation_record(operation, state, event.at),
        "instances": event.data.get("instances", {}),
        "counts": {str(each): counts[str(each)] for each in State} | {"all": len(steps)},
        "steps": steps[:MOST_STEPS],
        "more_steps": max(0, len(steps) - MOST_STEPS),
        "size_bytes": sum(each["size_bytes"] or 0 for each in steps),
        "previous": _previous_record(before),
        "protected": _protected(by_place),
        "next": list(_next_commands(operation, state, steps)),
    }


def _operation_record(operation: Operation, state: State, ended: datetime) -> Record:
    began = operation.started_at or operation.submitted_at
    return {
        "id": operation.id,
        "kind": str(operation.kind),
        "state": str(state),
        "actor": operation.submitted_by,
        "attempt": operation.attempt,
        "submitted_at": operation.submitted_at.isoformat(),
        "started_at": began.isoformat(),
        "finished_at": ended.isoformat(),
        "duration_seconds": round((ended - began).total_seconds(), 3),
        "error": error_record(operation.error),
    }


def _backups_for(step: Step, by_place: dict[Place, list[RecentBackup]]) -> Sequence[RecentBackup]:
    """The newest backups of a step's database; of a whole server those of the database that is worst off."""
    if step.database != EVERYTHING:
        return by_place.get((step.instance, step.database), [])
    of_server = [
        backups
        for (instance, database), backups in by_place.items()
        if instance == step.instance and database != GLOBALS_NAME
    ]
    return min(of_server, key=lambda backups: backups[0].taken_at, default=[])


def _step_record(step: Step, end: State, backups: Sequence[RecentBackup]) -> Record:
    """One database. ``last_good_at`` is when the snapshot was taken that it could be restored from now."""
    older = [each for each in backups if each.id != step.backup_id]
    size = step.detail.get("size_bytes")
    return {
        "instance": step.instance,
        "database": step.database,
        "state": str(step.state if is_final(step.state) else end),
        "backup_id": step.backup_id,
        "error": error_record(step.error),
        "size_bytes": size,
        "previous_size_bytes": older[0].size_bytes if older and size is not None else None,
        "warnings": [str(each)[:_LONGEST] for each in step.detail.get("warnings", [])[:_MOST_WARNINGS]],
        "last_good_at": backups[0].taken_at.isoformat() if backups else None,
    }


def error_record(error: Record | None) -> Record | None:
    """An error's code, message and hint, none of them endless."""
    if error is None:
        return None
    return {key: str(error.get(key) or "")[:_LONGEST] for key in ("code", "message", "hint")}


def _previous_record(before: Operation | None) -> Record | None:
    if before is None or before.finished_at is None or before.started_at is None:
        return None
    return {
        "id": before.id,
        "finished_at": before.finished_at.isoformat(),
        "duration_seconds": round((before.finished_at - before.started_at).total_seconds(), 3),
        "size_bytes": sum(int(each.detail.get("size_bytes", 0)) for each in before.steps),
    }


def _protected(by_place: dict[Place, list[RecentBackup]]) -> Record:
    """How many databases have a backup, and how old the oldest of the newest ones is; users of servers count for that.

    So a mail and the status page name the same number.
    """
    newest = [backups[0].taken_at for backups in by_place.values()]
    databases = sum(database != GLOBALS_NAME for _, database in by_place)
    return {"databases": databases, "oldest_at": min(newest).isoformat() if newest else None}


def _next_commands(operation: Operation, state: State, steps: list[Record]) -> Iterable[str]:
    """What to type next, for the person who reads this at night."""
    if state is State.SUCCEEDED:
        yield f"vyactl operations show {operation.id}"
        return
    yield f"vyactl operations show {operation.id}"
    failed: dict[str, list[str]] = {}
    for step in steps:
        if step["state"] != State.SUCCEEDED:
            failed.setdefault(step["instance"], []).append(step["database"])
    if operation.kind in {OperationKind.BACKUP, OperationKind.VERIFY}:
        for instance, databases in list(failed.items())[:5]:
            yield f"vyactl backup --instance {shlex.quote(instance)}{_option(databases)}"
    elif operation.kind is OperationKind.PRUNE:
        yield "vyactl retention plan"
    yield "vyactl status"


def _option(databases: Sequence[str]) -> str:
    """Which databases of a server; nothing for many, and where one of them is none that a command could name."""
    if len(databases) > _MOST_NAMED or {EVERYTHING, GLOBALS_NAME} & set(databases):
        return ""
    names = ",".join(each.replace(",", "\\,") for each in databases)
    return f" --database {shlex.quote(names)}"


def same_places(one: Operation, other: Operation) -> bool:
    """Whether two operations worked on the same instances."""
    return {each.instance for each in one.steps} == {each.instance for each in other.steps}
