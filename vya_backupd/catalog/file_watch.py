"""Whether the catalog's file is still the one that was opened.

A file that is removed or replaced lives on without a name for whoever has it open: SQLite would go on writing where
nobody ever reads, and nothing would fail before the next start.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from vya_backupd.errors import StorageError

_OPEN_FILES = Path("/proc/self/fd")
_DELETED = " (deleted)"


class FileWatch:
    """Remembers which file ``path`` is, and which of its logs are open."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._identity = self._identify()

    def recognise(self) -> None:
        """Demand that the file and its logs are at their places.

        Raises:
            StorageError: one was removed, or another lies there.
        """
        gone = [] if self._identify() == self._identity else [self._path.name]
        gone += self._lost_logs()
        if gone:
            raise StorageError(
                f"{', '.join(gone)} of the catalog {self._path} was removed or replaced while it was open",
                hint="Restart the daemon: it makes a catalog anew from the backups' manifests. The backups are untouched.",
            )

    def _identify(self) -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            found = self._path.stat()
            return found.st_dev, found.st_ino
        return None

    def _lost_logs(self) -> list[str]:
        """The logs that are open here and have no name any more."""
        lost = set()
        for each in _OPEN_FILES.iterdir():
            with contextlib.suppress(OSError):
                lost.add(str(each.readlink()))
        names = (f"{self._path.name}{suffix}" for suffix in ("-wal", "-shm"))
        return [name for name in names if str(self._path.with_name(name)) + _DELETED in lost]
