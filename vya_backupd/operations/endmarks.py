"""The first and last words of a dump, for files that no scanner of ours has passed: each tool has its own."""

from __future__ import annotations

import re

from vya_backupd.errors import UsageError
from vya_backupd.model.instance import EngineKind

_POSTGRESQL = re.compile(rb"^-- PostgreSQL database (cluster )?dump complete$", re.MULTILINE)
_MYSQL = re.compile(rb"^-- (Dump completed( on .*)?|Globals completed)$", re.MULTILINE)
_GIVEN_BACK = re.compile(
    rb"^/\*M?!\d+ SET (?:SQL_NOTES=(?:@OLD_SQL_NOTES|IFNULL\(@OLD_SQL_NOTES, 1\))|NOTE_VERBOSITY=@OLD_NOTE_VERBOSITY"
    rb"|COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION) \*/;$",
    re.MULTILINE,
)
"""The last setting that is given back: behind it mysqldump writes its end marker, unless --skip-comments leaves it out;
phpMyAdmin and HeidiSQL write nothing."""
_BEGINNING = re.compile(
    rb"^-- (PostgreSQL database (cluster )?dump|MySQL dump|MariaDB dump|phpMyAdmin SQL Dump)", re.MULTILINE
)
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


def foreign_complaint(kind: EngineKind, tail: bytes) -> str | None:
    """The same of a dump that others wrote, some of whose tools end with the settings that they give back."""
    said = complaint(kind, tail)
    if said is None or kind is EngineKind.POSTGRESQL:
        return said
    given_back = list(_GIVEN_BACK.finditer(tail))
    return None if given_back and _NOTHING_ELSE.match(tail[given_back[-1].end() :]) else said


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
