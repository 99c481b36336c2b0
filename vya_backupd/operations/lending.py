"""Lend definers what they need while a dump is fed (MySQL, MariaDB), and take it back whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence

import structlog

from vya_backupd.engines import mysql_definers
from vya_backupd.engines.mysql_definers import Loan
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import BackupFacts
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.secret import mask_user
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target

_log = structlog.get_logger("vya.restore")


@contextlib.asynccontextmanager
async def definers_lent(
    site: Site, target: Target, facts: BackupFacts | None, databases: Sequence[str]
) -> AsyncIterator[list[str]]:
    """For as long as the context lasts, the backup's definers can be named in these databases. Yields notes."""
    notes: list[str] = []
    if facts is None or target.instance.kind is EngineKind.POSTGRESQL:
        yield notes
        return
    lent: list[Loan] = []
    try:
        lent += await _lend(site, target, facts, databases, notes)
        yield notes
    finally:
        await asyncio.shield(asyncio.ensure_future(_take_back(site, target, lent)))


async def _lend(
    site: Site, target: Target, facts: BackupFacts, databases: Sequence[str], notes: list[str]
) -> list[Loan]:
    definers = mysql_definers.of_properties(facts.properties)
    if not definers:
        return []
    there = await site.probe.globals_target(target.instance)
    others = [each for each in definers if "@".join(each) != there.login]
    rows = await site.probe.fetch(target.instance, mysql_definers.granted_on(databases))
    granted = {(str(user), str(host), str(name)) for user, host, name in rows}
    lent = []
    for loan in mysql_definers.loans(others, databases, there.roles, granted, secrets.token_hex(16)):
        if loan.is_new:
            shown = mask_user(loan.account.strip("`"))
            notes.append(f"the definer {shown} does not exist on {target.instance.id}: what it defines is as it was")
        with contextlib.suppress(VyaError):  # without the loan most dumps restore all the same; the client will tell
            lent.append(loan)
            await site.probe.execute(target.instance, loan.lend)
    return lent


async def _take_back(site: Site, target: Target, lent: Sequence[Loan]) -> None:
    for loan in lent:
        try:
            await site.probe.execute(target.instance, loan.take_back)
        except VyaError as error:
            _log.warning("restore.loan_left", instance=target.instance.id, new=loan.is_new, error=error.message)
