"""Backup files on disk: what an operating system's errors mean, appending, reading by place."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.errors import IntegrityError, NotFoundError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_START_WRITEBACK = 2
_WRITEBACK_STEP = 16 << 20


def storage_error(error: OSError, doing: str) -> StorageError:
    """What an operating system's error means for a backup file.

    ``disk_full`` for no space, quota or largest file size; ``storage_unwritable`` for what is not allowed; else
    ``storage_failed``, which may pass.
    """
    message = f"{doing}: {os.strerror(error.errno) if error.errno else error}"
    if error.errno in _FULL:
        return StorageError(message, code="disk_full", hint="Free space in the backup folder, or shorten retention.")
    if error.errno in _FORBIDDEN:
        hint = "Check mount options, owner and mode of the backup folder."
        return StorageError(message, code="storage_unwritable", hint=hint)
    return StorageError(message, hint="Check the disk or the mount.", retryable=True)


class FileSink:
    """Appends to an open file. The caller owns the descriptor and its fsync."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = 0
        self._flushed = 0

    def write(self, data: bytes) -> None:
        """Write everything.

        Raises:
            StorageError: the file system refused.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise storage_error(error, "writing the backup file") from error
        self._size += len(data)
        if self._size - self._flushed >= _WRITEBACK_STEP:
            _start_writeback(self._fd, self._flushed, self._size - self._flushed)
            self._flushed = self._size


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file to read from, by place; any thread may."""

    fd: int
    size: int
    path: Path

    def read_at(self, offset: int, size: int) -> bytes:
        """That many bytes from there; fewer only at the end of the file.

        Raises:
            StorageError: the disk could not give them.
        """
        try:
            data = os.pread(self.fd, size, offset)
            while 0 < len(data) < size and (more := os.pread(self.fd, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise storage_error(error, f"reading {self.path}") from error
        return data


@contextmanager
def open_source(path: Path) -> Iterator[FileSource]:
    """Open a file for reading. What is opened is judged, not the name: a pipe would let us wait, a device never end.

    Raises:
        NotFoundError: ``file_not_found``: it is not there, is no regular file, or may not be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        message = f"{path}: {os.strerror(error.errno or 0)}"
        raise NotFoundError(message, code="file_not_found", hint="Check the path and its mode.") from error
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            message = f"{path} is not a regular file"
            raise NotFoundError(message, code="file_not_found", hint="Name the backup file itself.")
        yield FileSource(fd, facts.st_size, path)
    finally:
        os.close(fd)


def read_companion(path: Path, limit: int) -> bytes:
    """The content of a small file that lies beside a backup.

    Raises:
        NotFoundError: as ``open_source``.
        IntegrityError: it is larger than ``limit`` bytes.
    """
    with open_source(path) as source:
        if source.size > limit:
            message = f"{path} has {source.size} bytes: nothing of ours is so large"
            raise IntegrityError(message, code="damaged_manifest", hint="Move it away; the backup file stands alone.")
        return source.read_at(0, source.size)


def _load() -> ctypes._NamedFuncPointer | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_sync_file_range = _load()


def _start_writeback(fd: int, offset: int, size: int) -> None:
    """Ask the kernel to begin writing these pages out, without waiting. A hint: nothing depends on it.

    The kernel would leave them for half a minute, and the fsync before publishing would pay for all of them.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, size, _START_WRITEBACK)
