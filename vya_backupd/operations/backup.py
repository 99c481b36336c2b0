"""Back up databases.

The runbook: ask every instance what it is and which databases it has; announce one step for each database, and one for
the globals of each instance; let them pass through a line, in which one is dumped at a time unless asked otherwise and
never more at once than there are workers; report each end. A database that fails does not stop the others. An instance
that does not answer is one failed step of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from vya_backupd.engines.tools import Tool
from vya_backupd.errors import NotFoundError, UsageError, VyaError
from vya_backupd.model.backup import GLOBALS_NAME
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.model.instance import Instance, ServerFacts
from vya_backupd.model.operation import OperationKind, State
from vya_backupd.operations.dumping import Dumped, Dumper
from vya_backupd.operations.line import Line
from vya_backupd.operations.looking import Dump
from vya_backupd.operations.prune import after_backup
from vya_backupd.operations.requests import BackupRequest
from vya_backupd.operations.site import Site, nearest
from vya_backupd.operations.work import Work
from vya_backupd.policy import retry

_log = structlog.get_logger("vya.backup")

EVERYTHING = "*"
"""The step of an instance of which nothing could be learned."""


@dataclass(frozen=True, slots=True)
class _Surveyed:
    """An instance that answered, and its databases to back up; or the error that it answered with; or both."""

    instance: Instance
    server: ServerFacts | None = None
    databases: tuple[str, ...] = ()
    error: VyaError | None = None


class BackupHandler:
    """Runs operations of kind ``backup``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        """Each instance that is backed up. Raises NotFoundError for one that is not configured."""
        parsed = BackupRequest.parse(request)
        return frozenset(f"instance:{each.id}" for each in self._site.enabled_instances(parsed.instances))

    async def run(self, work: Work) -> dict[str, Any]:
        """See the module's text. A dry run stops after the survey of each database."""
        request = BackupRequest.parse(work.operation.request)
        surveyed = await self._survey(request)
        jobs = [job for each in surveyed for job in self._jobs(each, request)]
        failed = [each for each in surveyed if each.error is not None]
        await work.plan_steps(
            [(each.instance.id, EVERYTHING) for each in failed] + [(job.instance.id, job.database) for job in jobs]
        )
        for each in failed:
            await work.step_finished(each.instance.id, EVERYTHING, State.FAILED, error=each.error)
        workers = (request.workers or self._site.config.backup.workers) if request.parallel else 1
        await self._run_all(work, jobs, Line(workers))
        await after_backup(self._site, work, request)
        return {"dry_run": True} if self._is_dry(request) else {}

    def _is_dry(self, request: BackupRequest) -> bool:
        return request.dry_run or self._site.config.backup.dry_run

    async def _survey(self, request: BackupRequest) -> list[_Surveyed]:
        instances = self._site.enabled_instances(request.instances)
        if not instances:
            raise NotFoundError(
                "no instance is configured and enabled",
                code="unknown_instance",
                hint="Add one to the credentials file: see docs/configuration.md.",
            )
        surveyed = await asyncio.gather(*(self._survey_one(instance) for instance in instances))
        if request.databases is not None:
            return _only(surveyed, request.databases, resumed=request.resumed)
        return list(surveyed)

    async def _survey_one(self, instance: Instance) -> _Surveyed:
        try:
            server = await self._site.probe.server(instance)
            databases = await self._site.probe.databases(instance)
        except VyaError as error:
            return _Surveyed(instance, error=error)
        if GLOBALS_NAME in databases:
            reserved = UsageError(
                f"a database is called {GLOBALS_NAME!r}: the name stands for users and grants, and it is not backed up",
                hint="Rename it, or name it in exclude_databases of the instance.",
            )
            databases = [name for name in databases if name != GLOBALS_NAME]
            return _Surveyed(instance, server, tuple(databases), reserved)
        return _Surveyed(instance, server, tuple(databases))

    def _jobs(self, surveyed: _Surveyed, request: BackupRequest) -> list[Dump]:
        if surveyed.server is None:
            return []
        names = list(surveyed.databases)
        whole = request.databases is None or request.resumed
        if whole and request.globals and self._site.config.backup.include_globals:
            names.append(GLOBALS_NAME)
        level = request.compression_level or self._site.config.backup.compression_level
        codec = FileCodec(request.codec or self._site.config.backup.codec)
        dry = self._is_dry(request)
        return [Dump(surveyed.instance, surveyed.server, name, level, codec, dry) for name in names]

    async def _run_all(self, work: Work, jobs: Sequence[Dump], line: Line) -> None:
        """Each job to its end. Then the first failure that was not one of a database: it stops no other."""
        tools = _Tools(self._site)
        failures: list[Exception] = []

        async def run(job: Dump) -> None:
            try:
                await self._run_one(work, job, line, tools)
            except Exception as error:  # noqa: BLE001 - whatever it is, other databases are dumped, perhaps for hours
                failures.append(error)

        async with asyncio.TaskGroup() as group:
            for job in jobs:
                await line.flight.acquire()
                task = group.create_task(run(job), name=f"backup {job.instance.id}/{job.database}")
                task.add_done_callback(lambda _: line.flight.release())
        if failures:
            raise failures[0]

    async def _run_one(self, work: Work, job: Dump, line: Line, tools: _Tools) -> None:
        """One step, to its end or failure on record. What leaves through here could not be recorded, or is a defect."""
        where = (job.instance.id, job.database)
        begun = False

        async def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                await work.step_started(*where)

        try:
            done = await self._attempts(work, job, line, tools, begin)
        except VyaError as error:
            await work.step_finished(*where, State.FAILED, error=error.at(*where))
            return
        await work.step_finished(*where, State.SUCCEEDED, backup_id=done.backup_id, detail=done.detail)
        if done.backup_id and self._site.config.backup.verify_integrity:
            # An operation of its own: reading back is no part of the backup's time, and its failure is not the backup's.
            await self._site.ask(OperationKind.VERIFY, {"backup_id": done.backup_id})

    async def _attempts(
        self, work: Work, job: Dump, line: Line, tools: _Tools, begin: Callable[[], Awaitable[None]]
    ) -> Dumped:
        settings = self._site.config.backup
        budget = retry.Budget(settings.attempts, settings.retry_wait.total_seconds())
        for attempt in itertools.count(1):
            try:
                dumper = Dumper(self._site, work, job, tools.installed)
                return await dumper.run(line.looking, lambda: line.turn(self._site.dumps, begin))
            except VyaError as error:
                tools.forget()
                decision = retry.decide(error, attempt, budget, roll=random.random())  # noqa: S311 - spreads load
                if not decision.again:
                    raise
                place = {"instance": job.instance.id, "database": job.database}
                _log.warning("backup.retry", **place, reason=decision.reason, error=error.message)
            await asyncio.sleep(decision.delay)
        raise AssertionError  # pragma: no cover - the count does not end


class _Tools:
    """The tools of this machine, looked for once for many databases, and again after a failure."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._found: Sequence[Tool] | None = None

    async def installed(self) -> Sequence[Tool]:
        """All of them. Raises ToolError as ``ToolFinder``."""
        if self._found is None:
            self._found = await self._site.tools.installed_tools()
        return self._found

    def forget(self) -> None:
        """Look anew the next time."""
        self._found = None


def _only(surveyed: Sequence[_Surveyed], wanted: Sequence[str], *, resumed: bool) -> list[_Surveyed]:
    """The survey, cut down to the wanted databases, each of which must be somewhere, unless it may be gone since."""
    found = {name for each in surveyed for name in each.databases}
    missing = [name for name in dict.fromkeys(wanted) if name not in found]
    answered = all(each.error is None for each in surveyed)
    if missing and answered and not resumed:
        raise NotFoundError(
            f"no such database: {', '.join(map(repr, missing))}",
            code="unknown_database",
            hint=f"{nearest(missing[0], found)} See 'vyactl backup --list-databases'.",
            instance=surveyed[0].instance.id if len(surveyed) == 1 else None,
            database=missing[0],
        )
    cut = [
        _Surveyed(each.instance, each.server, tuple(name for name in each.databases if name in wanted), each.error)
        for each in surveyed
    ]
    return [each for each in cut if each.databases or each.error is not None or resumed]
