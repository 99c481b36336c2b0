"""What stands in a PostgreSQL database that single tables are restored into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vya_backupd.engines import tables_postgresql as sql
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target

_PLAIN_TABLES = frozenset("rpf")


@dataclass(frozen=True, slots=True)
class There:
    """What stands in the target: relations by name (``schema.name``) with their kind, schemas, publications.

    ``functions`` are those that triggers can run, ``schema.name``.
    """

    relations: Mapping[str, str] = field(default_factory=dict)
    partitions: frozenset[str] = frozenset()
    schemas: frozenset[str] = frozenset()
    publications: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()

    def has_table(self, name: str) -> bool:
        """Whether a table of this name is there."""
        return self.relations.get(name, "") in _PLAIN_TABLES


async def look(site: Site, target: Target) -> There:
    """What stands in the target database now; nothing where it does not exist."""
    if not target.exists:
        return There(schemas=frozenset({"public"}))
    relations, schemas, publications, functions = await site.probe.answers(
        target.instance, [sql.RELATIONS, sql.SCHEMAS, sql.PUBLICATIONS, sql.FUNCTIONS], target.database
    )
    return There(
        {f"{schema}.{name}": str(kind) for schema, name, kind, _ in relations},
        frozenset(f"{schema}.{name}" for schema, name, _, is_partition in relations if is_partition),
        frozenset(str(name) for (name,) in schemas),
        frozenset(str(name) for (name,) in publications),
        frozenset(str(name) for (name,) in functions),
    )
