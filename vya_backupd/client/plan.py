"""A restore's plan, as the daemon answers it, for a person to read before anything happens."""

from __future__ import annotations

from typing import Any

from vya_backupd.client import shown
from vya_backupd.client.screen import Screen

_TITLES = ("FROM", "TAKEN AT", "SIZE", "RAW", "TO", "THERE NOW")


def show(screen: Screen, plan: dict[str, Any]) -> None:
    """The restores as a table on stderr, then what will be done for each, then the doubts."""
    restores = plan["restores"]
    screen.say("Plan:")
    screen.table_aside(_TITLES, [_row(item) for item in restores], right=("SIZE", "RAW"))
    for item in restores:
        screen.say(f"{_target(item)}:")
        for number, action in enumerate(item.get("actions") or (), 1):
            screen.say(f"  {number}. {shown.plain(action)}")
    for item in restores:
        for text in item.get("warnings") or ():
            screen.say(f"warning: {_target(item)}: {shown.paragraphs(text)}")


def overwritten(plan: dict[str, Any], request: dict[str, Any]) -> str | None:
    """The name that has to be typed back: the database or table that is replaced, or for a whole server its instance."""
    replaced = [item for item in plan["restores"] if item.get("overwrite")]
    if not replaced:
        return None
    target = replaced[0]["target"]
    return str(target["instance"] if request["all"] else replaced[0].get("confirmed_by") or target["database"])


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    return (
        item.get("file"),
        shown.moment(item.get("taken_at")),
        shown.size(item.get("size_bytes")),
        shown.size(item.get("raw_size_bytes")),
        _target(item),
        _there_now(item["target"]),
    )


def _target(item: dict[str, Any]) -> str:
    return shown.place(item["target"].get("instance"), item["target"].get("database"))


def _there_now(target: dict[str, Any]) -> str:
    if not target.get("exists"):
        return "nothing"
    return shown.count(int(target["objects"]), "object") if target.get("objects") else "an empty database"
