"""Giving a file its final name without ever writing over another file.

``link`` refuses a taken name by itself, on every file system that has hard links. Where there are none (vfat, some
network and FUSE file systems) Linux' ``renameat2`` with RENAME_NOREPLACE does the same. Plain ``rename`` never will do:
it replaces silently.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
LINK_UNSUPPORTED = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What ``link`` says where there are no hard links. EMLINK: a file system that allows one name per file."""


class Placement(enum.Enum):
    """The way that works between two folders."""

    LINK = "link"
    RENAME = "rename"


def place(method: Placement, source: Path, directory_fd: int, name: str) -> None:
    """Let the file at ``source`` appear as ``name``. With LINK, ``source`` stays, for the caller to remove.

    Raises:
        FileExistsError: the name is taken.
        OSError: anything else.
    """
    if method is Placement.LINK:
        os.link(source, name, dst_dir_fd=directory_fd, follow_symlinks=False)
    else:
        rename_new(source, directory_fd, name)


def rename_new(source: Path, directory_fd: int, name: str) -> None:
    """``renameat2(..., RENAME_NOREPLACE)``. EINVAL: the file system cannot; ENOSYS: neither can the C library."""
    call = _renameat2()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(source))
    if call(_AT_FDCWD, os.fsencode(source), directory_fd, os.fsencode(name), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, name)


@cache
def _renameat2() -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        function.restype = ctypes.c_int
    return function
