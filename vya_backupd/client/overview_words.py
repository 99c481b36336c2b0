"""The words of the status page: its headline, ages, and what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from vya_backupd.client import shown

_GLOBALS = "@globals"
"""How the users of a server are called where a database's name stands."""
_COMING = 3
_DAY = 86400

Record = dict[str, Any]


def headline(record: Record, now: datetime) -> tuple[str, str]:
    """The mood, and the one line that an operator reads: protected, or why not."""
    enabled = [each for each in record.get("instances") or () if each.get("enabled", True)]
    phase = record.get("phase")
    if phase not in ("running", None):
        return "neutral", f"{str(phase).upper():<12}the daemon is {shown.plain(phase)}"
    if reasons := record.get("reasons") or ():
        return "bad", f"{'DEGRADED':<12}{_counted(reasons)}"
    if not enabled:
        return "neutral", f"{'IDLE':<12}no server is configured: nothing is backed up"
    if awaited := sum(len(each.get("awaited") or ()) for each in enabled):
        begin = coming(record, now)
        return "neutral", f"{'WAITING':<12}{awaited} without a backup yet" + (f"; next {begin}" if begin else "")
    servers, covered = len(enabled), sum(each.get("covered") or 0 for each in enabled)
    ages = [each["oldest_at"] for each in enabled if each.get("oldest_at")]
    if not covered:
        return "neutral", f"{'WAITING':<12}no database that is to be backed up is known yet"
    oldest = f", the oldest backup {age(min(ages), now)} old" if ages else ""
    return "good", f"{'PROTECTED':<12}{shown.count(covered, 'database')} on {shown.count(servers, 'server')}{oldest}"


def _counted(reasons: Any) -> str:
    """What is wrong, in a few words."""
    words = {
        "fresh": ("database without a backup in time", "databases without a backup in time"),
        "covered": ("database that nobody backs up", "databases that nobody backs up"),
        "writable": ("failed check of storage or catalog", "failed checks of storage and catalog"),
        "notified": ("message that did not go out", "messages that did not go out"),
        "audited": ("audit that is not written", "audits that are not written"),
        "mirrored": ("sync folder that lacks backups", "sync folders that lack backups"),
    }
    totals: dict[str, int] = {}
    for each in reasons:
        totals[each["objective"]] = totals.get(each["objective"], 0) + each["count"]
    parts = [
        shown.count(number, *words[objective]) if objective in words else f"{objective} overdue"
        for objective, number in totals.items()
    ]
    return ", ".join(parts)


def age(taken_at: str | None, now: datetime) -> str:
    """How long ago: ``45 min``, ``3 h 10 min``, ``2 d 04 h``."""
    if not taken_at:
        return "-"
    seconds = max((now - datetime.fromisoformat(taken_at)).total_seconds(), 0.0)
    if seconds >= _DAY:
        return f"{int(seconds // _DAY)} d {int(seconds % _DAY // 3600):02} h"
    return (
        f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02} m" if seconds >= 3600 else f"{int(seconds // 60)} min"
    )


def span(seconds: float | None) -> str:
    """A limit: ``36 h``, ``2.5 d``."""
    if seconds is None:
        return "-"
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:g} d" if seconds % _DAY == 0 else f"{seconds / _DAY:.1f} d"
    return f"{seconds / 3600:.3g} h" if seconds >= 3600 else f"{seconds / 60:.3g} min"


def database(name: str | None) -> str | None:
    """A database's name, or words where it stands for the users of a server."""
    return "users and grants" if name == _GLOBALS else name


def databases(instance: Record) -> str:
    """How many of a server's databases have a backup that is young enough: ``11 of 12``."""
    covered, uncovered = instance.get("covered") or 0, len(instance.get("uncovered") or ())
    lacking = [each for each in (*instance.get("overdue", ()), *instance.get("awaited", ())) if each != _GLOBALS]
    return f"{max(covered - len(lacking), 0)} of {covered + uncovered}"


def next_start(schedule: Mapping[str, Any] | None, now: datetime) -> str:
    """When a server's next backup begins: the hour if it is near, else the date as well."""
    if schedule is None:
        return "-"
    if not schedule.get("next_start"):
        return str(schedule.get("state") or "-")
    start = datetime.fromisoformat(schedule["next_start"])
    near = start - now < timedelta(hours=20)
    # All other times of the page are those of the caller's zone: one of another zone says so.
    zone = "" if start.utcoffset() == start.astimezone().utcoffset() else f" UTC{start.isoformat()[-6:]}"
    return (f"{start:%H:%M}" if near else f"{start:%m-%d %H:%M}") + zone


def coming(record: Record, now: datetime) -> str:
    """The next backups that begin by themselves, or why none does."""
    if paused := record.get("paused"):
        until = f" until {shown.moment(paused['until'])}" if paused.get("until") else ""
        return f"all schedules are paused by {shown.plain(paused.get('by'))}{until}"
    slots = [
        (each["schedule"], shown.plain(each["id"])) for each in record.get("instances") or () if each.get("schedule")
    ]
    starts = sorted(
        (datetime.fromisoformat(slot["next_start"]), name, slot) for slot, name in slots if slot["next_start"]
    )
    if not starts:
        reasons = {str(slot["reason"]) for slot, _ in slots if slot.get("reason")}
        return f"nothing by itself: {', '.join(sorted(reasons))}" if reasons else ""
    first = ", ".join(f"{name} at {next_start(slot, now)}" for _, name, slot in starts[:_COMING])
    more = f", {len(starts) - _COMING} more" if len(starts) > _COMING else ""
    return first + more


def upkeep(record: Record, now: datetime) -> str:
    """When retention ran, and which file was read longest ago."""
    parts = []
    if at := record.get("retention_at"):
        parts.append(f"retention {age(at, now)} ago")
    if oldest := (record.get("verified") or {}).get("oldest"):
        parts.append(f"every backup was read within the last {age(oldest, now)}")
    return ", ".join(parts)
