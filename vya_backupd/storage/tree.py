"""Folders below a base path, reached one component at a time so that no symbolic link can lead out of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from vya_backupd.durable import sync_folder
from vya_backupd.errors import StorageError

FOLDER_MODE = 0o750
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_REAL_DIRECTORY = _DIRECTORY | os.O_NOFOLLOW


def parts_of(relative_path: str) -> tuple[str, ...]:
    """The components of a path below the base.

    Raises:
        StorageError: the path is absolute, empty, or climbs.
    """
    path = PurePosixPath(relative_path)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in relative_path:
        raise StorageError(
            f"{relative_path!r} is not a path inside the backup folder",
            hint="Check storage.local.structure and storage.file_naming.pattern.",
        )
    return path.parts


def make_base(base: Path) -> None:
    """Create the base path where it is missing, for good."""
    base.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    sync_folder(base.parent)


@contextmanager
def directory(base: Path, parts: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of an existing folder below ``base``, closed afterwards. OSError (ELOOP, ENOTDIR) at a link."""
    fd = _descend(base, parts, step_into)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def made_directory(base: Path, parts: tuple[str, ...]) -> Iterator[int]:
    """The same, but folders that are missing are made first, each on disk before the next is begun."""
    fd = _descend(base, parts, _open_or_make)
    try:
        yield fd
    finally:
        os.close(fd)


def step_into(parent: int, name: str) -> int:
    """A descriptor of a folder in an open folder, for the caller to close. OSError (ELOOP, ENOTDIR) at a link."""
    return os.open(name, _REAL_DIRECTORY, dir_fd=parent)


def exists(directory_fd: int, name: str) -> bool:
    """Whether a folder has an entry of this name, of whatever kind."""
    try:
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def unlink_if_there(directory_fd: int, name: str) -> None:
    """Remove a file; that it is gone already is no failure."""
    try:
        os.unlink(name, dir_fd=directory_fd)
    except FileNotFoundError:
        return


def remove_empty_folders(base: Path, parts: tuple[str, ...]) -> None:
    """Remove the folder and those above it, up to the base, for as long as they are empty."""
    for depth in range(len(parts), 0, -1):
        try:
            with directory(base, parts[: depth - 1]) as parent:
                os.rmdir(parts[depth - 1], dir_fd=parent)
        except OSError:
            # Not empty is the usual case. An empty folder that stays behind harms nobody.
            return


def _descend(base: Path, parts: tuple[str, ...], enter: Callable[[int, str], int]) -> int:
    fd = os.open(base, _DIRECTORY)
    for name in parts:
        try:
            below = enter(fd, name)
        finally:
            os.close(fd)
        fd = below
    return fd


def _open_or_make(parent: int, name: str) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    os.fsync(parent)  # also where the folder was there: its maker may have died before this line
    return step_into(parent, name)
