"""The private folder of one child: its home, and the place of its secret files. Gone when the child is."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vya_backupd.errors import StorageError
from vya_backupd.model.command import Command

PREFIX = "child-"


class ChildFolder:
    """A fresh folder (0700) with the command's secret files (0600) in it.

    Raises:
        StorageError: the disk does not take them; nothing is left then.
    """

    def __init__(self, runtime_dir: Path, command: Command) -> None:
        self._places: dict[str, str] = {}
        with _telling(command, runtime_dir), contextlib.ExitStack() as undo:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=runtime_dir))
            undo.callback(self.remove)
            self._write(command)
            undo.pop_all()

    def _write(self, command: Command) -> None:
        for number, file in enumerate(command.files):
            place = self.path / f"secret-{number}"
            # The mode is given at creation: there is no moment at which others could open the file.
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as stream:
                stream.write(file.content.reveal().encode("utf-8"))
            self._places[file.placeholder] = str(place)

    def resolve(self, text: str) -> str:
        """The text with the real paths of secret files in the place of their placeholders."""
        for placeholder, place in self._places.items():
            text = text.replace(placeholder, place)
        return text

    def environment(self, command: Command) -> dict[str, str]:
        """The child's whole environment: neutral, so that nothing of the daemon's own can change what a tool does."""
        home = str(self.path)
        neutral = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "TMPDIR": home,
            "PGSYSCONFDIR": home,
            "MYSQL_HOME": home,
        }
        return neutral | {key: self.resolve(value) for key, value in command.env.items()}

    def remove(self) -> None:
        """Delete the folder and all in it. Safe to call twice."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def _telling(command: Command, runtime_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refused(error, command, runtime_dir) from error


def _refused(error: OSError, command: Command, runtime_dir: Path) -> StorageError:
    message = f"cannot write the private files of {command.name or command.argv[0]} in {runtime_dir}: {error.strerror}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        hint = f"Free space on the file system that holds {runtime_dir}."
        return StorageError(message, code="disk_full", hint=hint)
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return StorageError(message, code="storage_unwritable", hint=f"Let the daemon's user write in {runtime_dir}.")
    return StorageError(message, hint=f"Look at the file system of {runtime_dir}.", retryable=True)


def sweep(runtime_dir: Path) -> int:
    """Delete folders that a killed predecessor left behind; how many there were. Only under the state lock."""
    leftovers = [entry for entry in runtime_dir.glob(PREFIX + "*") if entry.is_dir() and not entry.is_symlink()]
    for entry in leftovers:
        shutil.rmtree(entry, ignore_errors=True)
    return len(leftovers)
