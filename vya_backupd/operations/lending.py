"""Lend definers what they need while a dump is fed (MySQL, MariaDB), and take it back whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence

import structlog

from vya_backupd import faults
from vya_backupd.engines import mysql_definers
from vya_backupd.errors import ServerError, VyaError
from vya_backupd.model.secret import mask_user
from vya_backupd.operations.belongings import Notebook
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target

_log = structlog.get_logger("vya.restore")


@contextlib.asynccontextmanager
async def definers_lent(
    site: Site, target: Target, definers: Sequence[tuple[str, str]], databases: Sequence[str], notebook: Notebook
) -> AsyncIterator[list[str]]:
    """For as long as the context lasts, these definers (user, host) can be named in these databases. Yields notes.

    What is lent stands in the notebook until it is taken back.
    """
    notes: list[str] = []
    if not definers:
        yield notes
        return
    try:
        await _lend(site, target, definers, databases, notes, notebook)
        yield notes
    finally:
        await asyncio.shield(asyncio.ensure_future(_take_back(site, target, notebook)))


async def _lend(
    site: Site,
    target: Target,
    definers: Sequence[tuple[str, str]],
    databases: Sequence[str],
    notes: list[str],
    notebook: Notebook,
) -> None:
    try:
        there = await site.probe.globals_target(target.instance)
    except ServerError:  # an account that may not look may not lend either; most dumps restore all the same
        return
    others = [each for each in definers if "@".join(each) != there.login]
    rows = await site.probe.fetch(target.instance, mysql_definers.granted_on(databases))
    granted = {(str(user), str(host), str(name)) for user, host, name in rows}
    loans = mysql_definers.loans(others, databases, there.roles, granted, secrets.token_hex(16))
    notebook.lending(loans)
    faults.point("restore.lending")
    for loan in loans:
        if loan.is_new:
            shown = mask_user(loan.account.strip("`"))
            notes.append(f"the definer {shown} does not exist on {target.instance.id}: what it defines is as it was")
        with contextlib.suppress(VyaError):  # without the loan most dumps restore all the same; the client will tell
            await site.probe.execute(target.instance, loan.lend)


async def _take_back(site: Site, target: Target, notebook: Notebook) -> None:
    for loan in notebook.now.loans:
        try:
            await site.probe.execute(target.instance, loan.take_back)
            notebook.returned(loan)
        except VyaError as error:
            _log.warning("restore.loan_left", instance=target.instance.id, new=loan.is_new, error=error.message)
