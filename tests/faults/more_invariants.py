"""Invariants that look where the others do not: at what retention leaves, and at the events behind what is there."""

from __future__ import annotations

import json
from collections import defaultdict

from tests.faults.invariants import manifests
from tests.faults.rig import Bench


def newest_stay(bench: Bench) -> None:
    """Of each database the newest backups are there, as many as retention is told to keep."""
    keep = int(bench.product.settings["storage"]["retention"]["daily_keep"])
    there = manifests(bench).keys()
    made: dict[str, list[str]] = defaultdict(list)
    for database, text in bench.query("SELECT database, data FROM events WHERE name = 'backup.published' ORDER BY id"):
        made[database].append(json.loads(text)["backup_id"])
    for database, backups in made.items():
        lost = [each for each in backups[-keep:] if each not in there]
        assert not lost, f"of the newest {keep} backups of {database}, {lost} are gone"


def witnessed(bench: Bench) -> None:
    """Every backup that is listed has an event that told of it: published, or adopted, or found by a rebuild."""
    names = "'backup.published', 'backup.adopted'"
    events = {
        json.loads(text)["backup_id"] for (text,) in bench.query(f"SELECT data FROM events WHERE name IN ({names})")
    }
    listed = {str(each) for (each,) in bench.query("SELECT id FROM backups")}
    assert listed <= events, f"nobody told of {listed - events}"


def published_first(bench: Bench) -> None:
    """Whatever the catalog lists is in the store, at any moment."""
    listed = {str(each) for (each,) in bench.query("SELECT id FROM backups")}
    missing = listed - manifests(bench).keys()
    assert not missing, f"{missing} are listed and not in the store"
