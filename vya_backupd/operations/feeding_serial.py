"""Feeding one client with everything, in the order of the file."""

from __future__ import annotations

import os

from vya_backupd.engines import mysql_sessions
from vya_backupd.engines.mysql_foreign import ForeignText
from vya_backupd.engines.postgresql_guard import RestrictLines, guards
from vya_backupd.errors import ToolError
from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.feeding import Fed, Feeding, raise_if_failed
from vya_backupd.operations.targets import Target
from vya_backupd.pipeline.pipes import ClientGoneError
from vya_backupd.pipeline.restore import RestoreTerms, restore
from vya_backupd.policy.limits import Flow


def _unrestricting(target: Target) -> tuple[RestrictLines, ...]:
    """Psql is in restricted mode already where it can be (``engines.postgresql_guard``)."""
    is_psql = target.instance.kind is EngineKind.POSTGRESQL
    return (RestrictLines(),) if is_psql and guards(target.tools.client) else ()


class SerialFeeder:
    """One session: what small files get, globals, and whatever others have written."""

    async def feed(self, feeding: Feeding) -> Fed:
        """Run the client and give it the dump. Its own last words explain a failure better than a broken pipe."""
        site, target = feeding.site, feeding.target
        command = target.engine.client_command(target.instance, feeding.database, target.tools, target.server)
        is_postgresql = target.instance.kind is EngineKind.POSTGRESQL
        foreign = None if is_postgresql else ForeignText(feeding.silencer)
        terms = RestoreTerms(
            before=mysql_sessions.NO_LOG if feeding.skip_binlog else b"",
            sections=feeding.sections,
            watch=lambda raw, _: feeding.tell("restoring", raw),
            rewrite=feeding.silencer,
            fit_foreign=foreign,
            fittings=(*_unrestricting(target), *feeding.fit.chain()),
            throttle=site.limits.throttle(target.instance.id, Flow.RESTORE),
        )
        async with site.spawner.start(command, stdin="pipe") as process:
            fd = process.take_stdin()
            try:
                result = await restore(feeding.source.path, fd, site.pool, terms)
            except ClientGoneError as gone:
                await raise_if_failed(process, target)
                raise ToolError(f"{process.name} stopped reading before the end of the dump") from gone
            finally:
                os.close(fd)
            await raise_if_failed(process, target)
        return Fed(result.raw_size, notes=foreign.notes if foreign else ())
