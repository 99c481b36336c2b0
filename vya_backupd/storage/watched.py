"""A store whose own folder a sync client watches."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import Any

from vya_backupd.durable import write_all
from vya_backupd.errors import ConfigError, StorageError
from vya_backupd.storage import tree
from vya_backupd.storage.base import ManifestCodec
from vya_backupd.storage.failures import reporting, storage_error
from vya_backupd.storage.local import LocalStore
from vya_backupd.storage.partials import TempFolder
from vya_backupd.storage.placing import rename_new

_PROBE = b"VYA BackupDB looks whether it can write here.\n"


class WatchedStore(LocalStore):
    """A local store that puts no probe into the watched folder after its start, so that nothing comes and goes there.

    ``sync_folder`` holds the base path, or is it.
    """

    def __init__(self, base_path: Path, codec: ManifestCodec, *, sync_folder: Path, **options: Any) -> None:
        super().__init__(base_path, codec, **options)
        self._sync_folder = sync_folder

    def prepare(self) -> None:
        """See ``Store``. ConfigError also where partial files would lie inside the watched folder."""
        if self.temp_path.resolve().is_relative_to(self._sync_folder.resolve()):
            raise ConfigError(
                f"temp_path {self.temp_path} lies inside of idrive.sync_folder {self._sync_folder}",
                code="storage_layout",
                hint="Name a folder outside of it, on the same mount: unfinished files would be uploaded.",
            )
        super().prepare()

    def check(self) -> None:
        """See ``Store``: a real write beside the folder, the right to write into it, and that both are one mount still."""
        self.recognise()
        temp = TempFolder(self.temp_path)
        path, fd = temp.create(secrets.token_hex(8), "probe")
        try:
            with reporting("write", path):
                write_all(fd, _PROBE)
                os.fsync(fd)
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)
        if not os.access(self.base_path, os.W_OK | os.X_OK, effective_ids=True):
            raise storage_error(PermissionError(errno.EACCES, ""), "write into", self.base_path)
        self._refuse_other_mount()

    def _refuse_other_mount(self) -> None:
        """Rename what is not there: between two mounts the kernel refuses that before it looks for the file."""
        try:
            with tree.directory(self.base_path, ()) as folder:
                rename_new(self.temp_path / f"vya-{secrets.token_hex(8)}.probe", folder, ".vya-nothing.probe")
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in {errno.ENOSYS, errno.EINVAL}:
                return  # nobody can be asked so here; publishing itself will tell
            raise storage_error(error, "move files into", self.base_path) from error
        raise StorageError(f"a file that does not exist was moved into {self.base_path}")
