"""Telling tables of MySQL and MariaDB apart whatever their names: by a mark that goes along when one is renamed.

MariaDB: InnoDB's number of a table, which is never given twice; names there are those of files, in an encoding of
their own, with a tail for each partition. MySQL: the second in which a table was made, since its numbers would be read
from every table of the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vya_backupd.engines.mysql_sql import literal
from vya_backupd.model.instance import EngineKind, ServerFacts

_PLAIN = re.compile(r"[0-9A-Za-z_]")
_CODE = re.compile(r"@([0-9a-f]{4})")
_KEEPS_SECONDS_SINCE = (8,)
"""Release of MySQL; before, the second is that of a file."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a database's tables, and the greatest that any table had when they were asked for."""

    of: dict[str, int]
    greatest: int = 0

    @classmethod
    def read(cls, database: str, server: ServerFacts, rows: Iterable[tuple[Any, ...]]) -> Marks:
        """From the rows of ``marks_sql``: name, mark, and the greatest or None."""
        found = [(str(name), int(mark), greatest) for name, mark, greatest in rows if mark is not None]
        if server.vendor is EngineKind.MARIADB:
            found = [(table, mark, None) for name, mark, _ in found if (table := _table(database, name)) is not None]
        of = {name: mark for name, mark, _ in found}
        return cls(of, max((int(greatest or mark) for _, mark, greatest in found), default=0))

    def replaced(self, later: Marks) -> list[str]:
        """Tables that had another mark before, and have one now that is not younger than all of then."""
        return sorted(
            name
            for name, mark in later.of.items()
            if name in self.of and self.of[name] != mark and mark <= self.greatest
        )


def marks_sql(database: str, server: ServerFacts) -> str | None:
    """What asks for the marks; MariaDB wants PROCESS for it. None where there are none."""
    if server.vendor is EngineKind.MARIADB:
        start = f"{_folder(database) or ''}/"
        these = f" WHERE LEFT(NAME, {len(start)}) = {literal(start)}" if len(start) > 1 else ""
        return f"SELECT NAME, TABLE_ID, NULL FROM information_schema.INNODB_SYS_TABLES{these}"  # noqa: S608 - a literal
    if server.version < _KEEPS_SECONDS_SINCE:
        return None
    return (
        "SELECT TABLE_NAME, UNIX_TIMESTAMP(CREATE_TIME), UNIX_TIMESTAMP() FROM information_schema.TABLES"  # noqa: S608
        f" WHERE TABLE_SCHEMA = {literal(database)} AND ENGINE = 'InnoDB'"
    )


def _table(database: str, name: str) -> str | None:
    """The table of a file's name, read back; None of another database."""
    place, _, table = name.partition("/")
    folder = _folder(database)
    if place != folder and (folder is not None or "@" not in place):
        return None
    return _CODE.sub(lambda code: chr(int(code[1], 16)), table)


def _folder(database: str) -> str | None:
    """The database's folder; None where its name has letters whose codes only the server knows."""
    if not database.isascii():
        return None
    return "".join(each if _PLAIN.match(each) else f"@{ord(each):04x}" for each in database)
