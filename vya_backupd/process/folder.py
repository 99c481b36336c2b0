"""The private folder of one child: its home, and the place of its secret files. Gone when the child is."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from vya_backupd.model.command import Command

PREFIX = "child-"


class ChildFolder:
    """A fresh folder (0700) with the command's secret files (0600) in it."""

    def __init__(self, runtime_dir: Path, command: Command) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=runtime_dir))
        self._places: dict[str, str] = {}
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


def sweep(runtime_dir: Path) -> int:
    """Delete folders that a killed predecessor left behind; how many there were. Only under the state lock."""
    leftovers = [entry for entry in runtime_dir.glob(PREFIX + "*") if entry.is_dir() and not entry.is_symlink()]
    for entry in leftovers:
        shutil.rmtree(entry, ignore_errors=True)
    return len(leftovers)
