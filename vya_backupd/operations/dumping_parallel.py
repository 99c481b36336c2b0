"""How a database is dumped: in several streams from one snapshot where that is faster, else in one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from vya_backupd.model.instance import EngineKind
from vya_backupd.operations import dumping_mysql, dumping_postgresql
from vya_backupd.operations.dump_run import DumpRun
from vya_backupd.operations.looking import Dump, Look
from vya_backupd.operations.site import Site
from vya_backupd.pipeline.dump import DumpResult
from vya_backupd.policy.dump_plan import DumpPlan


@dataclass(frozen=True, slots=True)
class Way:
    """One engine's way of several streams.

    ``dump`` gives None where one stream is better, or nothing else is possible, and not one byte was written; where
    more would have been better, the reason is among the run's warnings. ``plan`` tells what ``dump`` would try now.
    """

    dump: Callable[[DumpRun], Awaitable[DumpResult | None]]
    plan: Callable[[Site, Dump, Look], Awaitable[DumpPlan]]


_WAYS: Mapping[EngineKind, Way] = {
    EngineKind.POSTGRESQL: Way(dumping_postgresql.dump_in_sessions, dumping_postgresql.plan_of),
    EngineKind.MARIADB: Way(dumping_mysql.dump_in_sessions, dumping_mysql.plan_of),
    EngineKind.MYSQL: Way(dumping_mysql.dump_in_sessions, dumping_mysql.plan_of),
}


async def dump_database(run: DumpRun) -> DumpResult:
    """Dump one database into the run's file.

    Raises:
        VyaError: whatever failed first.
    """
    way = _WAYS.get(run.job.instance.kind)
    result = await way.dump(run) if way else None
    return result or await run.in_one_stream()


async def planned(site: Site, job: Dump, found: Look) -> DumpPlan | None:
    """How the database would be dumped; None where there is nothing to choose.

    Raises:
        VyaError: the server did not answer as it should.
    """
    way = None if found.before is None else _WAYS.get(job.instance.kind)
    return await way.plan(site, job, found) if way else None
