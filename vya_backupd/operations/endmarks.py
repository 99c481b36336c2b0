"""The first and last words of a dump, for files that no scanner of ours has passed: each tool has its own."""

from __future__ import annotations

import re

from vya_backupd.errors import UsageError
from vya_backupd.model.instance import EngineKind

_POSTGRESQL = re.compile(rb"^-- PostgreSQL database (cluster )?dump complete$", re.MULTILINE)
_MYSQL = re.compile(rb"^-- (Dump completed( on .*)?|Globals completed)$", re.MULTILINE)
_BEGINNING = re.compile(rb"^-- (PostgreSQL database (cluster )?dump|MySQL dump|MariaDB dump)", re.MULTILINE)
_LEADS_AWAY = re.compile(rb"^(USE `(?:[^`\n]|``)+`;|\\connect .*)$", re.MULTILINE)
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


def refuse_to_lead_away(lines: bytes) -> None:
    """Lines of a foreign dump must not choose another database than the one that it is restored into.

    Raises:
        UsageError: they do. A line of a row cannot look so: the tools escape line breaks in values.
    """
    found = _LEADS_AWAY.search(lines)
    if found is not None:
        shown = found.group(1).decode("utf-8", "backslashreplace")
        raise UsageError(
            f"the dump chooses its database by itself ({shown}): it would not be restored into the target",
            hint="Dump one database without --databases, --all-databases or --create, or feed this file to the client.",
        )
