"""The lock on the state directory: one process at a time works on these backups, daemon or standalone client.

An flock on an open file: the kernel lets go of it with the process, however that ends. The file stays, since removing
it would let two processes lock two files of one name. The descriptor is closed in children, so no dump tool that
outlives us by a moment keeps the next daemon out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from vya_backupd.errors import BusyError, ConfigError
from vya_backupd.ownership import refuse_shared

LOCK_NAME = "lock"


class StateLock:
    """Held between ``acquire`` and ``release``; also a context manager."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock at once or not at all, and write our pid into it. Makes the folder, 0700, when it is missing.

        Raises:
            BusyError: another process holds it.
            ConfigError: the folder cannot be used; ``folder_open`` others can write into it.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_shared(self.path.parent, "application.state_dir", private=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the state directory {self.path.parent} cannot be used: {error.strerror}",
                hint="application.state_dir must be a folder that the daemon's user may write",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise BusyError(
                f"another process (pid {holder}) holds {self.path}",
                hint="stop it, or ask it through the control socket instead of working beside it",
            ) from None
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):  # a disk that is full: whom it locks out is not told our number, that is all
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go. May be repeated."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
