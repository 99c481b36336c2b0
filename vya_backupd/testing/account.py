"""Under whose name private servers run: PostgreSQL refuses root, so root lends them to an unprivileged account."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.errors import ToolError


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine. ``borrowed`` when it is not the one that runs this process."""

    name: str
    uid: int
    gid: int
    borrowed: bool

    @staticmethod
    def for_servers() -> Account:
        """The caller itself; for root the user named by ``VYA_TEST_USER``, by default ``nobody``.

        Raises:
            ToolError: the named user does not exist.
        """
        if os.geteuid() != 0:
            me = pwd.getpwuid(os.geteuid())
            return Account(me.pw_name, me.pw_uid, me.pw_gid, borrowed=False)
        name = os.environ.get("VYA_TEST_USER", "nobody")
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise ToolError(
                f"there is no user {name!r} to run private database servers as",
                hint="PostgreSQL refuses to run as root: set VYA_TEST_USER to an existing unprivileged user",
            ) from None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, borrowed=True)

    def dressed(self, command: list[str], *, death_signal: str) -> list[str]:
        """The command as this account, told by ``death_signal`` ("KILL", "QUIT") when its parent dies.

        Raises:
            ToolError: setpriv (util-linux) is not installed.
        """
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ToolError("setpriv is not installed", code="tool_missing", hint="install the package util-linux")
        as_user = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"] if self.borrowed else []
        return [setpriv, *as_user, f"--pdeathsig={death_signal}", *command]

    def reaches(self, path: Path) -> bool:
        """Whether this account can enter every folder on the way to ``path`` and read what is there."""
        if not self.borrowed:
            return os.access(path, os.R_OK)
        resolved = path.resolve()
        return all(self._may(folder, stat.S_IXOTH) for folder in resolved.parents) and self._may(
            resolved, stat.S_IROTH | (stat.S_IXOTH if resolved.is_dir() else 0)
        )

    def own(self, path: Path) -> None:
        """Hand a file or folder (not what is in it) over to this account."""
        if self.borrowed:
            os.chown(path, self.uid, self.gid)

    def _may(self, path: Path, for_others: int) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        if status.st_uid == self.uid:
            return True
        return status.st_mode & for_others == for_others
