"""Restore single tables out of a backup.

The runbook: read the parts of the file that say what is in it; choose the entries and extents of the tables; look at the
target and say what will happen; and, as an operation: read and verify exactly the bytes that are needed, create the
database where there is none, make the tables, check their rows. No other table is touched, and one that is there gives
way only when its successor is whole.
"""

from __future__ import annotations

import asyncio
from typing import Any

from vya_backupd.engines import mysql_sql
from vya_backupd.engines.mysql_definer_text import definers_in
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.errors import IntegrityError, NotFoundError, UsageError, VyaError
from vya_backupd.model.backup import Extent, Section
from vya_backupd.model.instance import Instance
from vya_backupd.model.operation import Progress
from vya_backupd.operations import partial_mysql
from vya_backupd.operations.belongings import Notebook, beside_name, token
from vya_backupd.operations.extract import manifest_of
from vya_backupd.operations.fitting import fit_of, refuse_strange
from vya_backupd.operations.partial_failures import explain
from vya_backupd.operations.partial_postgresql import PostgresqlTables
from vya_backupd.operations.preflight_mysql import check_definers
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.selection import SEQUENCES, Contents, open_contents, resolve, text_of, with_rows
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source, describe_place, in_use
from vya_backupd.operations.targets import RestorePlan, TablesPlan, Target, look_at, refuse_long, refuse_unsuitable
from vya_backupd.operations.work import Work
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.pieces import prove


async def plan_tables(
    site: Site, source: Source, instance: Instance, database: str, request: RestoreRequest
) -> RestorePlan:
    """Plan the restore of single tables.

    Raises:
        VyaError: there is no such table, or what stands at the target forbids it.
    """
    refuse_strange(request, instance.kind)
    target = await look_at(site, instance, database)
    refuse_unsuitable(source, target, is_globals=False)
    for part in (request.target_table or "").split("."):
        refuse_long(part, instance.kind)
    if request.data_only and not target.exists:
        raise NotFoundError(
            f"there is no database {database!r} on {instance.id} to put rows into",
            code="unknown_database",
            hint=request.way_to_tables,
            instance=instance.id,
            database=database,
        )
    try:
        with in_use(site, source):
            tables = await _Planner(site, source, target, request).plan()
    except IntegrityError as error:
        raise describe_place(error, source) from None
    return RestorePlan(
        source, target, bool(tables.replaced), _actions(source, target, tables, request), _notes(tables), tables
    )


_TRIGGERS = "\0triggers"
"""The key of the text of all triggers, beside the names of tables."""


class _Planner:
    def __init__(self, site: Site, source: Source, target: Target, request: RestoreRequest) -> None:
        self._site = site
        self._source = source
        self._target = target
        self._request = request

    async def plan(self) -> TablesPlan:
        """Read what the file says of its tables, then look at the target."""
        manifest = await manifest_of(self._source)
        if manifest.facts.engine is not self._target.instance.kind:
            raise UsageError(f"a backup of {manifest.facts.engine} does not go onto {self._target.instance.kind}")
        contents, names, texts = await asyncio.to_thread(self._read, manifest)
        if contents.listing is not None:
            return await self._postgresql(contents, names, texts)
        return await self._mysql(contents, names, texts)

    def _read(self, manifest: Any) -> tuple[Contents, tuple[str, ...], dict[str, bytes]]:
        """The contents, the tables that are meant, and the small texts that are needed of them."""
        pool = self._site.pool
        with open_source(self._source.path) as file:
            contents = open_contents(file, manifest, pool)
            tables = self._request.tables
            names = resolve(file, contents, tables, pool) if tables else with_rows(file, contents, pool)
            if contents.listing is not None:
                return contents, names, {SEQUENCES: text_of(file, contents, Section.DATA, SEQUENCES, pool)}
            definitions = {name: text_of(file, contents, Section.SCHEMA, name, pool) for name in names}
            wanted = [] if self._request.data_only else names
            triggers = b"".join(text_of(file, contents, Section.POST, name, pool) for name in wanted)
            return contents, names, {**definitions, _TRIGGERS: triggers}

    async def _postgresql(self, contents: Contents, names: tuple[str, ...], texts: dict[str, bytes]) -> TablesPlan:
        job = PostgresqlTables(self._site, self._target, self._source, contents, self._request)
        choice = await job.choose(names, texts[SEQUENCES])
        await job.refuse_lacking()
        sequences = contents.extents(Section.DATA, [SEQUENCES])
        read = contents.read + sum(each.size for each in sequences)
        return self._planned(contents, choice.places, choice.replaced, job.extents, read, job)

    async def _mysql(self, contents: Contents, names: tuple[str, ...], texts: dict[str, bytes]) -> TablesPlan:
        site, target, request = self._site, self._target, self._request
        triggers = texts.pop(_TRIGGERS)
        places, replaced, there = await partial_mysql.choose(site, target, request, names)
        partial_mysql.refuse_odd_keys(texts)
        definers = sorted(definers_in(triggers))
        doubts = await check_definers(site, contents.manifest.facts, target, definers, request)
        job = partial_mysql.MysqlTables(
            site, target, self._source, contents, request, places, replaced, texts, triggers, there, doubts
        )
        read = contents.read + sum(each.size for each in contents.extents(Section.SCHEMA, names))
        return self._planned(contents, places, replaced, job.extents, read, job)

    def _planned(
        self,
        contents: Contents,
        places: Any,
        replaced: tuple[str, ...],
        extents: tuple[Extent, ...],
        read: int,
        job: Any,
    ) -> TablesPlan:
        counted = [contents.rows(name) for name in places if contents.extents(Section.DATA, [name])]
        rows = None if None in counted else sum(each or 0 for each in counted)
        return TablesPlan(
            places,
            replaced,
            extents,
            read + sum(each.size for each in extents),
            sum(each.raw_size for each in extents),
            None if self._request.schema_only else rows,
            job,
        )


def _actions(source: Source, target: Target, tables: TablesPlan, request: RestoreRequest) -> tuple[str, ...]:
    file_bytes = source.size_bytes
    share = tables.read_bytes / file_bytes if file_bytes else 1.0
    reading = f"read {tables.read_bytes} of the {file_bytes} bytes of {source.path} ({share:.1%}) and verify them"
    actions = [f"{reading}; the rest of the file is not looked at"]
    if not target.exists:
        actions.append(f"create database {target.database!r}")
    if not request.tables:
        return (*actions, f"put the rows of all tables that have some, {len(tables.places)}, into them")
    for name, place in tables.places.items():
        called = name if name == place else f"{name} as {place}"
        if request.data_only:
            actions.append(f"put the rows of {name} into it{', beside those that it has' if request.append else ''}")
        elif place in tables.replaced:
            actions.append(f"restore {called}, and replace the table that is there in one step")
        else:
            actions.append(f"restore {called}{' without its rows' if request.schema_only else ''}")
    return tuple(actions)


def _notes(tables: TablesPlan) -> tuple[str, ...]:
    return tuple(tables.job.notes)


class PartialRestorer:
    """One restore of single tables."""

    def __init__(self, site: Site, work: Work, plan: RestorePlan, tables: TablesPlan, request: RestoreRequest) -> None:
        self._site = site
        self._fit = fit_of(request)
        self._work = work
        self._plan = plan
        self._tables = tables
        self._target = plan.target
        state_dir = site.config.application.state_dir
        self._notebook = Notebook(state_dir, work.operation.id, *plan.target.where)

    async def verify(self) -> None:
        """Read what will be restored, and nothing else, and compare it with every digest that covers it.

        Raises:
            IntegrityError: the first damage.
        """
        try:
            await asyncio.to_thread(self._prove)
        except VyaError as error:
            raise describe_place(error, self._plan.source) from None

    def _prove(self) -> None:
        with open_source(self._plan.source.path) as file:
            prove(file, self._tables.extents, self._site.pool, lambda raw: self._tell("verifying", raw))

    async def run(self) -> dict[str, Any]:
        """Do it. Returns what the step's record keeps.

        Raises:
            VyaError: whatever failed first; the target is as it was.
        """
        if self._target.exists:
            notes = await self._make(self._target.database)
        elif isinstance(self._target.engine, PostgreSQL):
            notes = await self._arrive(self._target.engine)
        else:
            notes = await self._in_new()
        tables = self._tables
        return {
            "raw_size_bytes": tables.raw_bytes,
            "read_bytes": tables.read_bytes,
            "file_bytes": self._plan.source.size_bytes,
            "tables": list(tables.places.values()),
            "rows_checked": tables.rows or 0,
            "notes": [*tables.job.notes, *notes],
        }

    async def _make(self, database: str) -> list[str]:
        try:
            return await self._tables.job.run(self._work.operation.id, self._notebook, database, self._tell)
        except VyaError as error:
            explain(error)
            raise

    async def _arrive(self, engine: PostgreSQL) -> list[str]:
        """Into a database that gets its name when the tables are in it."""
        beside = beside_name(self._target.database, f"new_{token(self._work.operation.id)}")
        facts, fit = self._plan.source.facts, self._fit
        self._notebook.making(beside)
        properties = fit.properties(facts.properties) if facts else {}
        await self._execute(engine.create_database_sql(beside, properties, self._target.server))
        try:
            notes = await self._make(beside)
            settings = fit.wanted(engine.properties_sql(facts.database_sql, beside)) if facts else []
            await self._execute([*settings, *engine.rename_database_sql(beside, self._target.database)])
        except BaseException:
            await self._drop_again(beside)
            raise
        self._notebook.gone(beside)
        return notes

    async def _in_new(self) -> list[str]:
        """Into a database that is marked until the tables are in it."""
        database, marker, facts = self._target.database, self._notebook.now.marker, self._plan.source.facts
        self._notebook.making(database)
        create = self._target.engine.create_database_sql(
            database, facts.properties if facts else {}, self._target.server
        )
        await self._execute([*create, mysql_sql.mark(database, marker)])
        try:
            notes = await self._make(database)
            await self._execute([mysql_sql.unmark(database, marker)])
        except BaseException:
            await self._drop_again(database)
            raise
        self._notebook.gone(database)
        return notes

    async def _drop_again(self, database: str) -> None:
        async def drop() -> None:
            await self._execute(self._target.engine.drop_database_sql(database, self._target.server))
            self._notebook.gone(database)

        await asyncio.shield(asyncio.ensure_future(drop()))

    async def _execute(self, statements: list[str]) -> None:
        if statements:
            place = self._target.engine.outside_of(self._target.database)
            await self._site.probe.execute(self._target.instance, statements, database=place)

    def _tell(self, phase: str, raw: int) -> None:
        where, expected = self._target.where, self._tables.raw_bytes
        self._work.progress(Progress(self._work.operation.id, *where, phase, raw, expected))
