"""Feeding one client with a script made of parts of a backup file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vya_backupd.errors import ToolError
from vya_backupd.operations.feeding import raise_if_failed
from vya_backupd.operations.feeding_watch import FeedWatch, Tell
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target
from vya_backupd.pipeline.pieces import Script, feed
from vya_backupd.pipeline.pipes import ClientGoneError
from vya_backupd.policy.limits import Flow
from vya_backupd.process import Process


def _unheard(_: str) -> None:
    """For whoever needs no more than the error."""


async def feed_client(
    site: Site,
    target: Target,
    path: Path,
    database: str,
    script: Script,
    tell: Tell,
    heard: Callable[[str], None] = _unheard,
) -> None:
    """Run the client of the target's kind in this database and give it the script.

    ``heard`` is given what the client had said until it failed.

    Raises:
        VyaError: the first failure, in the client's own words where it had any; ``stalled`` when nothing moves.
    """
    watch = FeedWatch(site, target, database, tell)
    command = target.engine.client_command(target.instance, database, target.tools, target.server)

    async def feeding() -> None:
        async with site.spawner.start(command, stdin="pipe") as process:
            try:
                await _feed(process, site, target, path, script, watch.tell)
            except BaseException:
                heard(process.said)
                raise

    await watch.over(feeding())


async def _feed(process: Process, site: Site, target: Target, path: Path, script: Script, tell: Tell) -> None:
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
