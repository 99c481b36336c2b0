"""Feeding one client with a script made of parts of a backup file."""

from __future__ import annotations

import os
from pathlib import Path

from vya_backupd.errors import ToolError
from vya_backupd.operations.feeding import raise_if_failed
from vya_backupd.operations.feeding_watch import FeedWatch, Tell
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target
from vya_backupd.pipeline.pieces import Script, feed
from vya_backupd.pipeline.pipes import ClientGoneError
from vya_backupd.policy.limits import Flow


async def feed_client(site: Site, target: Target, path: Path, database: str, script: Script, tell: Tell) -> None:
    """Run the client of the target's kind in this database and give it the script.

    Raises:
        VyaError: the first failure, in the client's own words where it had any; ``stalled`` when nothing moves.
    """
    watch = FeedWatch(site, target, database, tell)
    await watch.over(_feed(site, target, path, database, script, watch.tell))


async def _feed(site: Site, target: Target, path: Path, database: str, script: Script, tell: Tell) -> None:
    command = target.engine.client_command(target.instance, database, target.tools, target.server)
    async with site.spawner.start(command, stdin="pipe") as process:
        fd = process.take_stdin()
        try:
            throttle = site.limits.throttle(target.instance.id, Flow.RESTORE)
            await feed(path, fd, script, site.pool, lambda raw: tell("restoring", raw), throttle)
        except ClientGoneError as gone:
            await raise_if_failed(process, target)
            raise ToolError(f"{process.name} stopped reading before the end of the dump") from gone
        finally:
            os.close(fd)
        await raise_if_failed(process, target)
