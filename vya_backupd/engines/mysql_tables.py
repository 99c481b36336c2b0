"""InnoDB's own numbers of tables: they stay with a table when it gets another name, and are never given twice.

Names there are those of files: ``database/table``, in an encoding of its own, with a tail for each partition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vya_backupd.model.instance import EngineKind, ServerFacts

_PLAIN = re.compile(r"[0-9A-Za-z_]")
_CODE = re.compile(r"@([0-9a-f]{4})")


def numbers_sql(server: ServerFacts) -> str:
    """Name and number of every table of the server. Needs PROCESS."""
    if server.vendor is EngineKind.MARIADB:
        view = "INNODB_SYS_TABLES"
    else:
        view = "INNODB_TABLES" if server.version >= (8,) else "INNODB_SYS_TABLES"
    return f"SELECT NAME, TABLE_ID FROM information_schema.{view}"  # noqa: S608 - one of two words


def replaced(database: str, before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Tables of the database whose number was that of a table of another name before; files' names, read back."""
    folder = _folder(database)
    numbers = set(before.values())
    return sorted(
        _CODE.sub(lambda code: chr(int(code[1], 16)), table)
        for name, number in after.items()
        for place, _, table in (name.partition("/"),)
        if _is(folder, place) and name in before and before[name] != number and number in numbers
    )


def _folder(database: str) -> str | None:
    """The database's folder; None where its name has letters whose codes only the server knows."""
    if not database.isascii():
        return None
    return "".join(each if _PLAIN.match(each) else f"@{ord(each):04x}" for each in database)


def _is(folder: str | None, place: str) -> bool:
    return place == folder if folder is not None else "@" in place
