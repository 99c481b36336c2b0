"""Carry one verified file into one database.

The file has been read wholly before this begins. What is created here is dropped again when something fails, so that
nothing half-restored stays behind under a name that somebody could use; an original that is to be replaced is not
touched before its replacement stands beside it, complete and checked.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from vya_backupd import faults
from vya_backupd.engines import mysql_sql
from vya_backupd.engines.mysql_events import EventSilencer
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import Section
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.operation import Progress
from vya_backupd.operations.analyzing import analyze
from vya_backupd.operations.belongings import Notebook, beside_name, token
from vya_backupd.operations.checking import check_restored
from vya_backupd.operations.feeding import Fed, Feeding
from vya_backupd.operations.feeding_choice import feeder_for
from vya_backupd.operations.fitting import fit_of
from vya_backupd.operations.lending import definers_lent
from vya_backupd.operations.phases import Phases
from vya_backupd.operations.preflight_mysql import named_definers
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.site import Site
from vya_backupd.operations.swapping import Exchange
from vya_backupd.operations.targets import RestorePlan, refuse_filled
from vya_backupd.operations.work import Work

_log = structlog.get_logger("vya.restore")


class Restorer:
    """One restore of one file. ``definers`` are the accounts that its text names, so far as they are known."""

    def __init__(self, site: Site, work: Work, plan: RestorePlan, request: RestoreRequest) -> None:
        self.definers = named_definers(plan.source.facts, request)
        self._site = site
        self._work = work
        self._plan = plan
        self._request = request
        self._target = plan.target
        self._fit = fit_of(request)
        self._expected = plan.source.manifest.raw_size_bytes if plan.source.manifest else 0
        self._silenced: list[str] = []
        self._phases = Phases()
        state_dir = site.config.application.state_dir
        self._notebook = Notebook(state_dir, work.operation.id, *plan.target.where)

    async def run(self) -> dict[str, Any]:
        """Do it. Returns what the step's record keeps.

        Raises:
            VyaError: whatever failed first. What had been created is gone then, or is named in the error's hint.
        """
        places = [self._target.database, *([self._beside("new")] if self._plan.overwrite else [])]
        async with definers_lent(self._site, self._target, self.definers, places, self._notebook) as notes:
            detail = await self._restore_database()
        detail["notes"] += notes
        return detail

    def _beside(self, role: str) -> str:
        """The name under which a ``new`` database stands beside the original, or the ``old`` one beside its successor."""
        return beside_name(self._target.database, f"{role}_{token(self._work.operation.id)}")

    async def _restore_database(self) -> dict[str, Any]:
        facts = self._plan.source.facts
        if self._plan.overwrite:
            return await self._replace()
        engine = self._target.engine
        if isinstance(engine, PostgreSQL) and (facts is not None or not self._target.exists):
            return await self._arrive(engine)
        return await self._restore_as(self._target.database)

    async def _arrive(self, engine: PostgreSQL) -> dict[str, Any]:
        """Restore under another name and give the wanted one last: nobody ever meets a database that is half there.

        MySQL and MariaDB cannot rename a database: there a restore that is killed leaves one that is marked.
        """
        target = self._target
        beside = self._beside("new")
        detail = await self._restore_as(beside)
        try:
            await self._drop_empty()
            await self._execute(engine.rename_database_sql(beside, target.database))
        except BaseException as error:
            await self._drop_again(beside, error)
            raise
        self._notebook.gone(beside)
        return detail

    async def _replace(self) -> dict[str, Any]:
        """Restore beside the original, then exchange the two."""
        beside, aside = self._beside("new"), self._beside("old")
        detail = await self._restore_as(beside)
        self._tell("swapping", detail["raw_size_bytes"])
        try:
            events = self._silenced if self._events_run else []
            exchange = Exchange(self._site, self._target, self._notebook, beside, aside)
            detail["notes"] += await exchange.run(disconnect=self._request.disconnect, enable_events=events)
        except BaseException as error:
            if not self._notebook.is_exchanging:  # else the way back leads over it
                await self._drop_again(beside, error)
            raise
        return detail | {"replaced": True}

    async def _restore_as(self, database: str) -> dict[str, Any]:
        """Create, feed, finish and check a database of this name."""
        created = await self._create(database)
        try:
            faults.point("restore.created")
            fed = await self._feed(database)
            faults.point("restore.fed")
            notes = [*fed.notes, *await self._finish(database, fed.sessions)]
            if created and self._is_marked(database):
                await self._execute([mysql_sql.unmark(database, self._notebook.now.marker)])
            self._tell("checking", fed.raw_size)
            with_rows = not self._request.schema_only
            checked = await check_restored(
                self._site, self._target, database, self._plan.source.manifest, fed.sessions, rows=with_rows
            )
            faults.point("restore.finished")
            if created and self._is_marked(database):
                self._notebook.gone(database)
        except BaseException as error:
            if created:
                await self._drop_again(database, error)
            elif isinstance(error, VyaError):
                left = f"What was restored until then stands in {database!r}: empty it first."
                error.hint = f"{error.hint} {left}".strip()
            raise
        phases = self._phases.ended()
        return {"raw_size_bytes": fed.raw_size, "sessions": fed.sessions, "phases": phases, "notes": notes, **checked}

    async def _create(self, database: str) -> bool:
        """Make the empty database; whether it is of our making and may be dropped again."""
        facts, target = self._plan.source.facts, self._target
        stands = target.exists and database == target.database
        if facts is None and stands:
            await refuse_filled(self._site, target)
            return False
        if stands:
            await self._drop_empty()
        properties = self._fit.properties(facts.properties) if facts else {}
        statements = target.engine.create_database_sql(database, properties, target.server)
        if self._is_marked(database):
            statements.append(mysql_sql.mark(database, self._notebook.now.marker))
        self._tell("creating", 0)
        self._notebook.making(database)
        await self._execute(statements)
        return True

    async def _drop_empty(self) -> None:
        """Make way: drop the empty database that stands under the wanted name, if one does."""
        target = self._target
        if not target.exists:
            return
        await refuse_filled(self._site, target)
        if self._request.disconnect:
            await self._execute(target.engine.disconnect_sql(target.database))
        await self._execute(target.engine.drop_database_sql(target.database, target.server))

    def _is_marked(self, database: str) -> bool:
        """Whether a database that we make bears the wanted name from the beginning, and a mark until it is whole."""
        return database == self._target.database and self._target.instance.kind is not EngineKind.POSTGRESQL

    async def _feed(self, database: str) -> Fed:
        """Give the database the dump."""
        silencer = EventSilencer() if self._events_wait(database) else None
        self._tell("restoring", 0)
        source, sessions = self._plan.source, self._request.sessions
        binlog = self._request.skip_binlog
        sections = frozenset(Section) - {Section.DATA} if self._request.schema_only else None
        feeding = Feeding(
            self._site, self._target, database, source, self._tell, silencer, sessions, binlog, self._fit, sections
        )
        fed = await feeder_for(feeding).feed(feeding)
        self._silenced = silencer.names if silencer else []
        return fed

    async def _finish(self, database: str, sessions: int) -> list[str]:
        """Properties of the database itself, statistics, and silence for a copy's events."""
        facts, target = self._plan.source.facts, self._target
        notes = []
        if facts is not None and facts.database_sql:
            self._tell("setting properties", self._expected)
            await self._execute(self._fit.wanted(target.engine.properties_sql(facts.database_sql, database)))
        if target.engine.analyze_sql(database):
            self._tell("analyzing", self._expected)
            notes += await analyze(self._site, target, database, sessions)
        if self._events_wait(database):
            self._silenced += await self._silence_events(database)
            if self._silenced and not self._events_run:
                count = len(self._silenced)
                notes.append(f"{count} events were disabled in the copy; --enable-events leaves them on")
        return notes

    @property
    def _events_run(self) -> bool:
        """Whether events may run in the restored database: it takes its original's place, or somebody wants it so."""
        facts, target = self._plan.source.facts, self._target
        is_copy = facts is None or target.database != facts.database or target.instance.id != facts.instance
        return self._request.enable_events or not is_copy

    def _events_wait(self, database: str) -> bool:
        """Whether events of this database must not run now: it is a copy, or has yet to take its original's place."""
        return self._target.instance.kind is not EngineKind.POSTGRESQL and (
            database != self._target.database or not self._events_run
        )

    async def _silence_events(self, database: str) -> list[str]:
        """Disable what is enabled all the same (a foreign file's events). Returns the names; owners stay who they are."""
        target = self._target
        quoted = database.replace("\\", "\\\\").replace("'", "''")
        rows = await self._site.probe.fetch(
            target.instance,
            "SELECT EVENT_NAME, DEFINER FROM information_schema.EVENTS"  # noqa: S608 - a literal, quoted above
            f" WHERE EVENT_SCHEMA = '{quoted}' AND STATUS = 'ENABLED'",
        )
        quote = target.engine.quote
        await self._execute(
            [
                f"ALTER DEFINER={'@'.join(map(quote, str(definer).rsplit('@', 1)))}"
                f" EVENT {quote(database)}.{quote(str(name))} DISABLE"
                for name, definer in rows
            ]
        )
        return [str(name) for name, _ in rows]

    # small things

    async def _execute(self, statements: list[str]) -> None:
        target = self._target
        if statements:
            outside = target.engine.outside_of(target.database)
            await self._site.probe.execute(target.instance, statements, database=outside)

    async def _drop_again(self, database: str, failure: BaseException) -> None:
        """Remove what we made. The failure that brought us here is the one to tell; its hint names what is left."""
        try:
            await asyncio.shield(asyncio.ensure_future(self._drop(database)))
        except VyaError as error:
            _log.error("restore.left_behind", instance=self._target.instance.id, database=database, error=error.message)
            if isinstance(failure, VyaError):
                failure.hint = (
                    f"{failure.hint} {database!r} is half restored and could not be dropped: drop it.".strip()
                )

    async def _drop(self, database: str) -> None:
        target = self._target
        if statements := target.engine.before_drop_sql(database):
            await self._site.probe.execute(target.instance, statements, database=database)
        await self._execute(target.engine.drop_database_sql(database, target.server))
        self._notebook.gone(database)

    def _tell(self, phase: str, raw: int) -> None:
        self._phases.enter(phase)
        where = self._target.where
        self._work.progress(Progress(self._work.operation.id, *where, phase, raw, self._expected))
