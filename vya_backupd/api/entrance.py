"""The control socket's place in the file system, kept for as long as the daemon lives.

A socket whose file is gone still listens, and nobody can reach it any more: somebody tidied up /run, or another program
took the name. ``check`` notices, and takes the place again where it is free.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from vya_backupd.api.listen import Site
from vya_backupd.errors import StorageError, VyaError

_log = structlog.get_logger("vya.api")


class Entrance:
    """Listens at ``path``. ``bind`` makes the socket there, ``site`` what answers on it; both may be called again."""

    def __init__(self, path: Path, bind: Callable[[], socket.socket], site: Callable[[socket.socket], Site]) -> None:
        self._path = path
        self._bind = bind
        self._make_site = site
        self._sites: list[Site] = []
        self._identity: tuple[int, int] | None = None

    async def open(self) -> None:
        """Begin to answer. Raises ConfigError as ``bind`` does."""
        sock = self._bind()
        self._identity = self._identify()
        site = self._make_site(sock)
        await site.start()
        self._sites.append(site)

    async def check(self) -> None:
        """See that whoever comes to the path comes to us; take it again where nobody else has it.

        Those who are connected already stay so, to the site before.

        Raises:
            StorageError: something else lies there, or the folder cannot be written.
        """
        if self._identify() == self._identity:
            return
        try:
            await self.open()
        except VyaError as error:
            message = f"the control socket {self._path} was taken away: {error.message}"
            raise StorageError(message, code=error.code, hint=error.hint) from error
        _log.warning("control.listening_anew", path=str(self._path), reason="its file was gone, or another's")
        for old in self._sites[:-2]:
            self._sites.remove(old)
            await old.stop()

    async def close(self) -> None:
        """Answer no more; the file goes if it is ours."""
        for site in self._sites:
            await site.stop()
        if self._identity is not None and self._identify() == self._identity:
            self._path.unlink(missing_ok=True)

    def _identify(self) -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            found = self._path.lstat()
            return found.st_dev, found.st_ino
        return None
