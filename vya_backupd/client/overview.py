"""The status on one screen. What is said first is what an operator must know: is everything protected, or what is not?

Built from a record and a width, as lines of text; ``commands.status`` prints them, once or again and again.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vya_backupd.client import outcome, overview_words, shown

_ROWS = 12
"""Servers that have a line each; of more, the healthy ones share one, unless all are asked for."""
_NAMES = 3
_LABEL = 11
_FULL_SOON_DAYS = 14.0
_LAST = 3

Record = dict[str, Any]


@dataclass(slots=True)
class Page:
    """Lines of text, and how serious the first one is: ``good``, ``bad`` or ``neutral``."""

    mood: str = "neutral"
    lines: list[str] = field(default_factory=list)


def page(record: Record, now: datetime | None = None, *, width: int = 80, everything: bool = False) -> Page:
    """The whole screen."""
    now = now or datetime.now(UTC)
    mood, headline = overview_words.headline(record, now)
    made = Page(mood, [*_wrapped(headline, width, "            "), *_wrapped(_who(record), width, "")])
    made.lines += [line for text in _troubles(record) for line in _wrapped(f"  ! {text}", width, "    ")]
    made.lines += ["", *_instances(record, now, width, everything=everything)] if record.get("instances") else []
    made.lines += ["", *_labelled(record, now, width)]
    return made


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    wrap = textwrap.wrap(text, max(width, 40), subsequent_indent=indent, break_on_hyphens=False)
    return wrap or [text]


def _who(record: Record) -> str:
    up = shown.duration(record.get("uptime_seconds"))
    name, version = shown.plain(record.get("hostname")), shown.plain(record.get("version"))
    return f"{name}: VYA BackupDB {version}, {shown.plain(record.get('phase'))} for {up}"


def _troubles(record: Record) -> list[str]:
    """What keeps the installation from being well, each once."""
    reasons = [shown.plain(each["text"]) for each in record.get("reasons") or ()]
    said = set(reasons)
    reasons += [text for each in record.get("troubles") or () if (text := shown.plain(each)) not in said]
    down = [each for each in record.get("instances") or () if each.get("enabled") and _is_down(each)]
    reasons += [
        f"{shown.plain(each['id'])}: does not answer ({shown.plain(each['reachable'])})" for each in down[:_ROWS]
    ]
    if len(down) > _ROWS:
        reasons.append(f"{len(down) - _ROWS} more servers do not answer")
    return reasons


def _is_down(instance: Record) -> bool:
    return instance.get("reachable") not in ("ok", "unknown", None)


# the servers


def _instances(record: Record, now: datetime, width: int, *, everything: bool) -> list[str]:
    instances = sorted(record["instances"], key=lambda each: not _is_troubled(each))
    if everything or len(instances) <= _ROWS:
        listed, rest = instances, []
    else:
        troubled = sum(map(_is_troubled, instances))
        room = max(troubled, _ROWS - 1)
        listed, rest = instances[:room], instances[room:]
    titles = ("", "SERVER", "STATE", "DATABASES", "OLDEST", "LIMIT", "PROOF", "NEXT")
    lines = _columns([titles, *(_row(each, now) for each in listed)], width)
    if rest:
        ages = [each["oldest_at"] for each in rest if each.get("oldest_at")]
        oldest = f", the oldest backup {overview_words.age(min(ages), now)} old" if ages else ""
        lines.append(f"  and {len(rest)} more without trouble{oldest}: see --all")
    return lines


def _is_troubled(instance: Record) -> bool:
    return bool(
        instance.get("enabled") and (instance.get("overdue") or instance.get("uncovered") or _is_down(instance))
    )


def _row(instance: Record, now: datetime) -> tuple[str, ...]:
    if not instance.get("enabled", True):
        return (" ", shown.plain(instance["id"]), "off", *("-" * 5))
    state = {"ok": "ok", "unknown": "?"}.get(instance.get("reachable", "unknown"), "down")
    return (
        "!" if _is_troubled(instance) else " ",
        shown.plain(instance["id"]),
        state,
        overview_words.databases(instance),
        overview_words.age(instance.get("oldest_at"), now),
        overview_words.span(instance.get("max_age_seconds")),
        shown.plain(instance.get("proof")),
        overview_words.next_start(instance.get("schedule"), now),
    )


def _columns(rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    """Rows in columns as wide as what is in them; the names give way where the screen is too narrow."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    over = sum(widths) + 2 * len(widths) - 3 - width
    widths[1] = max(8, widths[1] - max(over, 0))
    lines = []
    for mark, name, *cells in rows:
        shortened = name if len(name) <= widths[1] else name[: widths[1] - 1] + "…"
        padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths[2:], strict=True)]
        lines.append("  ".join([f"{mark or ' '} {shortened:<{widths[1]}}", *padded]).rstrip())
    return lines


# what else is going on


def _labelled(record: Record, now: datetime, width: int) -> list[str]:
    """One subject a line: what runs, what comes, what ended, the disk, the upkeep, messages, sync."""
    subjects: list[tuple[str, Sequence[str]]] = [
        ("Now", _now_running(record)),
        ("Next", [overview_words.coming(record, now)]),
        ("Last", [_ended(each) for each in (record.get("recent") or ())[:_LAST]]),
        ("Storage", [_storage(record.get("storage") or {})]),
        ("Upkeep", [overview_words.upkeep(record, now)]),
        ("Messages", [_messages(record.get("notifications") or {})]),
        ("Sync", [_sync_line(record["sync"])] if record.get("sync") else []),
    ]
    lines = []
    for label, texts in subjects:
        for number, text in enumerate(filter(None, texts)):
            begin = label if number == 0 else ""
            lines += _wrapped(f"{begin:<{_LABEL}}{text}", width, " " * _LABEL)
    return lines


def _now_running(record: Record) -> list[str]:
    active = [outcome.operation_of(each) for each in (*record.get("running", ()), *record.get("waiting", ()))]
    lines = [
        f"{shown.plain(each.get('kind'))} {shown.plain(each.get('state'))}, by {shown.plain(each.get('submitted_by'))}, "
        f"{shown.plain(each.get('id'))}"
        for each in active[:_ROWS]
    ]
    if len(active) > _ROWS:
        lines.append(f"and {len(active) - _ROWS} more operations")
    return lines + [progress_line(each) for each in record.get("progress", ())]


def _ended(record: Record) -> str:
    operation = outcome.operation_of(record)
    when = shown.moment(operation.get("started_at") or operation.get("submitted_at"))
    took = shown.duration(outcome.seconds_of(operation))
    return f"{shown.plain(operation.get('kind'))} {shown.plain(operation.get('state'))}, {when}, took {took}"


def _storage(storage: Record) -> str:
    free, total = shown.size(storage.get("free_bytes")), shown.size(storage.get("total_bytes"))
    text = f"{shown.plain(storage.get('base_path'))}: {free} of {total} free"
    forecast = storage.get("forecast") or {}
    days = forecast.get("days_until_full")
    if days is None:
        return text
    mark = "! " if days < _FULL_SOON_DAYS else ""
    return f"{mark}{text}, full in about {days:,.0f} days at this pace"


def _messages(notifications: Record) -> str:
    parts = []
    if notifications.get("waiting"):
        parts.append(
            f"{shown.count(notifications['waiting'], 'message')} waiting since {shown.moment(notifications.get('since'))}"
        )
    if notifications.get("given_up"):
        parts.append(f"{notifications['given_up']} given up within a day")
    return "! " + ", ".join(parts) if parts else ""


def _sync_line(sync: Record) -> str:
    """What the sync client has not taken yet, as far as its mark tells."""
    waiting = shown.count(sync["waiting_files"], "file")
    since = f"since {shown.moment(sync['synced_at'])}" if sync.get("synced_at") else "and no sync mark yet"
    line = f"{shown.plain(sync['sync_folder'])}: {waiting}, {shown.size(sync['waiting_bytes'])} to be taken {since}"
    strays = f"; {shown.count(sync['strays'], 'file')} there without a backup" if sync.get("strays") else ""
    trouble = f"; trouble: {shown.plain(sync['trouble'])}" if sync.get("trouble") else ""
    return line + strays + trouble


def progress_line(progress: Record) -> str:
    """How far one running step is."""
    where = shown.place(progress.get("instance"), overview_words.database(progress.get("database")))
    done, expected = progress.get("bytes_done"), progress.get("expected_bytes")
    share = f" of about {shown.size(expected)}" if expected else ""
    return f"  {where}: {shown.plain(progress.get('phase'))}, {shown.size(done)}{share}"
