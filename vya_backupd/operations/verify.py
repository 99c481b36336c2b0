"""Read backups again and compare every byte with what was promised.

A backup that passes is ``verified`` from then on, in its manifest and so in the catalog. One that does not is reported
with the exact place of the first damage and stays where it is: even a damaged backup may be the last one. But its proof
is taken from it, so that it counts for nothing: retention must not let good ones go for its sake.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from vya_backupd import faults
from vya_backupd.errors import IntegrityError, VyaError
from vya_backupd.model.backup import Proof, Section, StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.operation import Progress, State
from vya_backupd.operations import endmarks
from vya_backupd.operations.requests import VerifyRequest
from vya_backupd.operations.rewriting import rewrite
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import (
    Source,
    backup_by_id,
    describe_place,
    in_use,
    newest,
    source_of,
    source_of_file,
)
from vya_backupd.operations.work import Work
from vya_backupd.pipeline.files import open_source, read_companion
from vya_backupd.pipeline.pieces import check_ends, prove, table_of_contents
from vya_backupd.pipeline.verify import VerifyResult, VerifyTerms, verify

_log = structlog.get_logger("vya.verify")

_FOREIGN = "(file)"
_LARGEST_SIDECAR = 1 << 16
"""Bytes of a checksum file: one line."""


class VerifyHandler:
    """Runs operations of kind ``verify``. One step for each database; its backups are read one after the other."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        """None: reading disturbs nobody."""
        parsed = VerifyRequest.parse(request)
        if parsed.instance is not None:
            self._site.instance(parsed.instance)
        return frozenset()

    async def run(self, work: Work) -> dict[str, Any]:
        """See the module's text. The result lists every file with its outcome."""
        groups = await self._groups(VerifyRequest.parse(work.operation.request))
        await work.plan_steps(list(groups))
        verified: list[dict[str, Any]] = []
        for (instance, database), sources in groups.items():
            await work.step_started(instance, database)
            outcomes = [await self._one(work, source, (instance, database)) for source in sources]
            verified += [record for record, _ in outcomes]
            errors = [error for _, error in outcomes if error is not None]
            state = State.FAILED if errors else State.SUCCEEDED
            first = sources[0]
            stored = first.stored if isinstance(first, Source) else first
            await work.step_finished(
                instance,
                database,
                state,
                backup_id=stored.id if stored and len(sources) == 1 else None,
                error=errors[0] if errors else None,
            )
        return {"verified": verified}

    async def _groups(self, request: VerifyRequest) -> dict[tuple[str, str], list[Source | StoredBackup]]:
        site = self._site
        if request.file is not None:
            source = await source_of_file(site, Path(request.file))
            where = (
                (source.facts.instance, source.facts.database) if source.facts else (_FOREIGN, Path(request.file).name)
            )
            return {where: [source]}
        if request.backup_id is not None:
            chosen = [await backup_by_id(site, request.backup_id)]
        elif request.database is not None and not request.all:
            chosen = [await newest(site, str(request.instance), request.database, None)]
        elif request.all:
            chosen = await site.catalog.backups.find(request.instance, request.database)
        else:
            chosen = await site.catalog.backups.newest_each(request.instance)
        groups: dict[tuple[str, str], list[Source | StoredBackup]] = {}
        for stored in chosen:
            facts = stored.manifest.facts
            groups.setdefault((facts.instance, facts.database), []).append(stored)
        if not groups:
            await newest(site, str(request.instance), request.database or "*", None)
        return groups

    async def _one(
        self, work: Work, wanted: Source | StoredBackup, where: tuple[str, str]
    ) -> tuple[dict[str, Any], VyaError | None]:
        began = time.monotonic()
        path = wanted.path if isinstance(wanted, Source) else self._site.store.absolute(wanted.path)
        record: dict[str, Any] = {"file": str(path), "ok": False, "error": None, "bytes": 0, "seconds": 0.0}
        stored = wanted.stored if isinstance(wanted, Source) else wanted
        try:
            source = wanted if isinstance(wanted, Source) else await source_of(self._site, wanted)
            with in_use(self._site, source):
                result = await verify_source(self._site, work, source, where)
                faults.point("verify.read")
                await self._grow_proof(work, source)
            record |= {"ok": True, "bytes": result.size, "raw_bytes": result.raw_size, "members": result.members}
            failure = None
        except VyaError as error:
            failure = error.at(*where)
            record["error"] = failure.to_json()
            if stored is not None and isinstance(error, IntegrityError):
                await self._take_proof(work, stored, failure)
        record["seconds"] = round(time.monotonic() - began, 3)
        return record, failure

    async def _grow_proof(self, work: Work, source: Source) -> None:
        if source.stored is None:
            return
        async with self._site.manifests:
            manifest = await asyncio.to_thread(self._site.store.read_manifest, source.stored.path)
            proof = manifest.proof if manifest.proof is Proof.DRILLED else Proof.VERIFIED
            grown = replace(manifest, proof=proof, verified_at=self._site.now())
            event = self._event("backup.verified", work, source.stored)
            await rewrite(self._site, source.stored, grown, event, point="verify.proven")

    async def _take_proof(self, work: Work, stored: StoredBackup, damage: VyaError) -> None:
        """Where even this cannot be written, the damage is what is told."""
        try:
            async with self._site.manifests:
                manifest = await asyncio.to_thread(self._site.store.read_manifest, stored.path)
                if manifest.proof is not Proof.NONE:
                    event = self._event("backup.damaged", work, stored, error_code=damage.code, error=damage.message)
                    await rewrite(self._site, stored, replace(manifest, proof=Proof.NONE), event, point="verify.proven")
        except VyaError as error:
            _log.warning("verify.damage_not_noted", backup=stored.id, code=error.code, reason=error.message)

    def _event(self, name: str, work: Work, stored: StoredBackup, **more: str) -> Event:
        facts, operation = stored.manifest.facts, work.operation
        data = {"backup_id": facts.id, **more}
        actor = operation.submitted_by
        return Event(name, self._site.now(), operation.id, facts.instance, facts.database, actor, data)


async def verify_source(
    site: Site,
    work: Work,
    source: Source,
    where: tuple[str, str],
    *,
    to_restore: bool = False,
    read: Callable[[bytes], None] | None = None,
) -> VerifyResult:
    """Read one file wholly. Raises IntegrityError, naming the file and the place.

    ``to_restore``: a foreign dump that chooses its own database is refused (UsageError). ``read`` is given the text of a
    foreign one.
    """
    expected = source.manifest.raw_size_bytes if source.manifest else 0

    def tell(raw: int, read: int) -> None:
        work.progress(Progress(work.operation.id, *where, "verifying", raw, expected, read))

    try:
        await asyncio.to_thread(_check_sidecar, source)
        check_tail = _tail_check(site, source, where)
        lines = endmarks.refuse_to_lead_away if to_restore else None
        terms = VerifyTerms(source.manifest, check_tail, tell, endmarks.begins_like_a_dump, lines, read)
        return await verify(source.path, site.pool, terms)
    except VyaError as error:
        raise describe_place(error, source) from None


async def verify_without_rows(site: Site, work: Work, source: Source, where: tuple[str, str]) -> None:
    """Read what a file of ours holds beside rows, and compare it with every digest that covers it.

    Raises:
        IntegrityError: the first damage, naming the file and the place. Damage to rows is not noticed.
    """

    def prove_parts() -> None:
        manifest = source.manifest or table_of_contents(source.path)
        extents = [each for each in manifest.extents if each.section is not Section.DATA]
        expected = sum(each.raw_size for each in extents)

        def tell(raw: int) -> None:
            work.progress(Progress(work.operation.id, *where, "verifying", raw, expected, 0))

        with open_source(source.path) as file:
            check_ends(file, manifest)
            prove(file, extents, site.pool, tell)

    try:
        await asyncio.to_thread(prove_parts)
    except VyaError as error:
        raise describe_place(error, source) from None


def _tail_check(site: Site, source: Source, where: tuple[str, str]) -> Any:
    if source.facts is not None:
        kind = source.facts.engine
    elif where[0] in site.settings.instances:
        kind = site.settings.instances[where[0]].kind
    else:
        return _any_end_mark
    check = endmarks.complaint if source.facts is not None else endmarks.foreign_complaint
    return lambda tail: check(kind, tail)


def _any_end_mark(tail: bytes) -> str | None:
    complaints = [endmarks.foreign_complaint(kind, tail) for kind in (EngineKind.POSTGRESQL, EngineKind.MYSQL)]
    return None if None in complaints else "the file does not end like a dump of PostgreSQL, MySQL or MariaDB"


def _check_sidecar(source: Source) -> None:
    """The checksum file, where there is one, must say what the manifest says."""
    if source.manifest is None or not source.manifest.checksum:
        return
    beside = source.path.with_name(f"{source.path.name}.{source.manifest.checksum_algorithm}")
    if not beside.exists():
        return
    said = read_companion(beside, _LARGEST_SIDECAR).decode("utf-8", "replace").split()
    if not said or said[0] != source.manifest.checksum:
        raise IntegrityError(
            f"{beside.name} and the manifest name different digests",
            code="checksum_mismatch",
            hint="'vyactl catalog rebuild' writes both anew from the backup file.",
        )
