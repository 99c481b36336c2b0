"""Proof, by doing it, that files written in the temporary folder can be placed below the base path.

Comparing device numbers proves nothing: two bind mounts of one file system have the same number and refuse to rename
from one into the other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from vya_backupd.durable import write_all
from vya_backupd.errors import ConfigError
from vya_backupd.storage import tree
from vya_backupd.storage.failures import reporting
from vya_backupd.storage.partials import TempFolder
from vya_backupd.storage.placing import LINK_UNSUPPORTED, Placement, place

_CANNOT_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_PROBE = b"VYA BackupDB writes this to see whether it can, and removes it at once.\n"


def refuse_nesting(base: Path, temp: Path) -> None:
    """Neither folder may hold the other: a sync tool would see partial files, or a sweep the backups.

    Raises:
        ConfigError: one holds the other (``storage_layout``).
    """
    real_base, real_temp = base.resolve(), temp.resolve()
    if real_temp.is_relative_to(real_base) or real_base.is_relative_to(real_temp):
        raise ConfigError(
            f"temp_path {temp} and base_path {base} lie inside each other",
            code="storage_layout",
            hint="Leave storage.local.temp_path out, or name a folder beside base_path on the same mount.",
        )


def sweep_probes(base: Path) -> None:
    """Remove the small files of a proof that was killed half-way."""
    with reporting("sweep", base):
        for path in base.glob(".vya-*.probe"):
            path.unlink(missing_ok=True)


def prove(base: Path, temp: TempFolder) -> Placement:
    """Write a small file, sync it, rename one and link one into the base path; remove them. Returns what works.

    Raises:
        ConfigError: files cannot be placed (``storage_layout``).
        StorageError: they cannot even be written.
    """
    with reporting("write into", base), tree.directory(base, ()) as folder:
        _try_rename(base, temp, folder)
        for method in (Placement.LINK, Placement.RENAME):
            if _try_place(method, base, temp, folder):
                return method
    raise ConfigError(
        f"the file system of {base} has neither hard links nor a rename that spares existing files",
        code="storage_layout",
        hint="Use a file system made for Linux (ext4, XFS, Btrfs, ZFS, NFS).",
    )


def _try_rename(base: Path, temp: TempFolder, folder: int) -> None:
    with _probe(temp, folder) as (path, name), _same_mount(base, temp):
        os.rename(path, name, dst_dir_fd=folder)


def _try_place(method: Placement, base: Path, temp: TempFolder, folder: int) -> bool:
    with _probe(temp, folder) as (path, name), _same_mount(base, temp):
        try:
            place(method, path, folder, name)
        except OSError as error:
            if error.errno in (LINK_UNSUPPORTED if method is Placement.LINK else _CANNOT_RENAME):
                return False
            raise
        os.fsync(folder)
        return True


@contextlib.contextmanager
def _probe(temp: TempFolder, folder: int) -> Iterator[tuple[Path, str]]:
    """A small file in the temporary folder, and a name for it in the base path; both are gone afterwards."""
    path, fd = temp.create(secrets.token_hex(8), "probe")
    name = f".{path.name}"
    try:
        write_all(fd, _PROBE)
        os.fsync(fd)
        yield path, name
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)
        tree.unlink_if_there(folder, name)


@contextlib.contextmanager
def _same_mount(base: Path, temp: TempFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise ConfigError(
            f"files cannot be moved from {temp.path} to {base}: these are two mounts",
            code="storage_layout",
            hint="Mount one folder that holds both, or set storage.local.temp_path to a folder on the mount of base_path.",
        ) from error
