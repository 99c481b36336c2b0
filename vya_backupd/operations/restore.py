"""Restore databases.

The runbook: find the file; look at the target; say what will happen (the plan); and, as an operation: verify the file
wholly, create the target, feed it, give it its properties, check it against the manifest, and only then, where it
replaces a database, exchange the two. Until that exchange nothing of the original is touched.
"""

from __future__ import annotations

import time
from typing import Any

from vya_backupd import faults
from vya_backupd.errors import TargetError, UsageError, VyaError
from vya_backupd.model.backup import GLOBALS_NAME, BackupType
from vya_backupd.model.instance import Instance
from vya_backupd.model.operation import State
from vya_backupd.operations.leftovers import Leftovers
from vya_backupd.operations.partial import PartialRestorer, plan_tables
from vya_backupd.operations.planning import plan_one
from vya_backupd.operations.preflight_foreign import ForeignPreflight
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.restoring import Restorer
from vya_backupd.operations.restoring_globals import GlobalsRestorer
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import (
    Source,
    in_use,
    sources_of,
)
from vya_backupd.operations.targets import RestorePlan
from vya_backupd.operations.verify import verify_source, verify_without_rows
from vya_backupd.operations.work import Work
from vya_backupd.unbroken import heed


class RestoreHandler:
    """Runs operations of kind ``restore``, and makes their plans."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._leftovers = Leftovers(site)

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        """The instance that is written to; it may be known only once the file is read, then it is checked there."""
        parsed = RestoreRequest.parse(request)
        for instance_id in filter(None, (parsed.instance, parsed.target_instance)):
            if instance_id == parsed.target_instance or parsed.target_instance is None:
                self._site.instance(instance_id)
        wanted = parsed.target_instance or parsed.instance
        return frozenset() if parsed.dry_run or wanted is None else frozenset({f"instance:{wanted}"})

    async def plan(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a restore would do now. A dry run's plan touches no server and has no targets.

        Raises:
            VyaError: it would be refused.
        """
        parsed = RestoreRequest.parse(request)
        sources = await sources_of(self._site, parsed)
        if parsed.dry_run and not parsed.is_of_tables:
            return {
                "dry_run": True,
                "restores": [{"file": str(source.path), "size_bytes": source.size_bytes} for source in sources],
            }
        plans = await self._plans(sources, parsed)
        return {
            "dry_run": parsed.dry_run,
            "restores": [plan.to_json() for plan in plans],
        }

    async def run(self, work: Work) -> dict[str, Any]:
        """See the module's text."""
        request = RestoreRequest.parse(work.operation.request)
        sources = await sources_of(self._site, request)
        if request.dry_run and not request.is_of_tables:
            return await self._dry_run(work, sources)
        plans = await self._plans(sources, request)
        for plan in plans:
            _require_confirmation(plan, request)
        if request.dry_run:
            return await self._dry_run_of_tables(work, plans, request)
        await work.plan_steps([plan.target.where for plan in plans])
        return {"restored": await self._restore_all(work, plans, request)}

    async def _restore_all(self, work: Work, plans: list[RestorePlan], request: RestoreRequest) -> list[dict[str, Any]]:
        """One after the other; the step of the globals ends last, with the rights on objects that exist only then."""
        restored, globals_run = [], None
        for plan in plans:
            heed()
            run = _Run(self._site, work, plan, request)
            if not await run.restore():
                continue
            if run.is_globals:
                globals_run = run
            else:
                restored.append(await run.finish())
        if globals_run is not None:
            heed()
            record = await globals_run.finish_globals(strict=len(plans) > 1)
            restored = [record, *restored] if record else restored
        return restored

    async def _dry_run(self, work: Work, sources: list[Source]) -> dict[str, Any]:
        """Validate the files wholly; no server is touched."""
        wheres = [_origin(source) for source in sources]
        await work.plan_steps(wheres)
        for source, where in zip(sources, wheres, strict=True):
            await work.step_started(*where)
            try:
                with in_use(self._site, source):
                    result = await verify_source(self._site, work, source, where, to_restore=True)
                detail = {"dry_run": True, "file": str(source.path), "raw_size_bytes": result.raw_size}
                await work.step_finished(*where, State.SUCCEEDED, detail=detail)
            except VyaError as error:
                await work.step_finished(*where, State.FAILED, error=error.at(*where))
        return {"dry_run": True}

    async def _dry_run_of_tables(self, work: Work, plans: list[RestorePlan], request: RestoreRequest) -> dict[str, Any]:
        """Validate what would be read; the servers were only looked at."""
        await work.plan_steps([plan.target.where for plan in plans])
        for plan in plans:
            if plan.tables is None:
                continue
            await work.step_started(*plan.target.where)
            try:
                with in_use(self._site, plan.source):
                    await PartialRestorer(self._site, work, plan, plan.tables, request).verify()
                detail = {"dry_run": True, "file": str(plan.source.path), "read_bytes": plan.tables.read_bytes}
                await work.step_finished(*plan.target.where, State.SUCCEEDED, detail=detail)
            except VyaError as error:
                await work.step_finished(*plan.target.where, State.FAILED, error=error.at(*plan.target.where))
        return {"dry_run": True}

    # choosing

    async def _plans(self, sources: list[Source], request: RestoreRequest) -> list[RestorePlan]:
        """A plan for each. What the target lacks is said of all of them at once. Raises VyaError."""
        plans: list[RestorePlan] = []
        lacking: list[TargetError] = []
        for source in sources:
            try:
                plans.append(await self._plan_one(source, request))
            except TargetError as error:
                if error.code != "target_lacks":
                    raise
                lacking.append(error)
        if lacking:
            raise _joined(lacking)
        return plans

    async def _plan_one(self, source: Source, request: RestoreRequest) -> RestorePlan:
        site, facts = self._site, source.facts
        instance_id = request.target_instance or request.instance or (facts.instance if facts else None)
        if instance_id is None:
            raise UsageError(
                "a foreign file does not say where it came from: name a target instance", hint="--target-instance ID"
            )
        await self._leftovers.take_away(instance_id)
        if facts is not None and facts.type is BackupType.GLOBALS:
            return await plan_one(site, source, self._instance(instance_id), GLOBALS_NAME, request)
        database = request.target_database or (facts.database if facts else None)
        if database is None:
            raise UsageError(
                "a foreign file does not say what it is: name a target database", hint="--target-database NAME"
            )
        if request.is_of_tables:
            return await plan_tables(site, source, self._instance(instance_id), database, request)
        return await plan_one(site, source, self._instance(instance_id), database, request)

    def _instance(self, instance_id: str) -> Instance:
        return self._site.instance(instance_id)


class _Run:
    """One database's step, from its start to its recorded end."""

    def __init__(self, site: Site, work: Work, plan: RestorePlan, request: RestoreRequest) -> None:
        self._site = site
        self._work = work
        self._plan = plan
        self._request = request
        facts = plan.source.facts
        self.is_globals = facts is not None and facts.type is BackupType.GLOBALS
        self._globals = GlobalsRestorer(site, work, plan)
        self._restorer = self._globals if self.is_globals else _restorer(site, work, plan, request)
        self._began = time.monotonic()
        self._detail: dict[str, Any] = {}

    async def restore(self) -> bool:
        """Verify the file and restore it; whether that went well. A failure is recorded."""
        where = self._plan.target.where
        await self._work.step_started(*where)
        try:
            with in_use(self._site, self._plan.source):
                if isinstance(self._restorer, PartialRestorer):
                    await self._restorer.verify()
                elif self._plan.source.facts is None:
                    await self._verify_foreign()
                elif self._request.schema_only and not self.is_globals:
                    await verify_without_rows(self._site, self._work, self._plan.source, where)
                else:
                    await verify_source(self._site, self._work, self._plan.source, where)
                faults.point("restore.verified")
                self._detail = await self._restorer.run()
        except VyaError as error:
            await self._fail(error)
            return False
        return True

    async def _verify_foreign(self) -> None:
        """Verify the file; what it needs of the server is read on the way, and asked before that is touched."""
        preflight = ForeignPreflight(self._site, self._plan.source, self._plan.target, self._request)
        survey = preflight.survey()
        where = self._plan.target.where
        await verify_source(self._site, self._work, self._plan.source, where, to_restore=True, read=survey.feed)
        survey.finish()
        await preflight.judge(survey.found)
        if isinstance(self._restorer, Restorer):
            self._restorer.definers = preflight.definers(survey.found)

    async def finish(self) -> dict[str, Any]:
        """Record the good end."""
        where, stored = self._plan.target.where, self._plan.source.stored
        detail = self._detail | {"seconds": round(time.monotonic() - self._began, 3)}
        backup_id = stored.id if stored else None
        try:
            await self._work.step_finished(*where, State.SUCCEEDED, backup_id=backup_id, detail=detail)
        except VyaError as error:
            error.message = f"{where[1]!r} is restored, and the catalog did not take that: {error.message}"
            raise error.at(*where) from None
        return {"instance": where[0], "database": where[1], "file": str(self._plan.source.path), **detail}

    async def finish_globals(self, *, strict: bool) -> dict[str, Any] | None:
        """Give the rights on single objects. Not ``strict``: their databases may not be here, which is only noted."""
        try:
            await self._globals.grant_on_objects()
        except VyaError as error:
            if strict:
                await self._fail(error)
                return None
            self._detail["notes"].append(f"rights on single objects were not given: {error.message}")
        return await self.finish()

    async def _fail(self, error: VyaError) -> None:
        where = self._plan.target.where
        try:
            await self._work.step_finished(*where, State.FAILED, error=error.at(*where))
        except VyaError as refused:  # the first failure is the one to tell
            raise error from refused


def _restorer(site: Site, work: Work, plan: RestorePlan, request: RestoreRequest) -> Restorer | PartialRestorer:
    if plan.tables is not None:
        return PartialRestorer(site, work, plan, plan.tables, request)
    return Restorer(site, work, plan, request)


def _joined(errors: list[TargetError]) -> TargetError:
    """What several databases lack, as one refusal."""
    first = errors[0]
    if len(errors) == 1:
        return first
    hints = dict.fromkeys(error.hint for error in errors)
    message = ". ".join(error.message for error in errors)
    return TargetError(message, code=first.code, hint=" ".join(hints), instance=first.instance)


def _origin(source: Source) -> tuple[str, str]:
    return (source.facts.instance, source.facts.database) if source.facts else ("(file)", source.path.name)


def _require_confirmation(plan: RestorePlan, request: RestoreRequest) -> None:
    """Overwriting needs the target's name in the request; for a whole server, the instance's."""
    expected = plan.target.instance.id if request.all else plan.confirmed_by
    if plan.overwrite and not request.dry_run and request.confirmed_target != expected:
        raise TargetError(
            f"replacing {plan.confirmed_by!r} on {plan.target.instance.id} was not confirmed by its name",
            code="target_not_empty",
            hint=f"Confirm with the name {expected!r}.",
            instance=plan.target.instance.id,
            database=plan.target.database,
        )
