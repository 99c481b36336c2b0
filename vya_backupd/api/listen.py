"""Listening: the control socket's file with its rights, the TCP socket, and a bound on connections for both."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import structlog
from aiohttp import web

from vya_backupd.api.door import Door, http_log, present
from vya_backupd.errors import ConfigError

_log = structlog.get_logger("vya.api")

HEADER_SECONDS = 10.0
"""How long a peer has for a complete request head, from connecting or from the last answer."""

BODY_SECONDS = 10.0
"""How long a peer has for a body once its head is complete."""

_BACKLOG = 512
"""Connections that wait to be taken: where a Unix socket has no place for one, its client is refused at once."""
_SOCKET_MODE = 0o660


class Site:
    """An aiohttp application on one listening socket, with bounded connections and a bounded wait for heads."""

    def __init__(self, app: web.Application, sock: socket.socket, *, max_connections: int) -> None:
        self._door = Door(app, sock, max_connections)
        # aiohttp closes a connection that has had no complete head for keepalive_timeout, bytes that trickle in or not.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=http_log,
            keepalive_timeout=HEADER_SECONDS,
            shutdown_timeout=2.0,
            lingering_time=2.0,
            max_line_size=8190,
            max_field_size=8190,
            auto_decompress=False,  # none of our clients compresses, and a small body must stay small
        )
        self._socket = sock
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner was set up and has no server")
        self._keeper = asyncio.create_task(self._door.keep(server), name="door")
        self._keeper.add_done_callback(_told)

    async def stop(self) -> None:
        """Take no more connections, end those that are open, within a few seconds."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        self._socket.close()
        await self._runner.cleanup()

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(present(self._runner.server)) if self._runner.server else 0

    @property
    def requests(self) -> int:
        """Those of them that have a request under way."""
        return self._door.occupied


def _told(keeper: asyncio.Task[None]) -> None:
    """A door ends when its site does; one that falls shut by itself is a defect that must not pass unheard."""
    if not keeper.cancelled() and keeper.exception() is not None:
        _log.critical("api.not_listening", exc_info=keeper.exception())


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket.

    Raises:
        ConfigError: the address is not ours, or the port is taken.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _cannot_listen(host, port, error) from error
    sock.setblocking(False)
    return sock


def bind_unix(path: Path, group: int | None = None, more_groups: tuple[int, ...] = ()) -> socket.socket:
    """A listening Unix socket of mode 0660, never wider for a moment.

    Call it only while the state lock is held: then a socket that nobody answers on is a dead daemon's, and is removed.

    Args:
        path: where; its folder is made 0755 when it is missing.
        group: the group of the file, where we may set it.
        more_groups: further groups that may connect, through an access control list where the file system has them.

    Raises:
        ConfigError: something else lies there, somebody answers there, or the folder cannot be written.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _make_folder(path.parent)
        _remove_stale(path)
        # On Linux the file of a bound socket takes its mode from the descriptor: no umask, which all threads share.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(str(path))
        open_to(path, group, more_groups)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _cannot_bind(path, error) from error
    except ConfigError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True)
        # Whatever the umask is, clients of the groups must be able to pass.
        folder.chmod(0o755)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"{path} exists and is not a socket",
            code="socket_in_use",
            hint="move it away, or set control.socket_path to another name",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            # A full backlog: somebody owns it and is slow.
            pass
    raise ConfigError(
        f"another program answers on {path}",
        code="socket_in_use",
        hint="stop it, or set control.socket_path to another name",
    )


def open_to(path: Path, group: int | None, more_groups: tuple[int, ...]) -> None:
    """Let these groups connect as well to a socket of ours. OSError where there is none."""
    if group is not None:
        _try(lambda: os.chown(path, -1, group, follow_symlinks=False), "control.group_not_set", path)
    path.chmod(_SOCKET_MODE)
    if more_groups:
        acl = _access_list(more_groups)
        _try(lambda: os.setxattr(path, "system.posix_acl_access", acl), "control.groups_not_set", path)


def _try(change: Callable[[], None], event: str, path: Path) -> None:
    try:
        change()
    except OSError as error:
        _log.warning(event, path=str(path), error=os.strerror(error.errno or 0))


def _access_list(groups: tuple[int, ...]) -> bytes:
    """A POSIX ACL, as ``linux/posix_acl_xattr.h`` lays it out: owner, group and the named groups rw, others nothing."""
    undefined, read_write = 0xFFFFFFFF, 6
    user, owning_group, named_group, mask, other = 0x01, 0x04, 0x08, 0x10, 0x20
    entries = [
        (user, read_write, undefined),
        (owning_group, read_write, undefined),
        *((named_group, read_write, gid) for gid in sorted(set(groups))),
        (mask, read_write, undefined),
        (other, 0, undefined),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    taken = error.errno == errno.EADDRINUSE
    return ConfigError(
        f"cannot listen on {host}:{port}: {error.strerror or error}",
        code="port_in_use" if taken else "invalid_config",
        hint="set monitoring.health_check.host and .port" + (", or stop what listens there" if taken else ""),
    )


def _cannot_bind(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot make the control socket {path}: {error.strerror or error}",
        code="socket_in_use" if error.errno == errno.EADDRINUSE else "invalid_config",
        hint="the daemon's user must be able to write its folder; a path has at most 107 bytes",
    )
