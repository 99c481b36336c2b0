"""Where a restore goes, and what stands there now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vya_backupd.engines import postgresql_guard
from vya_backupd.engines.base import Engine
from vya_backupd.engines.registry import engine_for
from vya_backupd.engines.tools import Toolset
from vya_backupd.errors import TargetError, UsageError
from vya_backupd.model.backup import GLOBALS_NAME, Extent, Proof
from vya_backupd.model.instance import SYSTEM_DATABASES, EngineKind, Instance, ServerFacts
from vya_backupd.operations.belongings import Notebook
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source


@dataclass(frozen=True, slots=True)
class Target:
    """A database to be, on a server that answered. ``exists`` and ``objects`` (0: empty) as seen when it was planned."""

    instance: Instance
    server: ServerFacts
    tools: Toolset
    engine: Engine
    database: str
    exists: bool
    objects: int

    @property
    def where(self) -> tuple[str, str]:
        """Instance and database, as steps name them."""
        return self.instance.id, self.database


class TablesJob(Protocol):
    """How single tables get into a database of one kind. What it needs to know is decided already."""

    @property
    def notes(self) -> Sequence[str]:
        """What is left out, and why."""

    @property
    def extents(self) -> tuple[Extent, ...]:
        """The parts of the file with everything that is fed and not read yet."""

    async def run(
        self, operation: str, notebook: Notebook, database: str, tell: Callable[[str, int], None]
    ) -> list[str]:
        """Make the tables in this database, wholly or not at all. Returns notes.

        Raises:
            VyaError: the first failure; the database is as it was.
        """


@dataclass(frozen=True, slots=True)
class TablesPlan:
    """The part of a plan that is about single tables.

    ``places``: where each goes, by its name in the backup. ``replaced`` are those that give way. ``read_bytes`` are
    the bytes of the file that will be read, ``raw_bytes`` what they hold of the rows.
    """

    places: Mapping[str, str]
    replaced: tuple[str, ...]
    extents: tuple[Extent, ...]
    read_bytes: int
    raw_bytes: int
    rows: int | None
    job: TablesJob

    def to_json(self, file_bytes: int) -> dict[str, Any]:
        """What a client shows of it."""
        return {
            "tables": [
                {"name": name, "target": place, "exists": place in self.replaced} for name, place in self.places.items()
            ],
            "read_bytes": self.read_bytes,
            "file_bytes": file_bytes,
            "raw_size_bytes": self.raw_bytes,
            "rows": self.rows,
        }


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """One database's restore, or that of single tables: from, to, in which actions, and with which doubts."""

    source: Source
    target: Target
    overwrite: bool
    actions: tuple[str, ...]
    warnings: tuple[str, ...]
    tables: TablesPlan | None = None

    @property
    def confirmed_by(self) -> str:
        """The name that has to be given before something is replaced: the table's where it is one, or the database's."""
        replaced = self.tables.replaced if self.tables else ()
        return replaced[0] if len(replaced) == 1 else self.target.database

    def to_json(self) -> dict[str, Any]:
        """What a client shows before it asks for confirmation."""
        facts, manifest, target = self.source.facts, self.source.manifest, self.target
        return {
            "file": str(self.source.path),
            "backup_id": facts.id if facts else None,
            "source": {"instance": facts.instance, "database": facts.database} if facts else None,
            "taken_at": facts.taken_at.isoformat() if facts else None,
            "size_bytes": self.source.size_bytes,
            "raw_size_bytes": manifest.raw_size_bytes if manifest else None,
            "proof": str(manifest.proof if manifest else Proof.NONE),
            "target": {
                "instance": target.instance.id,
                "database": target.database,
                "server": target.server.version_text,
                "exists": target.exists,
                "objects": target.objects,
            },
            "overwrite": self.overwrite,
            "confirmed_by": self.confirmed_by,
            "parts": self.tables.to_json(self.source.size_bytes) if self.tables else None,
            "actions": list(self.actions),
            "warnings": list(self.warnings),
        }


async def look_at(site: Site, instance: Instance, database: str) -> Target:
    """Ask the target's server what it is and what stands under this name."""
    engine = engine_for(instance.kind)
    server = await site.probe.server(instance)
    tools = engine.find_tools(server, await site.tools.installed_tools())
    exists, objects = False, 0
    if database != GLOBALS_NAME:
        exists, objects = await _stands(site, instance, engine, database)
    return Target(instance, server, tools, engine, database, exists, objects)


async def _stands(site: Site, instance: Instance, engine: Engine, database: str) -> tuple[bool, int]:
    """Whether there is such a database, and how many objects it has."""
    if not await site.probe.number(instance, engine.exists_sql(database), engine.outside_of(database)):
        return False, 0
    inside = database if engine.maintenance_database else None
    return True, await site.probe.number(instance, engine.is_empty_sql(database), inside)


async def refuse_filled(site: Site, target: Target) -> None:
    """Refuse a database that is not empty now: since it was planned hours may have passed.

    Raises:
        TargetError: ``target_not_empty``.
    """
    _, objects = await _stands(site, target.instance, target.engine, target.database)
    if objects:
        raise not_empty(target.instance, target.database, objects)


def not_empty(instance: Instance, database: str, objects: int) -> TargetError:
    """The refusal of a database that has something in it."""
    return TargetError(
        f"database {database!r} exists on {instance.id} and is not empty ({objects} objects)",
        code="target_not_empty",
        hint="Restore beside it with --target-database NAME, or replace it with --overwrite.",
        instance=instance.id,
        database=database,
    )


def refuse_unsuitable(source: Source, target: Target, *, is_globals: bool) -> None:
    """What can never go there: another engine's backup, or anything into a system database. Raises VyaError."""
    facts, instance = source.facts, target.instance
    if facts is not None and facts.engine is not instance.kind:
        raise TargetError(
            f"a backup of {facts.engine} cannot be restored onto {instance.kind}",
            code="target_unsuitable",
            hint="Choose a target of the same kind.",
            instance=instance.id,
            database=target.database,
        )
    if source.stored is None and instance.kind is EngineKind.POSTGRESQL:
        postgresql_guard.refuse_unguarded(target.tools.client)
    if not is_globals:
        refuse_long(target.database, instance.kind)
    if not is_globals and target.database in SYSTEM_DATABASES[instance.kind]:
        raise UsageError(f"{target.database!r} is a system database of {instance.kind}: choose another target")


def refuse_long(name: str, kind: EngineKind) -> None:
    """A name that a server would shorten, or refuse when much is done already. Raises UsageError."""
    if kind is EngineKind.POSTGRESQL:
        size, most, what = len(name.encode("utf-8", "surrogateescape")), 63, "bytes"
    else:
        size, most, what = len(name), 64, "characters"
    if size > most:
        raise UsageError(
            f"{name!r} has {size} {what}: {kind.value} takes names of {most}", hint="Choose a shorter one."
        )
