"""Restore the users, roles and grants of an instance."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vya_backupd.dumpfile.reader import Walk
from vya_backupd.model.operation import Progress
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import RestorePlan
from vya_backupd.operations.work import Work
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.restore import texts

_CLIENT_SECONDS = 600.0


class GlobalsRestorer:
    """One restore of the globals of a backup, in two parts: before the databases, and after them."""

    def __init__(self, site: Site, work: Work, plan: RestorePlan) -> None:
        self._site = site
        self._work = work
        self._plan = plan
        self._target = plan.target
        self._grants_on_objects = b""

    async def run(self) -> dict[str, Any]:
        """Accounts, memberships and grants; what exists is brought up to date, but for the account that we use.

        Returns what the step's record keeps.
        """
        target = self._target
        text = await asyncio.to_thread(_whole_text, self._plan.source.path, self._site.pool)
        existing = await self._site.probe.globals_target(target.instance)
        script = target.engine.globals_restore_script(text, existing)
        self._work.progress(Progress(self._work.operation.id, *target.where, "restoring", 0, len(text)))
        await self._run_script(script.text)
        self._grants_on_objects = script.after
        return {"raw_size_bytes": len(text), "notes": list(script.notes)}

    async def grant_on_objects(self) -> None:
        """Rights on single objects (MySQL, MariaDB), which can be given when the databases are there."""
        if self._grants_on_objects:
            await self._run_script(self._grants_on_objects)

    async def _run_script(self, script: bytes) -> None:
        target = self._target
        command = target.engine.client_command(target.instance, None, target.tools, target.server)
        done = await self._site.spawner.run(command, script, timeout=_CLIENT_SECONDS)
        if not done.exit.ok:
            raise target.engine.classify(
                command.name, done.exit.returncode, done.exit.signal, done.exit.stderr, restoring=True
            ).at(*target.where)


def _whole_text(path: Path, pool: ThreadPoolExecutor) -> bytes:
    """The text of a small dump."""
    with open_source(path) as source:
        return b"".join(text for text, _ in texts(source, pool, Walk()))
