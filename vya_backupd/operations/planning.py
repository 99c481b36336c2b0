"""What the restore of one database would do: everything that forbids it is said here, before anybody confirms anything."""

from __future__ import annotations

from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.errors import TargetError, UsageError
from vya_backupd.model.backup import BackupType
from vya_backupd.model.instance import Instance
from vya_backupd.operations.fitting import refuse_strange
from vya_backupd.operations.preflight_foreign import ForeignPreflight
from vya_backupd.operations.preflight_mysql import definer_doubts
from vya_backupd.operations.preflight_postgresql import refuse_lacking
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source
from vya_backupd.operations.targets import RestorePlan, Target, look_at, not_empty, refuse_unsuitable

_UNLOGGED = ("nothing of it reaches the binary log: replicas, and restores to a moment, will lack these tables",)


async def plan_one(
    site: Site, source: Source, instance: Instance, database: str, request: RestoreRequest
) -> RestorePlan:
    """Plan one database's restore.

    Raises:
        TargetError: what stands there forbids it.
        UsageError: what is asked for means nothing there.
    """
    refuse_strange(request, instance.kind)
    target = await look_at(site, instance, database)
    is_globals = source.facts is not None and source.facts.type is BackupType.GLOBALS
    refuse_unsuitable(source, target, is_globals=is_globals)
    doubts: tuple[str, ...] = ()
    if source.facts is None:
        _refuse_parts(request, source)
        doubts = await ForeignPreflight(site, source, target, request).plan()
    elif not is_globals:
        doubts = await refuse_lacking(site, source, target, request)
        doubts += await definer_doubts(site, source, target, request)
    taken = target.objects > 0
    if taken and not request.overwrite:
        raise not_empty(instance, database, target.objects)
    if taken:
        await _refuse_irreplaceable(site, target)
    return RestorePlan(
        source,
        target,
        overwrite=taken,
        actions=_actions(source, target, taken=taken, is_globals=is_globals, rows=not request.schema_only),
        warnings=(*_warnings(source, target), *doubts, *(_UNLOGGED if request.skip_binlog else ())),
    )


async def _refuse_irreplaceable(site: Site, target: Target) -> None:
    """What keeps PostgreSQL from dropping a database is better said before the new one is there."""
    if not isinstance(target.engine, PostgreSQL):
        return
    found = await site.probe.fetch(target.instance, target.engine.obstacles_sql(target.database))
    if found:
        named = ", ".join(f"{kind} {name!r}" for kind, name in found)
        raise TargetError(
            f"{target.database!r} on {target.instance.id} cannot be replaced while it has {named}",
            code="swap_refused",
            hint="Remove it there first, or restore beside the database with --target-database NAME.",
            instance=target.instance.id,
            database=target.database,
        )


def _refuse_parts(request: RestoreRequest, source: Source) -> None:
    if request.schema_only:
        raise UsageError(
            f"{source.path.name} was not written by VYA BackupDB: nothing says which of its lines are rows",
            hint="Restore it wholly, and empty the tables.",
        )


def _actions(source: Source, target: Target, *, taken: bool, is_globals: bool, rows: bool) -> tuple[str, ...]:
    verify = f"read {source.path} wholly and verify it"
    name = repr(target.database)
    if is_globals:
        account = "those that exist get the recorded passwords and rights, except the one that restores"
        return verify, f"create the users, roles and grants of the backup on {target.instance.id}; {account}"
    if taken:
        return (
            verify,
            f"restore beside {name} and check it",
            f"replace {name} by it, and drop the former {name}",
        )
    before = f"replace the empty database {name}" if target.exists and source.facts else f"create database {name}"
    if target.exists and source.facts is None:
        before = f"use the empty database {name}"
    if not rows:
        return f"read all but the rows of {source.path} and verify that", before, "restore into it, without rows"
    return verify, before, "restore into it and check it"


def _warnings(source: Source, target: Target) -> tuple[str, ...]:
    facts = source.facts
    if facts is None:
        return ()
    theirs = tuple(int(part) for part in facts.server_version.split(".") if part.isdigit())
    if theirs[:2] > target.server.version[:2]:
        return (
            f"the backup is of a newer server ({facts.server_version}) than {target.instance.id}: statements may fail",
        )
    return ()
