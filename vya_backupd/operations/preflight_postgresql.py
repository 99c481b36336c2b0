"""What a backup needs of a PostgreSQL server, asked before anything there is touched.

The server refuses a dump at the first role, extension or tablespace that it lacks, perhaps after hours. So the text that
would be sent is read for such names first, and everything that is missing is said at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vya_backupd.engines import postgresql_sql as sql
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.engines.postgresql_statement_text import Needs, needs_of
from vya_backupd.errors import IntegrityError, TargetError
from vya_backupd.model.backup import BackupFacts, Extent, Section
from vya_backupd.operations.fitting import Fit, fit_of
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source, describe_place
from vya_backupd.operations.targets import Target
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.pieces import pieces
from vya_backupd.probe.postgresql import listed

_LARGEST_TEXT = 8 << 20
"""Bytes of definitions that are read for names; of more, what was written down at the time of the backup must do."""
_SHOWN = 20
_T = TypeVar("_T", list[str], dict[str, object])


async def refuse_lacking(site: Site, source: Source, target: Target, request: RestoreRequest) -> tuple[str, ...]:
    """Refuse the restore of a database onto a server that lacks something that it needs. Returns doubts.

    Raises:
        TargetError: ``target_lacks``, with everything that is missing.
        IntegrityError: the definitions cannot be read.
    """
    if source.manifest is None or not isinstance(target.engine, PostgreSQL):
        return ()
    facts, fit = source.manifest.facts, fit_of(request)
    wanted = [each for each in source.manifest.extents if each.section in (Section.SCHEMA, Section.POST)]
    if sum(each.raw_size for each in wanted) > _LARGEST_TEXT:
        needs = _recorded(facts, fit)
    else:
        needs = await _read(site, source, wanted, fit)
        # Owners of large objects are named among the rows, which are not read here.
        needs.roles.update(_recorded(facts, fit).roles)
    _add_database(needs, facts, target.engine, fit)
    return await refuse_missing(site, facts, target, needs, request)


async def _read(site: Site, source: Source, wanted: Sequence[Extent], fit: Fit) -> Needs:
    def read() -> Needs:
        with open_source(source.path) as file:
            return needs_of((piece.text for piece in pieces(file, wanted, site.pool)), fit.unwanted)

    try:
        return await asyncio.to_thread(read)
    except IntegrityError as error:
        raise describe_place(error, source) from None


def _recorded(facts: BackupFacts, fit: Fit) -> Needs:
    """What was known at the time of the backup: which of the roles own something is not."""
    roles, extensions = (set(_json(facts, key, list)) for key in ("roles", "extensions"))
    known = set() if fit.unwanted.owner or fit.unwanted.privileges else roles
    return Needs(known, extensions - fit.unwanted.extensions)


def _json(facts: BackupFacts, key: str, kind: type[_T]) -> _T:
    """A property that is JSON. The file may be anybody's: what is something else counts as nothing."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(facts.properties.get(key, ""))
        if isinstance(found, kind) and all(isinstance(each, str) for each in found):
            return found
    return kind()


def _add_database(needs: Needs, facts: BackupFacts, engine: PostgreSQL, fit: Fit) -> None:
    """And what the database itself needs: its owner, its rights, its tablespace."""
    for statement in fit.wanted(engine.properties_sql(facts.database_sql, facts.database)):
        needs.take(statement.encode("utf-8", "surrogateescape"))
    space = facts.properties.get("tablespace", "pg_default")
    if space != "pg_default" and not fit.unwanted.tablespaces:
        needs.tablespaces.add(space)


@dataclass(frozen=True, slots=True)
class _Lack:
    """One kind of thing that is missing: its names, and the ways out."""

    what: str
    names: Sequence[str]
    ways: str


async def refuse_missing(
    site: Site, facts: BackupFacts | None, target: Target, needs: Needs, request: RestoreRequest
) -> tuple[str, ...]:
    """Compare needs with what the server has. What comes with the globals of the same restore is not missing.

    ``facts`` are None for a dump that others wrote. Returns doubts: extensions that are there in another version than in the backup.

    Raises:
        TargetError: ``target_lacks``.
    """
    rows = await site.probe.answers(target.instance, [sql.ROLES, sql.EXTENSIONS, sql.TABLESPACES])
    found = [{str(name) for name, *_ in answer} for answer in rows]
    missing = [sorted(names - there) for names, there in zip(needs, found, strict=True)]
    lacks = [each for each in _lacks(facts, target, missing, request) if each.names]
    if lacks:
        raise TargetError(
            f"{target.instance.id} lacks what {_named(facts)} needs: "
            + "; ".join(f"{each.what} {listed(each.names, _SHOWN)}" for each in lacks),
            code="target_lacks",
            hint=" ".join(each.ways for each in lacks),
            instance=target.instance.id,
            database=target.database,
        )
    offered = {str(name): str(version) for name, version in rows[1]}
    return tuple(_other_versions(facts, target, needs, offered)) if facts else ()


def _named(facts: BackupFacts | None) -> str:
    return f"the backup of {facts.database!r}" if facts else "the dump"


def _other_versions(facts: BackupFacts, target: Target, needs: Needs, offered: Mapping[str, str]) -> Iterator[str]:
    """A dump names extensions without their versions: the target makes the one that is its default."""
    recorded: dict[str, object] = _json(facts, "extension_versions", dict)
    for name in sorted(needs.extensions & recorded.keys()):
        if recorded[name] != offered[name]:
            yield (
                f"extension {name} was version {recorded[name]} and will be {offered[name]} on {target.instance.id}:"
                " what differs between them may fail or mean something else"
            )


def _lacks(
    facts: BackupFacts | None, target: Target, missing: Sequence[Sequence[str]], request: RestoreRequest
) -> Iterable[_Lack]:
    roles, extensions, tablespaces = missing
    skip = ",".join(extensions)
    yield _Lack(
        "extensions",
        extensions,
        f"Install the packages of the extensions there, or leave them out: --skip-extension {skip} (what uses them fails).",
    )
    if request.globals:
        return
    ways = "reate the roles, or leave out what names them: --no-owner, --no-privileges."
    if facts is not None:
        users = f"vyactl restore --instance {facts.instance} --globals --latest --target-instance {target.instance.id}"
        ways = f"Restore the users first ({users}), c{ways}"
    yield _Lack("roles", roles, ways if facts else f"C{ways}")
    yield _Lack("tablespaces", tablespaces, "Create the tablespaces, or use the server's default: --no-tablespaces.")
