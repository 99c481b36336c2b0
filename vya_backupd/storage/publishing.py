"""Publishing: how a complete partial file becomes a backup.

The order, with the reason for each line:

1. *sync the partial*. A name that survives a power cut must not point at data that did not.
2. *place it* under its final name, which must be free, and *sync the folder* (new folders above it were synced when they
   were made). From here on a crash leaves an orphan: whole data, no manifest, for the next start to judge.
3. *the checksum file*, synced under a temporary name, then placed, then the folder synced: whoever sees the manifest
   finds the checksum beside it.
4. *the manifest*, likewise. This is the moment at which the backup begins to exist.

A name counts as free when neither the data file nor any of its companions has it: a tombstone or a lost manifest of the
same name must never meet new data. When a step fails, everything placed so far is taken away again, last first, and the
first failure is the one that is told.

One doubt stays: when the last sync of the folder fails, the disk may or may not have kept the manifest's name. The backup
is withdrawn and the operation fails, since a store that cannot sync is no store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vya_backupd.durable import write_all
from vya_backupd.errors import StorageError
from vya_backupd.model.backup import BackupType, Manifest, StoredBackup
from vya_backupd.policy.naming import numbered
from vya_backupd.storage import tree
from vya_backupd.storage.base import (
    CHECKSUM_SUFFIXES,
    MANIFEST_SUFFIX,
    TOMBSTONE_SUFFIX,
    ManifestCodec,
    Partial,
    Step,
)
from vya_backupd.storage.failures import reporting
from vya_backupd.storage.partials import TempFolder
from vya_backupd.storage.placing import Placement, place

_NUMBERS = range(1, 10_000)


def mode_of(manifest: Manifest) -> int:
    """Permissions of a backup's files: globals hold password hashes and are for the owner alone."""
    return 0o600 if manifest.facts.type is BackupType.GLOBALS else 0o640


class Underway:
    """What is being published right now, shared by all threads of a store.

    ``paths``: data files that may be in place while their manifest is not yet; nobody takes them for orphans. ``folders``
    keeps a deletion from removing a folder, empty for the moment, that a file is about to enter.
    """

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.folders = threading.Lock()


class Publisher:
    """Publishes into one base path from one temporary folder. ``step`` is told of every step that is done."""

    def __init__(
        self,
        base: Path,
        temp: TempFolder,
        placement: Placement,
        codec: ManifestCodec,
        *,
        checksums: bool,
        step: Step,
        underway: Underway,
    ) -> None:
        self._base = base
        self._temp = temp
        self._placement = placement
        self._codec = codec
        self._checksums = checksums
        self._step = step
        self._underway = underway

    def publish(self, partial: Partial, relative_path: str, manifest: Manifest) -> StoredBackup:
        """Steps 1 to 4. Leaves ``partial`` to the caller when it raises."""
        *folders, wanted = tree.parts_of(relative_path)
        with reporting("write", partial.path):
            os.fchmod(partial.fd, mode_of(manifest))
            os.fsync(partial.fd)
        self._step("synced")
        with reporting("publish", self._base / relative_path), contextlib.ExitStack() as stack:
            with self._underway.folders:
                folder = stack.enter_context(tree.made_directory(self._base, tuple(folders)))
                path = self._place_data(partial.path, folder, PurePosixPath(*folders), wanted)
            stack.callback(self._underway.paths.discard, str(path))
            published = dataclasses.replace(manifest, filename=path.name)
            stack.enter_context(_withdrawing(folder, path.name))
            os.fsync(folder)
            self._step("placed")
            self.describe(folder, published)
        return StoredBackup(published, str(path))

    def describe(self, folder: int, manifest: Manifest, *, replace: bool = False) -> None:
        """Steps 3 and 4: checksum file and manifest of the data file ``manifest.filename`` in this folder."""
        if self._checksums:
            name = f"{manifest.filename}.{manifest.checksum_algorithm}"
            self.write_companion(folder, name, self._codec.checksum_line(manifest).encode(), manifest, replace=replace)
        self._step("checksum")
        content = self._codec.encode(manifest)
        self.write_companion(folder, manifest.filename + MANIFEST_SUFFIX, content, manifest, replace=replace)
        self._step("manifest")

    def write_companion(self, folder: int, name: str, content: bytes, manifest: Manifest, *, replace: bool) -> None:
        """A small file beside the data, whole or not at all, on disk when this returns."""
        path, fd = self._temp.create(secrets.token_hex(8), "sidecar")
        try:
            os.fchmod(fd, mode_of(manifest))
            write_all(fd, content)
            os.fsync(fd)
            if replace:
                os.replace(path, name, dst_dir_fd=folder)
            else:
                place(self._placement, path, folder, name)
            os.fsync(folder)
        finally:
            path.unlink(missing_ok=True)
            os.close(fd)

    def _place_data(self, source: Path, folder: int, where: PurePosixPath, wanted: str) -> PurePosixPath:
        for number in _NUMBERS:
            path = where / (wanted if number == 1 else numbered(wanted, number))
            if any(tree.exists(folder, path.name + suffix) for suffix in ("", *_COMPANIONS)):
                continue
            self._underway.paths.add(str(path))
            try:
                place(self._placement, source, folder, path.name)
            except FileExistsError:
                self._underway.paths.discard(str(path))
            except BaseException:
                self._underway.paths.discard(str(path))
                raise
            else:
                return path
        raise StorageError(
            f"no free name for {wanted}: {len(_NUMBERS)} files have it",
            hint="Make storage.file_naming.pattern tell backups apart, for example by {datetime}.",
        )


_COMPANIONS = (MANIFEST_SUFFIX, TOMBSTONE_SUFFIX, *CHECKSUM_SUFFIXES)


@contextlib.contextmanager
def _withdrawing(folder: int, name: str) -> Iterator[None]:
    """Take the data file and its companions away again when the block fails; the block's failure is what counts."""
    try:
        yield
    except BaseException:
        for each in (name + MANIFEST_SUFFIX, *(name + suffix for suffix in CHECKSUM_SUFFIXES), name):
            with contextlib.suppress(OSError):
                tree.unlink_if_there(folder, each)
        raise
