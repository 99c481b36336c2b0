"""Delete the backups that no rule of retention keeps any more.

The runbook: wait until catalog and store were compared; end what an earlier deletion left undone; have every backup
judged (``judging``); one step for each database of which something expires. In it, look whether the backups that are to
stay are really there, for the others may be the last ones; note what is to be deleted, so that a start after a crash
ends it and tells it as what it is; then, for each that expires, read its manifest in the store once more, since a hold
may be newer than the catalog; delete it by tombstone; strike it off with the reason. What is being read, or is about to
be, stays for the next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from vya_backupd import faults
from vya_backupd.errors import IntegrityError, NotFoundError, StorageError, VyaError
from vya_backupd.model.backup import BackupType, Outline, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, Progress, State
from vya_backupd.operations.claims import claimed
from vya_backupd.operations.judging import judge
from vya_backupd.operations.requests import BackupRequest, PruneRequest
from vya_backupd.operations.site import Site
from vya_backupd.operations.stock import end_deletions
from vya_backupd.operations.work import Work
from vya_backupd.policy.retention import LAST_SUCCESS, Verdict, is_held
from vya_backupd.unbroken import to_its_end

PERIOD = timedelta(days=1)
"""How often the rules are applied to everything, besides after each backup."""
_SAMPLE = 20
"""Names that an error lists before it only counts."""
_NOTED = 100
"""Deletions that are noted at once."""

_log = structlog.get_logger("vya.retention")


@dataclass(slots=True)
class _Tally:
    """What came of one database, or of all."""

    kept: int = 0
    expired: int = 0
    freed_bytes: int = 0
    doomed: int = 0
    skipped: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"kept": self.kept, "expired": self.expired, "freed_bytes": self.freed_bytes}
        return record | ({"skipped": self.skipped} if self.skipped else {})


class PruneHandler:
    """Runs operations of kind ``prune``. While ``cleanup_enabled`` is false they only say what they would do."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        """The catalog, which a rebuild makes anew. No instance: whoever backs up meanwhile only adds."""
        PruneRequest.parse(request)
        return frozenset({"catalog"})

    async def run(self, work: Work) -> dict[str, Any]:
        """See the module's text."""
        request = PruneRequest.parse(work.operation.request)
        await self._site.stock.wait()
        async with self._site.manifests:
            await end_deletions(self._site)
        total = _Tally()
        failed = False
        async with aclosing(judge(self._site, request.instances, request.database)) as judged:
            async for verdicts in judged:
                failed |= not await self._apply(work, verdicts, total)
        return await self._conclude(work, request, total, failed=failed)

    async def _apply(self, work: Work, verdicts: Sequence[Verdict], total: _Tally) -> bool:
        """Delete what expires of these. Returns whether nothing failed."""
        faults.point("prune.judged")
        doomed = _by_place(verdict for verdict in verdicts if not verdict.keep)
        total.doomed += sum(map(len, doomed.values()))
        total.kept += len(verdicts) - sum(map(len, doomed.values()))
        if not doomed or not self._site.config.storage.retention.cleanup_enabled:
            return True
        staying = _by_place(verdict for verdict in verdicts if verdict.keep)
        await work.plan_steps(list(doomed))
        ends = [
            await _Step(self._site, work, place, total).run(expiring, staying.get(place, []))
            for place, expiring in doomed.items()
        ]
        return all(ends)

    async def _conclude(self, work: Work, request: PruneRequest, total: _Tally, *, failed: bool) -> dict[str, Any]:
        """Leave the fact that retention was applied, for metrics and health, and say what it came to."""
        enabled = self._site.config.storage.retention.cleanup_enabled
        result = total.to_json() | {"cleanup_enabled": enabled}
        if not enabled:
            result["would_expire"] = total.doomed
        if failed:
            return result
        now, everything = self._site.now(), request.instances is None and request.database is None
        if everything and enabled:
            await self._site.catalog.marks.set(LAST_SUCCESS, now.isoformat())
        data = result | {"everything": everything}
        actor = work.operation.submitted_by
        await self._site.catalog.record(Event("retention.applied", now, work.operation.id, actor=actor, data=data))
        return result


async def after_backup(site: Site, work: Work, request: BackupRequest) -> None:
    """Queue a prune of every instance of which this operation made a backup. That this fails is not the backup's fault."""
    if site.submit is None or not site.config.storage.retention.cleanup_enabled:
        return
    try:
        operation = await site.catalog.operations.get(work.operation.id)
        made = sorted({step.instance for step in operation.steps if step.backup_id}) if operation else []
        if made:
            everything = request.instances is None and request.databases is None
            await site.ask(OperationKind.PRUNE, {"instances": None if everything else made})
    except VyaError as error:
        _log.warning("retention.not_queued", code=error.code, reason=error.message)


def _by_place(verdicts: Any) -> dict[tuple[str, str], list[Verdict]]:
    """By instance and database; globals after the databases that they belong to. Oldest first."""
    places: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in sorted(verdicts, key=lambda each: each.backup.type is BackupType.GLOBALS):
        places.setdefault((verdict.backup.instance, verdict.backup.database), []).insert(0, verdict)
    return places


class _Step:
    """One database's part."""

    def __init__(self, site: Site, work: Work, place: tuple[str, str], total: _Tally) -> None:
        self._site = site
        self._work = work
        self._place = place
        self._total = total
        self._tally = _Tally()
        self._spared: list[str] = []
        """Noted as about to be deleted, and not deleted after all."""

    async def run(self, expiring: Sequence[Verdict], staying: Sequence[Verdict]) -> bool:
        """Delete what expires. A failure is recorded, and whatever can still be deleted goes; True without one."""
        await self._work.step_started(*self._place)
        self._tally.kept = len(staying)
        failure: VyaError | None = None
        try:
            await self._refuse_missing([verdict.backup for verdict in staying])
        except VyaError as error:
            failure, expiring = error, ()
        failure = await self._expire_all(expiring) or failure
        await self._finish(failure)
        return failure is None

    async def _expire_all(self, expiring: Sequence[Verdict]) -> VyaError | None:
        """Delete all that can be deleted. Returns the first failure."""
        failure: VyaError | None = None
        backups = self._site.catalog.backups
        wanted = sum(verdict.backup.size_bytes for verdict in expiring)
        for start in range(0, len(expiring), _NOTED):
            batch = expiring[start : start + _NOTED]
            await backups.intend({verdict.backup.id: self._event("backup.expired", verdict) for verdict in batch})
            faults.point("prune.noted")
            for verdict in batch:
                try:
                    await to_its_end(self._expire(verdict))
                except VyaError as error:
                    failure = failure or error
                self._tell(wanted)
            if self._spared:
                await backups.desist(self._spared)
                self._spared.clear()
        return failure

    async def _finish(self, failure: VyaError | None) -> None:
        self._total.expired += self._tally.expired
        self._total.freed_bytes += self._tally.freed_bytes
        self._total.skipped += self._tally.skipped
        state = State.FAILED if failure else State.SUCCEEDED
        await self._work.step_finished(*self._place, state, error=failure, detail=self._tally.to_json())

    def _tell(self, wanted: int) -> None:
        done = self._tally.freed_bytes
        self._work.progress(Progress(self._work.operation.id, *self._place, "deleting", done, wanted))

    async def _refuse_missing(self, staying: Sequence[Outline]) -> None:
        """A backup that is listed and not there must not be the reason for which others go."""
        holds, ours = self._site.store.holds, self._site.config.application.hostname
        counted = [each for each in staying if each.hostname == ours]
        missing = await asyncio.to_thread(
            lambda: [each.path for each in counted if not holds(each.path, each.size_bytes)]
        )
        if missing:
            shown = ", ".join(missing[:_SAMPLE]) + (" ..." if len(missing) > _SAMPLE else "")
            raise StorageError(
                f"{len(missing)} of {len(counted)} backups that are to stay are not in the store as they were: {shown}",
                hint="Nothing of this database was deleted. Bring the files back, or run: vyactl catalog rebuild",
            )

    async def _expire(self, verdict: Verdict) -> None:
        site, backup = self._site, verdict.backup
        async with site.manifests:
            self._spared.append(backup.id)
            in_use = await claimed(site, [backup])
            if backup.id in in_use:
                self._skip(backup, in_use[backup.id])
                return
            await asyncio.to_thread(site.store.recognise)
            stored = await self._reread(backup)
            if stored is None:
                await site.catalog.backups.remove(backup.id, self._event("backup.vanished", verdict))
                return
            if is_held(stored.manifest.hold, site.now()):
                await site.catalog.backups.set_manifest(stored, None)
                self._skip(backup, "held since the catalog was read")
                return
            self._spared.remove(backup.id)
            await asyncio.to_thread(site.store.delete, stored)
            faults.point("prune.deleted")
            await site.catalog.backups.remove(backup.id, self._event("backup.expired", verdict))
            self._tally.expired += 1
            self._tally.freed_bytes += backup.size_bytes

    async def _reread(self, backup: Outline) -> StoredBackup | None:
        """The backup as the store has it; None when data and manifest are gone.

        Raises:
            IntegrityError: the store has something else there than the catalog says.
        """
        store = self._site.store
        try:
            manifest = await asyncio.to_thread(store.read_manifest, backup.path)
        except NotFoundError:
            if not await asyncio.to_thread(store.absolute(backup.path).exists):
                return None
            message = f"{backup.path} has lost its manifest, which may say that it is held"
            raise _unfaithful(message) from None
        facts = manifest.facts
        known = (backup.id, backup.hostname, backup.instance, backup.database, backup.taken_at)
        if known != (facts.id, facts.hostname, facts.instance, facts.database, facts.taken_at):
            raise _unfaithful(f"{backup.path} is not the backup that the catalog lists there")
        return StoredBackup(manifest, backup.path)

    def _event(self, name: str, verdict: Verdict) -> Event:
        backup, operation = verdict.backup, self._work.operation
        data = {
            "backup_id": backup.id,
            "path": backup.path,
            "size_bytes": backup.size_bytes,
            "reasons": list(verdict.reasons),
        }
        return Event(name, self._site.now(), operation.id, *self._place, operation.submitted_by, data)

    def _skip(self, backup: Outline, reason: str) -> None:
        self._tally.skipped.append(f"{backup.id}: {reason}")
        self._tally.kept += 1
        self._total.kept += 1


def _unfaithful(message: str) -> IntegrityError:
    return IntegrityError(message, code="damaged_manifest", hint="It was not deleted. Run: vyactl catalog rebuild")
