"""The temporary folder: files that nobody but their writer knows of yet.

Every file in use is locked (``flock``) by its writer, so that a sweep can tell what a dead process left from what a living
one, perhaps on another host that shares the folder, still writes. The lock ends with the process, however it ends. Only
names of our own make are ever swept: the folder may be shared with others.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from pathlib import Path

from vya_backupd import ownership
from vya_backupd.storage.failures import reporting

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_OURS = re.compile(r"vya-[0-9A-Za-z_-]+\.(?:partial|sidecar|probe)")
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class TempFolder:
    """A folder of partial files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Create the folder where it is missing; one that exists keeps its mode.

        Raises:
            ConfigError: ``folder_open``, others could exchange what is written there.
        """
        with reporting("create", self.path):
            self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            ownership.refuse_shared(self.path, "storage.local.temp_path")

    def create(self, stem: str, kind: str) -> tuple[Path, int]:
        """A new, empty, locked file and its descriptor.

        ``stem`` may have letters, digits, ``-`` and ``_``; ``kind`` is partial, sidecar or probe.

        Raises:
            ValueError: the name would not be recognised by the sweep.
            StorageError: it exists already, or cannot be created.
        """
        name = f"vya-{stem}.{kind}"
        if not _OURS.fullmatch(name):
            message = f"not a name for a temporary file: {name!r}"
            raise ValueError(message)
        path = self.path / name
        with reporting("create", path):
            while True:
                fd = os.open(path, _NEW, FILE_MODE)
                fcntl.flock(fd, fcntl.LOCK_EX)
                if os.fstat(fd).st_nlink:
                    return path, fd
                os.close(fd)  # a sweep took it in the instant before it was locked

    def sweep(self) -> list[Path]:
        """Remove what dead writers left. Returns the paths that were removed."""
        with reporting("sweep", self.path):
            return [path for path in sorted(self.path.iterdir()) if _OURS.fullmatch(path.name) and _remove_dead(path)]


def _remove_dead(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:  # no file of ours, whatever it is called
            return False
        raise
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
