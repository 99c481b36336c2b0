"""A second folder that shows finished backups: hard links of a store's files, for a program that uploads from there.

A link appears at once and whole, so nothing unfinished is ever seen below the folder. The order is that of publishing:
data, checksum, manifest; and on leaving the manifest goes first. Only what the store deletes is taken away: a file that
vanished from the store by another hand keeps its link, which may be the last one, and is reported as a stray.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vya_backupd.durable import write_all
from vya_backupd.errors import ConfigError, StorageError, VyaError
from vya_backupd.model.backup import Manifest, StoredBackup
from vya_backupd.storage import tree
from vya_backupd.storage.base import CHECKSUM_SUFFIXES, MANIFEST_SUFFIX, ManifestCodec, Partial
from vya_backupd.storage.failures import reporting
from vya_backupd.storage.local import LocalStore
from vya_backupd.storage.partials import TempFolder

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison of folder and store came to: links that were made or renewed, and files without a backup."""

    renewed: int
    strays: int


class Mirror:
    """Links of the files below ``base`` in ``folder``. Any thread may call anything.

    ``failures`` counts links that could not be made since the start; ``behind`` says that some are still missing.
    """

    def __init__(
        self, base: Path, folder: Path, temp_path: Path, data_suffix: str | tuple[str, ...] = ".sql.gz"
    ) -> None:
        self.base = base
        self.folder = folder
        self._temp = TempFolder(temp_path)
        self._suffixes = (*((data_suffix,) if isinstance(data_suffix, str) else data_suffix), MANIFEST_SUFFIX)
        self._turn = threading.Lock()
        self._leaving: set[str] = set()
        self.failures = 0
        self.behind = False

    def prepare(self) -> None:
        """Make the folder, and prove by a real link that files of the store can appear in it.

        Raises:
            ConfigError: the folders lie inside each other, or on two mounts (``storage_layout``).
            StorageError: the folder cannot be written.
        """
        base, folder, temp = self.base.resolve(), self.folder.resolve(), self._temp.path.resolve()
        if folder.is_relative_to(base) or base.is_relative_to(folder) or temp.is_relative_to(folder):
            raise ConfigError(
                f"idrive.sync_folder {self.folder} must lie outside of {self.base}, and {self._temp.path} outside of it",
                code="storage_layout",
                hint="Name a folder beside base_path on the same mount, or base_path itself.",
            )
        with reporting("create", self.folder):
            tree.make_base(self.folder)
            for left in self.folder.glob(".vya-*.probe"):
                left.unlink(missing_ok=True)
        self._prove()

    def _prove(self) -> None:
        path, fd = self._temp.create(secrets.token_hex(8), "probe")
        shown = self.folder / f".{path.name}"
        try:
            with reporting("link into", self.folder):
                write_all(fd, b"VYA BackupDB looks whether it can link files here.\n")
                os.link(path, shown)
        except StorageError as error:
            if error.code not in {"storage_layout", "storage_failed"}:
                raise
            raise ConfigError(
                f"files of {self.base} cannot be linked into idrive.sync_folder {self.folder}: {error.message}",
                code="storage_layout",
                hint="Let both lie on one mount of a file system with hard links, or name base_path itself.",
            ) from error
        finally:
            os.close(fd)
            for each in (shown, path):
                each.unlink(missing_ok=True)

    def add(self, relative_path: str) -> bool:
        """Show a backup, or what became of its manifest. Returns whether anything had to be done.

        One that is gone from the store meanwhile, or is just being deleted, is left alone.
        """
        *folders, name = tree.parts_of(relative_path)
        with self._turn, reporting("link into", self.folder / relative_path), contextlib.ExitStack() as stack:
            if relative_path in self._leaving:
                return False
            try:
                source = stack.enter_context(tree.directory(self.base, tuple(folders)))
            except FileNotFoundError:
                return False
            if not tree.exists(source, name + MANIFEST_SUFFIX):
                return False
            target = stack.enter_context(tree.made_directory(self.folder, tuple(folders)))
            renewed = [self._link(source, target, each) for each in _files_of(name)]
            if any(renewed):
                os.fsync(target)
            return any(renewed)

    def try_add(self, relative_path: str) -> None:
        """As ``add``; a failure is counted and made good by the next comparison: the backup itself is made."""
        try:
            self.add(relative_path)
        except VyaError as error:
            self.failures += 1
            self.behind = True
            _log.error("backup not shown in the sync folder: %s", error.message)

    @contextlib.contextmanager
    def leaving(self, relative_path: str) -> Iterator[None]:
        """Take the links of a backup away, and keep them away while the block deletes it from the store."""
        *folders, name = tree.parts_of(relative_path)
        with self._turn, reporting("remove", self.folder / relative_path):
            self._leaving.add(relative_path)
            with contextlib.suppress(FileNotFoundError), tree.directory(self.folder, tuple(folders)) as target:
                for each in reversed(_files_of(name)):
                    tree.unlink_if_there(target, each)
                os.fsync(target)
            tree.remove_empty_folders(self.folder, tuple(folders))
        try:
            yield
        finally:
            with self._turn:
                self._leaving.discard(relative_path)

    def compare(self) -> Compared:
        """Make the links that are missing, renew those of other files, and count what has no backup.

        Raises:
            StorageError: a link cannot be made, or a folder not be read; the others were made.
        """
        self.behind = False
        renewed, failed = 0, None
        for path in _walk(self.base):
            if path.name.endswith(MANIFEST_SUFFIX):
                try:
                    renewed += self.add(str(path.relative_to(self.base)).removesuffix(MANIFEST_SUFFIX))
                except VyaError as error:
                    failed = failed or error
        strays = sum(
            path.name.endswith(self._suffixes) and not os.path.lexists(self.base / path.relative_to(self.folder))
            for path in _walk(self.folder)
        )  # fmt: skip
        if failed is not None:
            self.behind = True
            raise failed
        return Compared(renewed, strays)

    def _link(self, source: int, target: int, name: str) -> bool:
        """One name in one folder. A name that has another file gets this one by a rename, without a moment of neither."""
        try:
            wanted = os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            return False  # checksum files may be switched off
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(wanted, os.stat(name, dir_fd=target, follow_symlinks=False)):
                return False
            aside = self._temp.path / f"vya-{secrets.token_hex(8)}.sidecar"
            os.link(name, aside, src_dir_fd=source, follow_symlinks=False)
            os.replace(aside, name, dst_dir_fd=target)
        return True


class MirroredStore(LocalStore):
    """A local store whose finished backups a mirror shows. What the mirror cannot show is a backup all the same."""

    def __init__(
        self,
        base_path: Path,
        codec: ManifestCodec,
        *,
        sync_folder: Path,
        data_suffix: str | tuple[str, ...] = ".sql.gz",
        **options: Any,
    ) -> None:
        super().__init__(base_path, codec, data_suffix=data_suffix, **options)
        self.mirror = Mirror(base_path, sync_folder, self.temp_path, data_suffix)

    def prepare(self) -> None:
        """See ``Store``. The mirror is proved too; what it lacks is for ``Mirror.compare``, which may take its time."""
        super().prepare()
        self.mirror.prepare()

    def _publish(self, partial: Partial, relative_path: str, manifest: Manifest) -> StoredBackup:
        stored = super()._publish(partial, relative_path, manifest)
        self.mirror.try_add(stored.path)
        return stored

    def adopt(self, relative_path: str, manifest: Manifest) -> StoredBackup:
        """See ``Store``."""
        stored = super().adopt(relative_path, manifest)
        self.mirror.try_add(stored.path)
        return stored

    def rewrite_manifest(self, stored: StoredBackup, manifest: Manifest) -> StoredBackup:
        """See ``Store``."""
        changed = super().rewrite_manifest(stored, manifest)
        self.mirror.try_add(changed.path)
        return changed

    def delete(self, stored: StoredBackup) -> None:
        """See ``Store``. The links go first: a crash after that leaves a backup, which is shown again."""
        self.recognise()
        with self.mirror.leaving(stored.path):
            super().delete(stored)


def _files_of(name: str) -> tuple[str, ...]:
    return (name, *(name + suffix for suffix in CHECKSUM_SUFFIXES), name + MANIFEST_SUFFIX)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    with reporting("read", folder):
        for where, inner, names in os.walk(folder, onerror=refuse):
            inner.sort()
            for name in sorted(names):
                yield Path(where, name)
