"""Exchange a database for its restored successor, and find the way back when a step fails."""

from __future__ import annotations

import asyncio

import structlog

from vya_backupd import faults
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.engines.swap import SwapPlan, SwapStep
from vya_backupd.errors import TargetError, VyaError
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target

_log = structlog.get_logger("vya.restore")


async def swap(site: Site, target: Target, restored: str, aside: str, *, disconnect: bool) -> None:
    """Give the restored database the original's name, and drop the original.

    The statements that would take everything back are logged before the first step, for the case that nobody is left
    to run them.

    Raises:
        TargetError: sessions are connected (``target_in_use``), or a step failed and was undone (``swap_refused``).
    """
    plan = await _plan(site, target, restored, aside, disconnect=disconnect)
    way_back = "; ".join(step.statement for step in plan.undo(len(plan.steps)))
    _log.warning("restore.swap_begins", instance=target.instance.id, database=target.database, way_back=way_back)
    faults.point("restore.swap_begun")
    await asyncio.shield(asyncio.ensure_future(_steps(site, target, plan, way_back)))
    faults.point("restore.swapped")
    for statement in plan.cleanup:
        await site.probe.execute(target.instance, [statement], database=target.engine.maintenance_database)


async def _plan(site: Site, target: Target, restored: str, aside: str, *, disconnect: bool) -> SwapPlan:
    """The plan of the exchange; refuses while others use the original and may not be disconnected."""
    instance, original = target.instance, target.database
    if isinstance(target.engine, PostgreSQL):
        others = await site.probe.number(instance, target.engine.sessions_sql(original))
        if others and not disconnect:
            raise TargetError(
                f"{others} other sessions are connected to {original!r}",
                code="target_in_use",
                hint="Stop the applications that use it, or end their sessions with --disconnect.",
                instance=instance.id,
                database=original,
            )
        return target.engine.swap(original, restored, aside, disconnect=disconnect)
    return await site.probe.mysql_swap_plan(instance, original, restored, aside)


async def _steps(site: Site, target: Target, plan: SwapPlan, way_back: str) -> None:
    """All steps, or none."""
    for number, step in enumerate(plan.steps):
        try:
            await _run(site, target, step)
        except VyaError as error:
            undone = await _undo(site, target, plan, number)
            raise TargetError(
                f"the exchange stopped at '{step.what}': {error.message}",
                code="target_in_use" if error.code == "target_in_use" else "swap_refused",
                hint="The original is in place, as it was." if undone else f"Bring the original back with: {way_back}",
                instance=target.instance.id,
                database=target.database,
            ) from error


async def _undo(site: Site, target: Target, plan: SwapPlan, done: int) -> bool:
    """Take the first ``done`` steps back; whether all of it worked."""
    good = True
    for step in plan.undo(done):
        try:
            await _run(site, target, step)
        except VyaError as error:
            good = False
            _log.error("restore.undo_failed", statement=step.statement, error=error.message)
    return good


async def _run(site: Site, target: Target, step: SwapStep) -> None:
    database = step.database or target.engine.maintenance_database
    await site.probe.execute(target.instance, [step.statement], database)
