"""The first and last words of a dump, for files that no scanner of ours has passed: each tool has its own."""

from __future__ import annotations

import re

from vya_backupd.model.instance import EngineKind

_POSTGRESQL = re.compile(rb"^-- PostgreSQL database (cluster )?dump complete$", re.MULTILINE)
_MYSQL = re.compile(rb"^-- (Dump completed( on .*)?|Globals completed)$", re.MULTILINE)
_BEGINNING = re.compile(rb"^-- (PostgreSQL database (cluster )?dump|MySQL dump|MariaDB dump)", re.MULTILINE)
_NOTHING_ELSE = re.compile(rb"\A(\s|--[^\n]*(\n|\Z)|\\unrestrict [A-Za-z0-9]+\s)*\Z")


def complaint(kind: EngineKind, tail: bytes) -> str | None:
    """What is wrong with the end of a dump, given the last KiB of its text; None when it ends as it should."""
    pattern = _POSTGRESQL if kind is EngineKind.POSTGRESQL else _MYSQL
    marks = list(pattern.finditer(tail))
    if not marks:
        return f"the dump does not end with the end marker of a {kind} dump"
    if not _NOTHING_ELSE.match(tail[marks[-1].end() :]):
        return "something follows the end marker of the dump"
    return None


def begins_like_a_dump(head: bytes) -> bool:
    """Whether the first text of a file is that of a dump tool; a script's own lines may stand before it."""
    return _BEGINNING.search(head) is not None
