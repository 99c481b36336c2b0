"""What a dump that we did not write needs of a server, and what it would do there, asked before anything is touched.

A small file is read for this when the restore is planned. Every one is read for it while it is verified, so that a large
one is refused no later than by the first word that it says to the server.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from vya_backupd.engines.beyond import left_out
from vya_backupd.engines.foreign_kinds import Origin, origin_of, whole_server
from vya_backupd.engines.foreign_survey import Found, Survey, survey_for
from vya_backupd.errors import IntegrityError, TargetError, UsageError
from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.fitting import fit_of
from vya_backupd.operations.preflight_mysql import Account, check_definers, definers_of
from vya_backupd.operations.preflight_postgresql import refuse_missing
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source
from vya_backupd.operations.targets import Target
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.foreign import foreign_text

_READ_IN_PLAN = 16 << 20
"""Bytes of a file that is read as a whole for a plan: what takes a second or two."""
_ANEW = "Dump one database without --databases, --all-databases or --create, or feed this file to the client by hand."


@dataclass(frozen=True, slots=True)
class ForeignPreflight:
    """The questions that one foreign file raises at one target."""

    site: Site
    source: Source
    target: Target
    request: RestoreRequest

    def survey(self) -> Survey:
        """A reader of the file's text, which has to see all of it."""
        return survey_for(self.target.instance.kind, fit_of(self.request).unwanted)

    async def plan(self) -> tuple[str, ...]:
        """Everything that is known already. Returns doubts.

        Raises:
            TargetError, UsageError: the dump can never be restored there.
        """
        head = self.source.head
        if (found := whole_server(head)) is not None:
            raise UsageError(f"{self.source.path} is {found.what}", hint=found.way)
        origin = origin_of(head)
        doubts = self._of_origin(origin)
        if self.source.size_bytes > _READ_IN_PLAN:
            return (*doubts, "what it needs of the server is looked for while it is verified: that is not known yet")
        survey = self.survey()
        try:
            await asyncio.to_thread(self._read, survey)
        except IntegrityError:
            return doubts  # the verification says where it is damaged
        return (*doubts, *await self.judge(survey.found))

    async def judge(self, found: Found) -> tuple[str, ...]:
        """What the whole text was found to need. Returns doubts.

        Raises:
            TargetError: ``target_lacks``, ``target_unsuitable``.
            UsageError: it would make, drop or choose a database, change the server, or drop what is not there.
        """
        if found.elsewhere:
            raise UsageError(
                f"the dump chooses its database by itself ({found.elsewhere}): it would not be restored into the target",
                hint=_ANEW,
            )
        if found.beyond:
            raise UsageError(
                f"the dump changes more than its database ({found.beyond}): a restore leaves the server as it is",
                hint="Take that out of a copy of the file, and run it by hand where it is wanted.",
            )
        if found.drops:
            raise UsageError(
                f"the dump drops what an empty database does not have ({found.drops}), and would fail there",
                hint="Dump it anew without --clean, or with --if-exists beside it.",
            )
        if self.target.instance.kind is EngineKind.POSTGRESQL:
            return await refuse_missing(self.site, None, self.target, found.needs, self.request)
        doubts = await check_definers(self.site, None, self.target, sorted(found.definers), self.request)
        return (*doubts, *left_out(found.left_out))

    def definers(self, found: Found) -> list[Account]:
        """The accounts that the restored text names."""
        return definers_of(self.request, sorted(found.definers))

    def _read(self, survey: Survey) -> None:
        with open_source(self.source.path) as file:
            for text, _ in foreign_text(file):
                survey.feed(text)
        survey.finish()

    def _of_origin(self, origin: Origin) -> tuple[str, ...]:
        instance = self.target.instance
        if origin.kind is None:
            return (
                "this file was not written by VYA BackupDB, and does not say by what: nothing is known of its server",
            )
        if origin.kind is not instance.kind:
            raise TargetError(
                f"a dump of {origin.kind} cannot be restored onto {instance.kind} (the file says: {origin})",
                code="target_unsuitable",
                hint="Choose a target of the same kind, or feed the file to the client by hand.",
                instance=instance.id,
                database=self.target.database,
            )
        said = f"this file was not written by VYA BackupDB: it says that it is of {origin}"
        theirs = tuple(int(part) for part in origin.server_version.split(".") if part.isdigit())
        if theirs[:2] > self.target.server.version[:2]:
            newer = (
                f"that is a newer server than {instance.id} ({self.target.server.version_text}): statements may fail"
            )
            return said, newer
        return (said,)
