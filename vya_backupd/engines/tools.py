"""Dump and client programs: what they say of themselves, and which of them fit a server. No I/O happens here."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.model.instance import EngineKind


class ToolRole(enum.StrEnum):
    """What a program is for."""

    DUMP = "dump"
    GLOBALS = "globals"
    CLIENT = "client"
    BINLOG = "binlog"


@dataclass(frozen=True, slots=True)
class Tool:
    """An installed program. ``vendor`` comes from its own words: MariaDB also ships programs with MySQL's names."""

    path: Path
    vendor: EngineKind
    role: ToolRole
    version: tuple[int, ...]
    version_text: str

    @property
    def label(self) -> str:
        """How the program is called in errors, logs and manifests: ``pg_dump 18.6``."""
        return f"{self.path.name} {'.'.join(map(str, self.version))}"


@dataclass(frozen=True, slots=True)
class Toolset:
    """The programs chosen for one server. ``globals_dump`` exists where a program dumps roles (PostgreSQL)."""

    dump: Tool
    client: Tool
    globals_dump: Tool | None = None


PROGRAMS: dict[str, ToolRole] = {
    "pg_dump": ToolRole.DUMP,
    "pg_dumpall": ToolRole.GLOBALS,
    "psql": ToolRole.CLIENT,
    "mysqldump": ToolRole.DUMP,
    "mysql": ToolRole.CLIENT,
    "mysqlbinlog": ToolRole.BINLOG,
    "mariadb-dump": ToolRole.DUMP,
    "mariadb": ToolRole.CLIENT,
    "mariadb-binlog": ToolRole.BINLOG,
}
"""Names under which programs are looked for. The vendor is not in the name."""

_NUMBER = r"(\d+(?:\.\d+)*)"
_POSTGRESQL = re.compile(r"\(PostgreSQL\) " + _NUMBER)
_MARIADB = re.compile(r"(?:Distrib |from |Ver )" + _NUMBER + r"-MariaDB", re.IGNORECASE)
_MARIADB_NAME = re.compile(r"mariadb\S* +Ver " + _NUMBER)  # mariadb-binlog tells a version of its own only
_MYSQL_DISTRIBUTION = re.compile(r"Distrib " + _NUMBER)
_MYSQL = re.compile(r"Ver " + _NUMBER)


def parse_version(path: Path, role: ToolRole, text: str) -> Tool | None:
    """The tool that printed ``text`` for ``--version``; None when it is none of the three vendors'."""
    text = text.strip().splitlines()[0] if text.strip() else ""
    for vendor, pattern in (
        (EngineKind.POSTGRESQL, _POSTGRESQL),
        (EngineKind.MARIADB, _MARIADB),
        (EngineKind.MARIADB, _MARIADB_NAME),
        (EngineKind.MYSQL, _MYSQL_DISTRIBUTION),
        (EngineKind.MYSQL, _MYSQL),
    ):
        if vendor is EngineKind.MYSQL and "mariadb" in text.lower():
            return None
        found = pattern.search(text)
        if found:
            return Tool(path, vendor, role, parse_numbers(found.group(1)), text)
    return None


def parse_numbers(text: str) -> tuple[int, ...]:
    """``"10.11.6"`` as (10, 11, 6)."""
    return tuple(int(part) for part in text.split("."))


def best(tools: Iterable[Tool], role: ToolRole, vendor: EngineKind, wanted: tuple[int, ...]) -> Tool | None:
    """The tool of this vendor and role that is nearest to the wanted release and not older; the newest patch of it.

    ``wanted`` has as many numbers as the vendor's releases differ in: one for PostgreSQL, two for the others. None
    when all are older, or there is none.
    """
    length = len(wanted)
    fitting = [
        tool for tool in tools if tool.role is role and tool.vendor is vendor and tool.version[:length] >= wanted
    ]
    if not fitting:
        return None
    nearest = min(tool.version[:length] for tool in fitting)
    return max((tool for tool in fitting if tool.version[:length] == nearest), key=lambda tool: tool.version)


def newest(tools: Iterable[Tool], role: ToolRole, vendor: EngineKind) -> Tool | None:
    """The newest tool of this vendor and role."""
    fitting = [tool for tool in tools if tool.role is role and tool.vendor is vendor]
    return max(fitting, key=lambda tool: tool.version, default=None)
