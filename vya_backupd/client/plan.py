"""A restore's plan, as the daemon answers it, for a person to read before anything happens."""

from __future__ import annotations

from typing import Any

from vya_backupd.client import shown
from vya_backupd.client.screen import Screen

_TITLES = ("FROM", "TAKEN AT", "SIZE", "RAW", "TARGET", "THERE NOW", "ACTION")


def items(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The single restores of a plan; a plan for one database may be the item itself."""
    inner = plan.get("restores")
    return list(inner) if isinstance(inner, list) else [plan]


def show(screen: Screen, plan: dict[str, Any]) -> None:
    """The plan as a table on stderr, then its warnings."""
    entries = items(plan)
    screen.say("Plan:")
    screen.table_aside(_TITLES, [_row(item) for item in entries], right=("SIZE", "RAW"))
    seen: list[str] = []
    for item in [*entries, plan]:
        for text in item.get("warnings") or []:
            if text not in seen:
                seen.append(text)
    for text in seen:
        screen.say(f"warning: {shown.paragraphs(text)}")


def target_name(plan: dict[str, Any], request: dict[str, Any]) -> str:
    """What has to be typed back: the target database, or for a whole server the target instance."""
    if request.get("all"):
        return str(plan.get("target_instance") or request.get("target_instance") or "")
    (item, *_) = items(plan)
    return str(item.get("target_database") or request.get("target_database") or request.get("database") or "")


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    raw = item.get("backup")
    backup = raw if isinstance(raw, dict) else item
    return (
        backup.get("file") or item.get("file"),
        shown.moment(backup.get("taken_at")),
        shown.size(backup.get("size_bytes")),
        shown.size(backup.get("raw_size_bytes")),
        shown.place(item.get("target_instance"), item.get("target_database")),
        _there_now(item),
        item.get("action"),
    )


def _there_now(item: dict[str, Any]) -> str:
    if not item.get("target_exists"):
        return "nothing"
    return "an empty database" if item.get("target_empty") else "data"
