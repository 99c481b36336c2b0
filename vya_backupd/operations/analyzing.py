"""Statistics for the planner after a restore: PostgreSQL has none of a database that was just filled."""

from __future__ import annotations

from collections.abc import Sequence

from vya_backupd.errors import ServerError
from vya_backupd.operations.side_by_side import all_of
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target
from vya_backupd.policy.restore_lanes import spread

_RELATIONS = (
    "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),"
    " pg_catalog.pg_relation_size(c.oid) FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'"
)
"""What ANALYZE of a whole database looks at; a partitioned table brings its partitions along."""


async def analyze(site: Site, target: Target, database: str, sessions: int) -> list[str]:
    """Gather statistics, over several sessions where the rows came over several. Returns notes for the operator.

    They run expressions of the user's and can fail without anything being lost.

    Raises:
        ServerError: the server is gone, or lets us do nothing.
    """
    lists = [target.engine.analyze_sql(database)]
    if sessions > 1:
        found = await site.probe.fetch(target.instance, _RELATIONS, database)
        sizes = {str(name): int(size) for name, size in found}
        lists = [[f"ANALYZE {name}" for name in names] for names in spread(sizes, sessions)]
    notes = await all_of([_run(site, target, database, each) for each in lists])
    return [note for note in notes if note][:1]


async def _run(site: Site, target: Target, database: str, statements: Sequence[str]) -> str:
    try:
        await site.probe.execute(target.instance, statements, database=database)
    except ServerError as error:
        if error.code != "server_error":
            raise
        return f"everything is restored, but statistics were not all gathered; run ANALYZE: {error.message}"
    return ""
