"""The status on one screen: how the daemon is, and every database with its newest backup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from vya_backupd.client import shown
from vya_backupd.client.screen import Screen

_TITLES = ("INSTANCE", "TYPE", "SERVER", "DATABASE", "LAST BACKUP", "AGE", "SIZE", "PROOF")


def show(screen: Screen, record: dict[str, Any], now: datetime | None = None) -> None:
    """The daemon in two lines, what troubles it, then a line for each database that has a backup."""
    up = shown.duration(record.get("uptime_seconds"))
    screen.answer(f"VYA BackupDB {record.get('version')} on {record.get('hostname')}: {record.get('phase')} for {up}")
    storage = record.get("storage") or {}
    free, total = shown.size(storage.get("free_bytes")), shown.size(storage.get("total_bytes"))
    screen.answer(f"Backups in {shown.plain(storage.get('base_path'))}: {free} of {total} free")
    if sync := record.get("sync"):
        screen.answer(_sync_line(sync))
    for trouble in record.get("troubles") or ():
        screen.answer(f"TROUBLE: {shown.plain(trouble)}")
    rows = [row for instance in record.get("instances") or () for row in _rows(instance, now or datetime.now(UTC))]
    if rows:
        screen.answer("")
        screen.table(_TITLES, rows, right=("SIZE", "AGE"))


def _sync_line(sync: dict[str, Any]) -> str:
    """What the sync client has not taken yet, as far as its mark tells."""
    waiting = shown.count(sync["waiting_files"], "file")
    since = f"since {shown.moment(sync['synced_at'])}" if sync.get("synced_at") else "and no sync mark yet"
    line = f"Sync from {shown.plain(sync['sync_folder'])}: {waiting}, {shown.size(sync['waiting_bytes'])} {since}"
    strays = f"; {shown.count(sync['strays'], 'file')} there without a backup" if sync.get("strays") else ""
    trouble = f"; TROUBLE: {shown.plain(sync['trouble'])}" if sync.get("trouble") else ""
    return line + strays + trouble


def _rows(instance: dict[str, Any], now: datetime) -> list[tuple[Any, ...]]:
    state = instance.get("reachable", "unknown") if instance.get("enabled", True) else "disabled"
    head = (instance.get("id"), instance.get("type"), state)
    backups = sorted(
        instance.get("databases") or (), key=lambda each: (each.get("type") == "globals", each["database"])
    )
    if not backups:
        return [(*head, "-", "never", "-", "-", "-")]
    return [
        (
            *head,
            "(globals)" if each.get("type") == "globals" else each["database"],
            shown.moment(each.get("taken_at")),
            _age(each.get("taken_at"), now),
            shown.size(each.get("size_bytes")),
            each.get("proof"),
        )
        for each in backups
    ]


def _age(taken_at: str | None, now: datetime) -> str:
    if not taken_at:
        return "-"
    seconds = (now - datetime.fromisoformat(taken_at)).total_seconds()
    days = int(seconds // 86400)
    return f"{days} d {int(seconds % 86400 // 3600):02} h" if days else shown.duration(max(seconds, 0.0))


def progress_line(progress: dict[str, Any]) -> str:
    """How far one running step is."""
    where = shown.place(progress.get("instance"), progress.get("database"))
    done, expected = progress.get("bytes_done"), progress.get("expected_bytes")
    share = f" of about {shown.size(expected)}" if expected else ""
    return f"  {where}: {shown.plain(progress.get('phase'))}, {shown.size(done)}{share}"
