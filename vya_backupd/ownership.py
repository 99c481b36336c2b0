"""Whose folders and files we work in: nothing of ours lies where another user could put something else in its place.

Judged is what was opened, or found, not the name. ``we`` are the user of this process; root is trusted.

A folder that everybody may write into lets anybody rename, replace and add what is in it (the sticky bit forbids only
the first two). So it is refused, and so is a folder of somebody else inside one, which he may have made before us.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from vya_backupd.errors import ConfigError

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def trusted(owner: int) -> bool:
    """Whether what this user owns is ours to rely on: it is us, or root."""
    return owner in (0, os.geteuid())


def refuse_shared(folder: Path, key: str, *, private: bool = False) -> None:
    """Refuse an existing folder into which others can put things. ``key`` is what the configuration calls it.

    ``private``: it must belong to us or root wherever it lies.

    Raises:
        ConfigError: ``folder_open``.
        OSError: it cannot be looked at.
    """
    facts = folder.stat()
    if facts.st_mode & stat.S_IWOTH:
        mode = stat.S_IMODE(facts.st_mode)
        raise _open(f"everybody may write into {folder} ({key}), which has mode {mode:04o}", f"chmod o-w {folder}")
    if not trusted(facts.st_uid) and (private or _everybodys(folder.resolve().parent)):
        message = f"{folder} ({key}) belongs to user {facts.st_uid}, neither to us ({os.geteuid()}) nor to root"
        raise _open(message, "Find out who made it; then remove it, or name another folder.")


def open_to_append(path: Path, mode: int) -> int:
    """A descriptor of a file to append to, made with ``mode`` where it is missing.

    A link is followed when we or root made it; a file of somebody else, who could read and change it, is not written.

    Raises:
        OSError: it cannot be opened, or is somebody else's.
    """
    _refuse_foreign(path, _owner(path))
    descriptor = os.open(path, _APPEND, mode)
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode):
        try:
            _refuse_foreign(path, facts.st_uid)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def anybodys(file: Path) -> bool:
    """Whether everybody may change this file, or put another in its place: a program that is so is not run. OSError."""
    folder = file.resolve().parent.stat().st_mode
    exchangeable = folder & stat.S_IWOTH and not folder & stat.S_ISVTX
    return bool(file.stat().st_mode & stat.S_IWOTH or exchangeable)


def _owner(path: Path) -> int:
    """Of the name itself, be it a link; us where there is none."""
    try:
        return path.lstat().st_uid
    except FileNotFoundError:
        return os.geteuid()


def _refuse_foreign(path: Path, owner: int) -> None:
    if not trusted(owner):
        raise PermissionError(errno.EPERM, f"it belongs to user {owner}, neither to us nor to root", str(path))


def _everybodys(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IWOTH)


def _open(message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="folder_open", hint=hint)
