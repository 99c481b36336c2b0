"""How a database is dumped: in several streams from one snapshot where that is faster, else in one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.dump_run import DumpRun
from vya_backupd.pipeline.dump import DumpResult

Way = Callable[[DumpRun], Awaitable[DumpResult | None]]
"""Dumps a database in several streams. None: one stream is better, or nothing else is possible, and not one byte was
written; where more would have been better, the reason is among the run's warnings."""

_WAYS: Mapping[EngineKind, Way] = {}


async def dump_database(run: DumpRun) -> DumpResult:
    """Dump one database into the run's file.

    Raises:
        VyaError: whatever failed first.
    """
    way = _WAYS.get(run.job.instance.kind)
    result = await way(run) if way else None
    return result or await run.in_one_stream()
