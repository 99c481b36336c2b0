"""What of an event goes into the audit: who, from where, what, on what, with what result. Pure."""

from __future__ import annotations

import json
from typing import Any

from vya_backupd.model.event import Event
from vya_backupd.observe.redaction import redact_value

LARGEST_FACTS = 8192
"""Bytes of JSON that the facts of one entry may have; more are counted and left out."""

_BEGINNINGS = frozenset({"operation.started", "step.started", "backup.verified"})
"""Events that say nothing that the submission or the end does not say."""
_PLACES = frozenset({"origin", "state", "error_code", "kind"})


def is_worthy(event: Event) -> bool:
    """Whether the audit has this event: all but beginnings, and steps that went well, which the operation's end counts."""
    if event.name == "step.finished":
        return event.data.get("state") != "succeeded"
    return event.name not in _BEGINNINGS


def _result(event: Event) -> str:
    if event.name == "operation.submitted":
        return "accepted"
    return str(event.data.get("state") or ("refused" if event.data.get("error_code") else "done"))


def entry_of(event: Event) -> dict[str, Any]:
    """The entry of an event: ``at``, ``event``, ``actor``, ``from``, what it is about, ``result`` and other facts."""
    data = event.data
    entry: dict[str, Any] = {
        "at": event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "event": event.name,
        "actor": event.actor,
        "from": data.get("origin") or {"client": "schedule" if event.actor == "schedule" else "daemon"},
        "operation": event.operation_id,
        "kind": data.get("kind"),
        "instance": event.instance,
        "database": event.database,
        "result": _result(event),
        "error_code": data.get("error_code"),
    }
    clean: dict[str, Any] = redact_value({key: value for key, value in entry.items() if value is not None})
    facts = redact_value({key: value for key, value in data.items() if key not in _PLACES})
    size = len(json.dumps(facts, default=str))
    if size > LARGEST_FACTS:
        facts = {"left_out_bytes": size}
    return clean | ({"facts": facts} if facts else {})
