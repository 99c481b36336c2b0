"""What is learned of a database, or of an instance's globals, before it is dumped."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vya_backupd.catalog.backups import LastSize
from vya_backupd.engines.base import Engine
from vya_backupd.engines.registry import engine_for
from vya_backupd.engines.tools import Tool, Toolset
from vya_backupd.errors import DumpError, ServerError, VyaError
from vya_backupd.model.backup import GLOBALS_NAME, BackupType
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.model.instance import DatabaseFacts, EngineKind, Instance, Lack, ServerFacts
from vya_backupd.operations.room import check_room
from vya_backupd.operations.site import Site
from vya_backupd.probe import Visit

FRESH_SECONDS = 10.0
"""What was learned longer ago is asked again before the dump begins."""

InstalledTools = Callable[[], Awaitable[Sequence[Tool]]]


@dataclass(frozen=True, slots=True)
class Dump:
    """One database to dump, or ``GLOBALS_NAME``."""

    instance: Instance
    server: ServerFacts
    database: str
    level: int
    codec: FileCodec = FileCodec.GZIP
    dry_run: bool = False

    @property
    def type(self) -> BackupType:
        """What kind of backup it makes."""
        return BackupType.GLOBALS if self.database == GLOBALS_NAME else BackupType.FULL

    @property
    def engine(self) -> Engine:
        """The engine of the instance."""
        return engine_for(self.instance.kind)


_PACKED_SHARE = 0.15
"""Of the server's own figure, what is left of a first backup: no indexes, and compressed."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found. ``before`` is None for globals, ``last`` before the first backup."""

    tools: Toolset
    before: DatabaseFacts | None
    last: LastSize | None
    database_sql: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    at: float = field(default_factory=time.monotonic)

    @property
    def is_stale(self) -> bool:
        """Whether the dump had to wait for so long that all this may have changed."""
        return time.monotonic() - self.at > FRESH_SECONDS

    @property
    def unresolved(self) -> tuple[tuple[str, str], ...]:
        """Views that the tool must leave out, with their text."""
        return self.before.unresolved_views if self.before else ()

    @property
    def likely_size(self) -> int:
        """About how many bytes the file will have: as the last one, or a share of what the server says; 0 for globals."""
        if self.last is not None:
            return self.last.size_bytes
        return int(self.before.size_bytes * _PACKED_SHARE) if self.before else 0

    def room(self, site: Site) -> int:
        """Bytes that the backup is expected to need. Raises StorageError (``insufficient_space``) when less is free."""
        return check_room(site, self.last.size_bytes if self.last else None, self.before)

    def would_do(self, site: Site, job: Dump) -> dict[str, Any]:
        """What a dry run tells. Raises as ``room``."""
        return {
            "dry_run": True,
            "tool": self.tools.dump.label,
            "server": job.server.version_text,
            "size_on_server_bytes": self.before.size_bytes if self.before else None,
            "tables_count": len(self.before.tables) if self.before else None,
            "space_wanted_bytes": self.room(site),
            "warnings": list(self.warnings),
        }


async def look(site: Site, job: Dump, installed: InstalledTools, visit: Visit) -> Look:
    """Ask tools, server and catalog.

    Raises:
        VyaError: no tool fits, or the server did not answer as it should.
    """
    tools = job.engine.find_tools(job.server, await installed())
    warnings = list(job.server.warnings)
    before: DatabaseFacts | None = None
    database_sql: tuple[str, ...] = ()
    if job.type is not BackupType.GLOBALS:
        before = await site.probe.visited(visit, job.instance, job.database)
        warnings += _refuse_blind(job, before)
        warnings += before.warnings
        database_sql = await _database_sql(site, job, tools, before, warnings)
    last = await site.catalog.backups.last_size(job.instance.id, job.database)
    return Look(tools, before, last, database_sql, tuple(warnings))


def _refuse_blind(job: Dump, before: DatabaseFacts) -> list[str]:
    """What will be missing in the dump for want of rights.

    Raises:
        ServerError: ``insufficient_privilege``: the tool would stop there, perhaps after hours.
    """
    if stopping := [lack for lack in before.lacks if lack.stops]:
        raise ServerError(
            "; ".join(lack.text for lack in stopping),
            code="insufficient_privilege",
            hint=_help(stopping),
        ).at(job.instance.id, job.database)
    return [lack.told for lack in before.lacks]


def with_help(error: VyaError, lacks: Sequence[Lack]) -> VyaError:
    """The same error; one for want of a right names the statements that help, where they are known."""
    if error.code == "insufficient_privilege":
        error.hint = _help(lacks) or error.hint
    return error


def _help(lacks: Sequence[Lack]) -> str:
    """For everybody's eyes; empty where there is none."""
    statements = list(dict.fromkeys(statement for lack in lacks for statement in lack.masked))
    if not statements:
        return ""
    return f"Have an administrator of the server run: {' '.join(statements)} ('vyactl doctor' has it in full)"


async def _database_sql(
    site: Site, job: Dump, tools: Toolset, before: DatabaseFacts, warnings: list[str]
) -> tuple[str, ...]:
    """What sets the database itself apart: a second run of the tool, which most databases do not need."""
    engine = job.engine
    if before.is_plain:
        return engine.plain_database_sql(before.properties)
    command = engine.properties_command(job.instance, job.database, tools, job.server)
    if command is None:
        if job.instance.kind is EngineKind.POSTGRESQL:
            warnings.append(
                "pg_dump prints no properties of a database whose name has a line break:"
                " its settings, rights and comment are not in this backup"
            )
        return ()
    done = await site.spawner.run(command, timeout=site.config.backup.stall_timeout.total_seconds())
    if not done.exit.ok:
        ended = done.exit
        error = engine.classify(command.name, ended.returncode, ended.signal, ended.stderr)
        raise error.at(job.instance.id, job.database)
    return engine.database_sql(done.stdout, job.database)


async def refuse_lacking_tables(site: Site, job: Dump, before: DatabaseFacts, dumped: frozenset[str]) -> None:
    """Every table that was there before and after must be in the dump; one that came or went meanwhile may be.

    Raises:
        DumpError: ``dump_lacks_tables``.
    """
    if set(before.tables) <= dumped:
        return
    after = await site.probe.database(job.instance, job.database)
    missing = sorted((set(before.tables) & set(after.tables)) - dumped)
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise DumpError(
            f"the dump lacks tables that the server has: {shown}",
            code="dump_lacks_tables",
            hint="Can the backup account see them? Grant it SELECT, or leave the database out.",
        )
