"""What the operating system says of a disk, as errors that an operator understands."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vya_backupd.errors import NotFoundError, StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_SYMLINKED = frozenset({errno.ELOOP, errno.ENOTDIR})


@contextmanager
def reporting(action: str, path: Path | str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that says what was being done, and to which path.

    ``action`` completes the sentence "cannot ...". Errors of ours pass unchanged.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, action, path) from error


def storage_error(error: OSError, action: str, path: Path | str) -> StorageError:
    """The StorageError for a refusal by the operating system; retryable where time may help."""
    code, hint = _meaning(error, path)
    reason = os.strerror(error.errno) if error.errno else str(error)
    retryable = code == "storage_failed" and error.errno in {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN}
    return StorageError(f"cannot {action} {path}: {reason}", code=code, hint=hint, retryable=retryable)


def _meaning(error: OSError, path: Path | str) -> tuple[str, str]:
    number = error.errno
    if number in _FULL:
        return "disk_full", f"Free space, or raise the quota, on the file system that holds {path}."
    if number == errno.EROFS:
        return (
            "storage_unwritable",
            f"The file system of {path} is read-only: see dmesg for the reason, then remount it.",
        )
    if number in _UNWRITABLE:
        return "storage_unwritable", f"Give the daemon's user write permission on {path}."
    if number == errno.EXDEV:
        return "storage_layout", "Let temp_path and base_path, with all folders in it, lie on one mount."
    if number in _SYMLINKED:
        return "storage_failed", "Folders inside base_path must be real folders: symbolic links are not followed."
    if number == errno.ENAMETOOLONG:
        return "storage_failed", "Shorten storage.file_naming.pattern or storage.local.structure."
    return "storage_failed", f"Look at the file system of {path}: is it mounted, reachable and healthy?"


def gone(path: Path | str) -> NotFoundError:
    """The error for a backup whose files are not there."""
    return NotFoundError(
        f"there is no backup at {path}",
        code="unknown_backup",
        hint="`vyactl catalog rebuild` brings the list of backups in line with the files.",
    )
