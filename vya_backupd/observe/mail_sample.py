"""Made-up facts for each kind of mail, with everything in them that a template may use: for checking templates."""

from __future__ import annotations

from typing import Any

_AT = "2026-01-09T05:00:00+00:00"
_EARLIER = "2026-01-08T05:00:00+00:00"
_SITE = {"name": "VYA BackupDB", "hostname": "site-a", "environment": "production"}
_ERROR = {"code": "connection_refused", "message": "nobody listens on 10.0.0.5:5432", "hint": "Is the server up?"}


def of(role: str) -> list[dict[str, Any]]:
    """The variables of a mail of this kind, with everything there and with as little as there may be."""
    common = {"site": _SITE, "now": _AT}
    event: dict[str, Any] = {
        "name": "slot.missed",
        "at": _AT,
        "actor": "daemon",
        "data": {"reason": "the daemon was down"},
    }
    event |= {"operation_id": None, "instance": "prod-pg", "database": None}
    if role == "digest":
        reports = [_report("failed"), _report("partial", bare=True), {"event": event}]
        return [common | {"reports": reports, "subject": "3 failures and alerts"}]
    if role == "alert":
        return [common | {"event": event, "subject": "slot.missed"}]
    if role == "test":
        return [common | {"actor": "anna", "subject": "test"}]
    states = ("succeeded",) if role == "success" else ("failed", "partial", "interrupted", "cancelled")
    return [
        common | {"subject": f"backup {state}", **_report(state, bare=bare)}
        for state in states
        for bare in (False, True)
    ]


def _report(state: str, *, bare: bool = False) -> dict[str, Any]:
    failed = state != "succeeded"
    steps = [] if bare else [_step("shop", state), _step("@globals", "succeeded")]
    numbers = dict.fromkeys(("queued", "running", "succeeded", "partial", "failed", "cancelled", "interrupted"), 0)
    facts = {"engine": "postgresql", "state": state, "duration_seconds": 12.5, "size_bytes": 2048, "steps": {}}
    return {
        "operation": {
            "id": "20260109-050000-abcdef",
            "kind": "backup",
            "state": state,
            "actor": "daemon",
            "attempt": 1,
            "submitted_at": _AT,
            "started_at": _AT,
            "finished_at": _AT,
            "duration_seconds": 12.5,
            "error": _ERROR if failed and bare else None,
        },
        "instances": {} if bare else {"prod-pg": facts | {"errors": {}}},
        "counts": numbers | {state: 1, "all": len(steps)},
        "steps": steps,
        "more_steps": 0 if bare else 3,
        "size_bytes": 2048,
        "previous": None if bare else {"id": "x", "finished_at": _EARLIER, "duration_seconds": 11, "size_bytes": 2000},
        "protected": {"databases": 0 if bare else 2, "oldest_at": None if bare else _EARLIER},
        "next": ["vyactl status"],
    }


def _step(database: str, state: str) -> dict[str, Any]:
    failed = state != "succeeded"
    return {
        "instance": "prod-pg",
        "database": database,
        "state": state,
        "backup_id": None if failed else "abc",
        "error": _ERROR if failed else None,
        "size_bytes": None if failed else 2048,
        "previous_size_bytes": None if failed else 1024,
        "warnings": ["a table was skipped"],
        "last_good_at": _EARLIER,
    }
