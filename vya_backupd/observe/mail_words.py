"""How values look in mails: the filters that templates have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from vya_backupd.dumpfile.manifest import human_size
from vya_backupd.model.backup import GLOBALS_NAME
from vya_backupd.observe.notify_facts import EVERYTHING


def filters(zone: tzinfo) -> dict[str, Callable[..., Any]]:
    """All filters by name; moments are shown in this time zone."""

    def when(value: str | None) -> str:
        if not value:
            return "never"
        moment = datetime.fromisoformat(value).astimezone(zone)
        return f"{moment:%Y-%m-%d %H:%M:%S} {moment:%Z}"

    return {"when": when, "size": size, "span": span, "age": age, "change": change, "database": database}


def size(value: float | None) -> str:
    """Bytes for people; ``-`` where unknown."""
    return "-" if value is None else human_size(int(value))


def span(seconds: float | None) -> str:
    """Seconds for people: ``42 s``, ``3 min 5 s``, ``2 h 7 min``, ``3 d 4 h``; ``-`` where unknown."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for unit, length, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def age(value: str | None, now: str) -> str:
    """How long ago a moment was at ``now``."""
    if not value:
        return "-"
    return span((datetime.fromisoformat(now) - datetime.fromisoformat(value)).total_seconds())


def change(value: float | None, before: float | None) -> str:
    """How a value compares with an earlier one: ``+12 %``, ``-50 %``, ``same``; empty where there is none."""
    if value is None or not before:
        return ""
    percent = round(100 * (value - before) / before)
    return f"{percent:+d} %" if percent else "same"


def database(name: str) -> str:
    """A database's name as people know it."""
    return {GLOBALS_NAME: "users and roles", EVERYTHING: "all databases"}.get(name, name)


def printable(value: Any) -> Any:
    """Text without control characters but the ends of lines: a name may hold anything."""
    if not isinstance(value, str) or all(char.isprintable() or char == "\n" for char in value):
        return value
    return type(value)("".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in value))
