"""Files that hold secrets: read only when nobody else can, written so that a crash leaves the old or the new one.

The file is opened first and judged by ``fstat`` of what was opened, so that a symbolic link (a Kubernetes Secret is one)
may be followed without a moment between the check and the reading.

Who may own and read a secret:

* mode 0600 or narrower, owned by the user of this process or by root;
* inside ``$CREDENTIALS_DIRECTORY``, where systemd hands credentials over, also readable by the group (0440);
* with ``allow_group``, owned by root and readable by a group of ours (a Kubernetes Secret with ``fsGroup``).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from vya_backupd.durable import sync_folder
from vya_backupd.errors import ConfigError

SIZE_LIMIT = 4 << 20
"""Bytes of a secret file that are read at most."""
_NOT_FOUND = "credentials_not_found"


def read_private(path: Path, *, allow_group: bool = False, what: str = "credentials file") -> bytes:
    """The content of a file that only we (and root) can read.

    Raises:
        ConfigError: ``credentials_not_found`` it cannot be opened, or is no regular file of sensible size;
            ``credentials_mode`` others can read or change it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(path, what, error) from None
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > SIZE_LIMIT:
            message = f"{what} {path} is not a regular file of at most {SIZE_LIMIT >> 20} MiB"
            raise ConfigError(message, code=_NOT_FOUND, hint="Name the file itself.")
        _check_owner(facts, path, what)
        _check_mode(facts, fd, path, what, allow_group=allow_group)
        with open(fd, "rb", closefd=False) as file:
            return file.read(SIZE_LIMIT)
    except OSError as error:
        raise _unreadable(path, what, error) from None
    finally:
        os.close(fd)


def _unreadable(path: Path, what: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"{what} {path} cannot be read: {error.strerror}",
        code=_NOT_FOUND,
        hint="Check the path, and that the user who runs this can reach and read it.",
    )


def _check_owner(facts: os.stat_result, path: Path, what: str) -> None:
    if facts.st_uid in (0, os.geteuid()):
        return
    raise ConfigError(
        f"{what} {path} belongs to user {facts.st_uid}, neither to us ({os.geteuid()}) nor to root",
        code="credentials_mode",
        hint=f"Run the command as its owner, or: chown {os.geteuid()} {path}",
    )


def _check_mode(facts: os.stat_result, fd: int, path: Path, what: str, *, allow_group: bool) -> None:
    open_to = stat.S_IMODE(facts.st_mode) & 0o077
    if not open_to:
        return
    if open_to == 0o040 and (_handed_over_by_systemd(fd) or (allow_group and _group_of_ours(facts))):
        return
    raise ConfigError(
        f"{what} {path} has mode {stat.S_IMODE(facts.st_mode):04o}; others could read or change it",
        code="credentials_mode",
        hint=f"chmod 600 {path} (a root-owned file of a group of ours may be 0440 with credentials.allow_group: true)",
    )


def _handed_over_by_systemd(fd: int) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return False
    real = Path(f"/proc/self/fd/{fd}").readlink()
    return real.is_relative_to(Path(folder).resolve())


def _group_of_ours(facts: os.stat_result) -> bool:
    return facts.st_uid == 0 and facts.st_gid in {os.getegid(), *os.getgroups()}


def replace_private(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` with mode 0600: after a crash there is the old file or the new one, never a mixture.

    Raises:
        ConfigError: ``credentials_not_found`` the folder cannot be made or written.
    """
    try:
        partial = _write_beside(path, content)
        with _removed_on_failure(partial):
            partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None


def create_private(path: Path, content: bytes) -> bool:
    """Make a new 0600 file; False, and nothing done, when there is one already. Readers never see half of it.

    Raises:
        ConfigError: ``credentials_not_found`` the folder cannot be made or written.
    """
    try:
        partial = _write_beside(path, content)
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    return True


def _write_beside(path: Path, content: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with _removed_on_failure(partial), os.fdopen(fd, "wb") as file:
        _keep_owner(fd, path)
        file.write(content)
        file.flush()
        os.fsync(fd)
    return partial


def _keep_owner(fd: int, old: Path) -> None:
    """Root who rewrites a file of the daemon's user must not lock the daemon out."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(FileNotFoundError):
        facts = old.stat()
        os.fchown(fd, facts.st_uid, facts.st_gid)


@contextlib.contextmanager
def _removed_on_failure(partial: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be written: {error.strerror}",
        code=_NOT_FOUND,
        hint="Check that its folder exists and belongs to the user who runs this.",
    )
