"""A store in a folder of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

from vya_backupd import ownership
from vya_backupd.errors import BusyError, ConfigError, StorageError
from vya_backupd.model.backup import Manifest, StoredBackup
from vya_backupd.storage import tree, walking
from vya_backupd.storage.base import MANIFEST_SUFFIX, Entry, ManifestCodec, Name, Partial, Step, Usage
from vya_backupd.storage.deleting import bury, entomb, is_entombed
from vya_backupd.storage.failures import gone, reporting, storage_error
from vya_backupd.storage.partials import TempFolder
from vya_backupd.storage.placing import Placement
from vya_backupd.storage.proving import prove, refuse_nesting, sweep_probes
from vya_backupd.storage.publishing import Publisher, Underway
from vya_backupd.unbroken import to_its_end


def _no_step(_: str) -> None:
    """Nobody asked to be told."""


def default_temp_path(base_path: Path) -> Path:
    """The hidden folder beside the base path, outside of whatever a sync tool watches in it."""
    return base_path.parent / f".{base_path.name}.partial"


class LocalStore:
    """Backups below ``base_path``, partial files in ``temp_path`` on the same mount.

    ``data_suffix`` is how data files end (``policy.naming.data_suffixes``). ``checksum_files``
    False leaves the checksum files out. ``step`` is told of each step, for tests that stop the world there.
    """

    def __init__(
        self,
        base_path: Path,
        codec: ManifestCodec,
        *,
        temp_path: Path | None = None,
        data_suffix: str | tuple[str, ...] = ".sql.gz",
        checksum_files: bool = True,
        step: Step = _no_step,
    ) -> None:
        self.base_path = base_path
        self.temp_path = temp_path or default_temp_path(base_path)
        self._codec = codec
        self._data_suffix = data_suffix
        self._checksum_files = checksum_files
        self._step = step
        self._temp = TempFolder(self.temp_path)
        self._placement = Placement.LINK
        self._identity: tuple[int, int] | None = None
        self._manifests = threading.Lock()
        self._underway = Underway()

    def prepare(self) -> None:
        """See ``Store``. Also remembers which folder this is, so that ``check`` notices another in its place."""
        refuse_nesting(self.base_path, self.temp_path)
        with reporting("create", self.base_path):
            tree.make_base(self.base_path)
            ownership.refuse_shared(self.base_path, "storage.local.base_path")
        self._temp.make()
        self._temp.sweep()
        sweep_probes(self.base_path)
        self._placement = prove(self.base_path, self._temp)
        self._identity = self._identify()

    def check(self) -> None:
        """See ``Store``."""
        self.recognise()
        try:
            prove(self.base_path, self._temp)
        except ConfigError as error:
            raise StorageError(error.message, code=error.code, hint=error.hint) from error

    def usage(self) -> Usage:
        """See ``Store``."""
        with reporting("ask for the free space of", self.base_path):
            figures = os.statvfs(self.base_path)
        unit = figures.f_frsize
        return Usage(figures.f_blocks * unit, (figures.f_blocks - figures.f_bfree) * unit, figures.f_bavail * unit)

    def free_bytes(self) -> int:
        """See ``Store``."""
        return self.usage().free

    def absolute(self, relative_path: str) -> Path:
        """Where a data file lies on this machine, for people and for programs that take a path."""
        return self.base_path.joinpath(*tree.parts_of(relative_path))

    async def new_partial(self, backup_id: str) -> Partial:
        """See ``Store``. ``backup_id`` may have letters, digits, ``-`` and ``_``. A cancelled caller leaves no file."""
        made: list[Partial] = []

        def create() -> None:
            self.recognise()
            made.append(Partial(backup_id, *self._temp.create(backup_id, "partial")))

        try:
            await to_its_end(asyncio.to_thread(create))
        except asyncio.CancelledError:
            for partial in made:
                self.abort(partial)
            raise
        return made[0]

    async def publish(self, partial: Partial, relative_path: str, manifest: Manifest) -> StoredBackup:
        """See ``Store``. A cancelled caller still waits until the steps are over: no thread publishes behind its back."""
        return await to_its_end(asyncio.to_thread(self._publish, partial, relative_path, manifest))

    def _publish(self, partial: Partial, relative_path: str, manifest: Manifest) -> StoredBackup:
        self.recognise()
        stored = self._publisher().publish(partial, relative_path, manifest)
        with contextlib.suppress(StorageError):  # a second name that cannot go now is swept at the next start
            self.abort(partial)
        return stored

    def abort(self, partial: Partial) -> None:
        """See ``Store``."""
        if partial.fd < 0:
            return
        fd, partial.fd = partial.fd, -1
        try:
            with reporting("remove", partial.path):
                partial.path.unlink(missing_ok=True)
        finally:
            os.close(fd)

    def adopt(self, relative_path: str, manifest: Manifest) -> StoredBackup:
        """See ``Store``."""
        name = tree.parts_of(relative_path)[-1]
        if manifest.filename != name:
            message = f"the manifest of {manifest.filename} cannot describe {name}"
            raise ValueError(message)
        self._refuse_underway(relative_path)
        with self._in_folder("adopt", relative_path) as folder:
            os.close(walking.open_regular(folder, name))
            self._publisher().describe(folder, manifest, replace=True)
        return StoredBackup(manifest, relative_path)

    def read_manifest(self, relative_path: str) -> Manifest:
        """See ``Store``."""
        name = tree.parts_of(relative_path)[-1]
        with self._in_folder("read the manifest of", relative_path) as folder:
            return walking.read_manifest(folder, name, self._codec, relative_path)

    def rewrite_manifest(self, stored: StoredBackup, manifest: Manifest) -> StoredBackup:
        """See ``Store``."""
        name = tree.parts_of(stored.path)[-1] + MANIFEST_SUFFIX
        content = self._codec.encode(manifest)
        with self._manifests, self._in_folder("rewrite the manifest of", stored.path) as folder:
            os.close(walking.open_regular(folder, name))
            self._publisher().write_companion(folder, name, content, manifest, replace=True)
        return StoredBackup(manifest, stored.path)

    def open_data(self, relative_path: str) -> int:
        """See ``Store``."""
        with self._in_folder("open", relative_path) as folder:
            return walking.open_regular(folder, tree.parts_of(relative_path)[-1])

    def list(self, known: AbstractSet[str] = frozenset()) -> Iterator[Entry]:
        """See ``Store``. Most of the time goes into reading manifests."""
        return walking.entries(self._walk(known))

    def names(self, below: str = "") -> Iterator[Name]:
        """See ``Store``."""
        return walking.names(self._walk(below=below))

    def entry_at(self, relative_path: str) -> Entry | None:
        """See ``Store``."""
        return walking.entry_at(self._walk(), relative_path)

    def _walk(self, known: AbstractSet[str] = frozenset(), below: str = "") -> walking.Walk:
        return walking.Walk(self.base_path, self._data_suffix, self._codec, self._underway.paths, known, below)

    def holds(self, relative_path: str, size_bytes: int) -> bool:
        """See ``Store``."""
        name = tree.parts_of(relative_path)[-1]
        with contextlib.suppress(FileNotFoundError), self._folder_of("look for", relative_path) as folder:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            manifest = tree.exists(folder, name + MANIFEST_SUFFIX)
            return manifest and stat.S_ISREG(found.st_mode) and found.st_size == size_bytes
        return False

    def delete(self, stored: StoredBackup) -> None:
        """See ``Store``. Deleting what is gone already is no failure."""
        self.recognise()
        name = tree.parts_of(stored.path)[-1]
        with contextlib.suppress(FileNotFoundError), self._folder_of("delete", stored.path) as folder:
            with self._manifests:
                entomb(folder, name)
            self._step("tombstone")
            if is_entombed(folder, name):
                bury(folder, name, self._step)
        self._drop_folders(stored.path)

    def discard(self, relative_path: str) -> None:
        """See ``Store``."""
        name = tree.parts_of(relative_path)[-1]
        self._refuse_underway(relative_path)
        with self._in_folder("discard", relative_path) as folder:
            if tree.exists(folder, name + MANIFEST_SUFFIX):
                raise BusyError(f"{relative_path} is a backup, not an orphan", code="backup_in_use", retryable=False)
            bury(folder, name, self._step)
        self._drop_folders(relative_path)

    def finish_tombstones(self) -> tuple[str, ...]:
        """See ``Store``."""
        unwhole = [name.path for name in self.names() if not name.is_whole]
        return tuple(path for path in unwhole if self.finish_tombstone(path))

    def finish_tombstone(self, relative_path: str) -> bool:
        """See ``Store``."""
        name = tree.parts_of(relative_path)[-1]
        try:
            with self._folder_of("delete", relative_path) as folder:
                if not is_entombed(folder, name):
                    return False
                bury(folder, name, self._step)
        except FileNotFoundError:
            return False
        self._drop_folders(relative_path)
        return True

    def _drop_folders(self, relative_path: str) -> None:
        with self._underway.folders:
            tree.remove_empty_folders(self.base_path, tree.parts_of(relative_path)[:-1])

    def _refuse_underway(self, relative_path: str) -> None:
        if relative_path in self._underway.paths:
            raise BusyError(f"{relative_path} is being published", code="backup_in_use")

    def _publisher(self) -> Publisher:
        return Publisher(
            self.base_path,
            self._temp,
            self._placement,
            self._codec,
            checksums=self._checksum_files,
            step=self._step,
            underway=self._underway,
        )

    def recognise(self) -> None:
        """See ``Store``. A base path that was unmounted, or mounted over, is not written into, nor deleted from.

        A store that is not yet prepared knows no folder, and takes any.
        """
        if self._identity is not None and self._identity != self._identify():
            raise StorageError(
                f"{self.base_path} is not the folder that it was at start",
                code="storage_unwritable",
                hint="Mount the backup file system again; if the change is wanted, restart the daemon.",
            )

    def _identify(self) -> tuple[int, int]:
        with reporting("find", self.base_path):
            found = self.base_path.stat()
        return found.st_dev, found.st_ino

    @contextlib.contextmanager
    def _folder_of(self, action: str, relative_path: str) -> Iterator[int]:
        """The folder of a data file, with failures told as StorageError, but FileNotFoundError as it is."""
        path = self.base_path / relative_path
        try:
            with tree.directory(self.base_path, tree.parts_of(relative_path)[:-1]) as folder:
                yield folder
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(error, action, path) from error

    @contextlib.contextmanager
    def _in_folder(self, action: str, relative_path: str) -> Iterator[int]:
        """The same, where the backup must be there: NotFoundError if it is not."""
        try:
            with self._folder_of(action, relative_path) as folder:
                yield folder
        except FileNotFoundError as error:
            raise gone(self.base_path / relative_path) from error
