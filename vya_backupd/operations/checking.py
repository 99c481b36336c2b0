"""Compare a restored database with what the manifest says it must be."""

from __future__ import annotations

import itertools
from typing import Any

from vya_backupd.errors import VyaError
from vya_backupd.model.backup import Manifest, Section
from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.side_by_side import all_of
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target
from vya_backupd.policy.restore_lanes import spread

NOT_TABLES = frozenset({"sequences", "large objects"})
"""Names of data in a PostgreSQL backup that are not tables'; those have a schema before a dot."""


async def check_restored(
    site: Site, target: Target, database: str, manifest: Manifest | None, sessions: int = 1, *, rows: bool = True
) -> dict[str, Any]:
    """Every table of the manifest must be there and, where rows were counted, have as many. ``sessions`` count.

    Not ``rows``: none were restored, so none are counted.

    Returns what was compared: ``tables_checked`` and ``rows_checked``. A foreign file has nothing to compare with.

    Raises:
        VyaError: ``restore_mismatch``.
    """
    facts = await site.probe.database(target.instance, database)
    if manifest is None:
        return {"tables_checked": 0, "rows_checked": 0, "tables_count": len(facts.tables)}
    expected = _rows_by_table(manifest)
    if target.instance.kind is EngineKind.POSTGRESQL:
        expected = {name: count for name, count in expected.items() if name not in NOT_TABLES}
    lost = sorted(set(expected) - set(facts.tables))
    if lost or len(facts.tables) < manifest.schema_info.tables_count:
        named = ", ".join(lost[:5]) or f"{manifest.schema_info.tables_count} expected, {len(facts.tables)} found"
        raise _mismatch(f"tables are missing after the restore: {named}", target, database)
    counted = {name: count for name, count in expected.items() if rows and count is not None}
    if counted:
        await _compare_rows(site, target, database, counted, sessions)
    return {"tables_checked": len(expected), "rows_checked": sum(counted.values()), "tables_count": len(facts.tables)}


def _rows_by_table(manifest: Manifest) -> dict[str, int | None]:
    """Tables whose data the file holds, with rows where they were counted."""
    rows: dict[str, int | None] = {}
    for extent in manifest.extents:
        if extent.section is Section.DATA:
            before = rows.get(extent.name, 0)
            rows[extent.name] = None if before is None or extent.rows is None else before + extent.rows
    return rows


async def _compare_rows(site: Site, target: Target, database: str, expected: dict[str, int], sessions: int) -> None:
    queries = await _counting_queries(site, target, database)

    async def count(names: list[str]) -> list[tuple[str, int]]:
        counted = await site.probe.numbers(target.instance, [queries[name] for name in names], database)
        return list(zip(names, counted, strict=True))

    shares = spread({name: rows for name, rows in expected.items() if name in queries}, sessions)
    for name, found in itertools.chain.from_iterable(await all_of([count(share) for share in shares])):
        if found != expected[name]:
            what = f"{name} has {found} rows after the restore, {expected[name]} were backed up"
            raise _mismatch(what, target, database)


async def _counting_queries(site: Site, target: Target, database: str) -> dict[str, str]:
    """A counting query for each table, by the name that manifests use."""
    quote = target.engine.quote
    if target.instance.kind is not EngineKind.POSTGRESQL:
        tables = (await site.probe.database(target.instance, database)).tables
        return {name: f"SELECT count(*) FROM {quote(database)}.{quote(name)}" for name in tables}  # noqa: S608 - quoted
    listed = await site.probe.fetch(
        target.instance,
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r'",
        database=database,
    )
    return {
        f"{schema}.{name}": f"SELECT count(*) FROM ONLY {quote(schema)}.{quote(name)}"  # noqa: S608 - quoted
        for schema, name in listed
    }


def _mismatch(what: str, target: Target, database: str) -> VyaError:
    return VyaError(
        what,
        code="restore_mismatch",
        hint="The restored database was dropped again. Was the target written to meanwhile? Else verify the file.",
        instance=target.instance.id,
        database=database,
    )
