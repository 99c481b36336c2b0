"""Keep the sync folder in step with the store, and say how much of it the sync client has not taken yet."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from vya_backupd.errors import VyaError
from vya_backupd.operations.site import Site
from vya_backupd.storage.mirror import Compared, Mirror, MirroredStore

_log = structlog.get_logger("vya.mirror")

COMPARE_SECONDS = 3600.0
"""How often folder and store are compared, beside the start."""
_BEHIND_SECONDS = 60.0
"""How soon when a link could not be made."""


class Mirroring:
    """A part of the daemon, for as long as ``storage.idrive`` is enabled; without a mirror it only counts."""

    name = "mirror"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._compared: Compared | None = None
        self._trouble: str | None = None

    @property
    def complaint(self) -> str | None:
        """What is wrong, in words; None while all is well."""
        return f"finished backups are missing in the sync folder: {self._trouble}" if self._trouble else None

    @property
    def _mirror(self) -> Mirror | None:
        return self._site.store.mirror if isinstance(self._site.store, MirroredStore) else None

    async def run(self) -> None:
        """Compare at the start, every hour, and soon after a failure."""
        while mirror := self._mirror:
            await self._compare(mirror)
            waited = 0.0
            while waited < COMPARE_SECONDS and not (mirror.behind and waited >= _BEHIND_SECONDS):
                await asyncio.sleep(_BEHIND_SECONDS)
                waited += _BEHIND_SECONDS
        await asyncio.Event().wait()

    async def settle(self) -> None:
        """Make links that are missing, while there is time."""
        if (mirror := self._mirror) and mirror.behind:
            await self._compare(mirror)

    async def _compare(self, mirror: Mirror) -> None:
        try:
            self._compared = await asyncio.to_thread(mirror.compare)
        except VyaError as error:
            if self._trouble is None:
                _log.error("mirror.failed", code=error.code, error=error.message, hint=error.hint)
            self._trouble = error.message
            return
        self._trouble = None
        if self._compared.renewed:
            _log.info("mirror.caught_up", backups=self._compared.renewed, folder=str(mirror.folder))

    async def status(self) -> dict[str, Any] | None:
        """The folder, the last sync mark, and the finished files that are younger; None while nothing is synced.

        Without a mark that exists, every file counts: nobody said that it was taken.
        """
        idrive = self._site.config.storage.idrive
        if not idrive.enabled:
            return None
        marked = await asyncio.to_thread(_changed, idrive.sync_mark) if idrive.sync_mark else None
        waiting = await self._site.catalog.backups.finished_after(marked)
        return {
            "sync_folder": str(idrive.sync_folder),
            "linked": self._mirror is not None,
            "sync_mark": str(idrive.sync_mark) if idrive.sync_mark else None,
            "synced_at": marked.isoformat() if marked else None,
            "waiting_files": waiting.backups,
            "waiting_bytes": waiting.size_bytes,
            "link_failures": self._mirror.failures if self._mirror else 0,
            "strays": self._compared.strays if self._compared else 0,
            "trouble": self._trouble,
        }


def _changed(path: Path) -> datetime | None:
    with contextlib.suppress(OSError):
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return None
