"""How a database is dumped: in several streams from one snapshot where that is faster, else in one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from vya_backupd.model.instance import EngineKind
from vya_backupd.operations import dumping_mysql, dumping_postgresql, dumping_snapshot, replaced_tables
from vya_backupd.operations.dump_run import DumpRun
from vya_backupd.operations.looking import Dump, Look
from vya_backupd.operations.site import Site
from vya_backupd.pipeline.dump import DumpResult
from vya_backupd.policy.dump_plan import DumpPlan


@dataclass(frozen=True, slots=True)
class Way:
    """One engine's way of several streams.

    ``dump`` gives None where one stream is better, or nothing else is possible, and not one byte was written; where
    more would have been better, the reason is among the run's warnings. ``alone`` is its way of one stream. ``plan``
    tells what ``dump`` would try now.
    """

    dump: Callable[[DumpRun], Awaitable[DumpResult | None]]
    alone: Callable[[DumpRun], Awaitable[DumpResult]]
    plan: Callable[[Site, Dump, Look], Awaitable[DumpPlan]]


_WAYS: Mapping[EngineKind, Way] = {
    EngineKind.POSTGRESQL: Way(
        dumping_postgresql.dump_in_sessions, dumping_snapshot.dump_on_snapshot, dumping_postgresql.plan_of
    ),
    EngineKind.MARIADB: Way(dumping_mysql.dump_in_sessions, DumpRun.in_one_stream, dumping_mysql.plan_of),
    EngineKind.MYSQL: Way(dumping_mysql.dump_in_sessions, DumpRun.in_one_stream, dumping_mysql.plan_of),
}


async def dump_database(run: DumpRun) -> DumpResult:
    """Dump one database into the run's file.

    Raises:
        VyaError: whatever failed first.
    """
    way = _WAYS[run.job.instance.kind]
    if run.job.instance.kind is EngineKind.POSTGRESQL:
        return await way.dump(run) or await way.alone(run)
    before = await replaced_tables.marks(run)
    async with run.visit.rest():
        result = await way.dump(run) or await way.alone(run)
    await replaced_tables.refuse_replaced(run, before)
    return result


async def planned(site: Site, job: Dump, found: Look) -> DumpPlan | None:
    """How the database would be dumped; None where there is nothing to choose.

    Raises:
        VyaError: the server did not answer as it should.
    """
    return None if found.before is None else await _WAYS[job.instance.kind].plan(site, job, found)
