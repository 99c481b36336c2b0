"""The one module of the client that opens the product itself, for what needs no daemon, or must do without one.

Everything is imported inside the functions: ``vyactl --help`` shall not pay for database drivers.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vya_backupd.config.credentials import Credentials, Location
    from vya_backupd.config.schema import Config


@contextmanager
def serve(config: str) -> Iterator[str]:
    """Run the product inside this process and yield the path of its private control socket.

    A SIGTERM ends the work as Ctrl-C does, since timers and Kubernetes stop a job that way.

    Raises:
        ConfigError: configuration, credentials or storage cannot be used.
        BusyError: a daemon, or another such run, holds the state directory.
    """
    from vya_backupd.alone import standalone

    before = signal.signal(signal.SIGTERM, _like_ctrl_c)
    try:
        with standalone(Path(config)) as socket_path:
            yield str(socket_path)
    finally:
        signal.signal(signal.SIGTERM, before)


def _like_ctrl_c(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def validate(config: str) -> dict[str, Any]:
    """Load configuration and credentials, try the templates of mails, and count what is named.

    Raises:
        ConfigError: listing every mistake.
    """
    from vya_backupd.config import credentials
    from vya_backupd.config.load import load

    loaded = load(Path(config))
    found = credentials.read(credentials.location(loaded))
    described = _described(found)
    described["warnings"] += _mail_warnings(loaded) + _blackout_warnings(loaded, found)
    return {"config": config, "valid": True, **described}


def _mail_warnings(config: Config) -> list[str]:
    """What is doubtful about mails. Raises ConfigError when a template cannot be used."""
    email = config.notifications.email
    if not email.enabled:
        return []
    from vya_backupd.errors import ConfigError
    from vya_backupd.observe.mail_text import Stationery

    mistakes = list(Stationery(email.templates, config.scheduling.timezone).check())
    if mistakes:
        text = "\n  ".join(each.message for each in mistakes)
        raise ConfigError(
            f"templates of mails have mistakes:\n  {text}", code="invalid_template", hint=mistakes[0].hint
        )
    if email.username is not None and not email.use_tls:
        return ["notifications.email: without use_tls, the password goes over the network as plain text"]
    return []


def _blackout_warnings(config: Config, found: Credentials) -> list[str]:
    """What is doubtful about blackouts."""
    if not config.limits.blackouts:
        return []
    from vya_backupd.operations.blackout_doubts import blackout_doubts
    from vya_backupd.operations.site import Settings

    instances = {each.id: each for each in found.instances}
    return list(blackout_doubts(Settings(config, instances, entries={each.id: each for each in found.entries})))


def show_config(config: str) -> dict[str, Any]:
    """The configuration with defaults filled in and secrets masked. Raises ConfigError."""
    from vya_backupd.config.load import load, show

    return dict(show(load(Path(config))))


def encrypt_credentials(plain: Path, output: Path, method: str, key_file: Path | None) -> dict[str, Any]:
    """Make a credentials file from a plain one. Raises ConfigError."""
    from vya_backupd.config import credentials
    from vya_backupd.config.keys import KeyMethod

    made = credentials.encrypt(plain, credentials.Location(output, key_file), KeyMethod(method))
    return {"file": str(output), **_described(made)}


def check_credentials(config: str, file: Path | None, key_file: Path | None) -> dict[str, Any]:
    """Read the credentials file and its key. Raises ConfigError listing every mistake."""
    from vya_backupd.config import credentials

    place = _place(config, file, key_file)
    return {"file": str(place.file), **_described(credentials.read(place))}


def rotate_credentials(
    config: str, file: Path | None, key_file: Path | None, method: str | None, old_hostname: str | None
) -> dict[str, Any]:
    """Re-encrypt the credentials file with a new key. Raises ConfigError; nothing was changed then."""
    from vya_backupd.config import credentials
    from vya_backupd.config.keys import KeyMethod

    place = _place(config, file, key_file)
    made = credentials.rotate(place, KeyMethod(method) if method else None, old_hostname=old_hostname)
    return {"file": str(place.file), **_described(made)}


def verify_audit(files: list[Path], config: str) -> dict[str, Any]:
    """Follow the audit's chain through files of any place. Entries are decrypted where the configuration can be read.

    Raises:
        StorageError: a file cannot be read.
    """
    from vya_backupd.config import credentials
    from vya_backupd.config.load import load
    from vya_backupd.panels.audit import verified

    opener = None
    if Path(config).exists():
        opener = credentials.read(credentials.location(load(Path(config)))).keyring.decrypt
    return verified(files, None, opener)


def _place(config: str, file: Path | None, key_file: Path | None) -> Location:
    """Where the credentials are: as the configuration says, unless the file itself is named."""
    from vya_backupd.config import credentials
    from vya_backupd.config.load import load

    return credentials.Location(file, key_file) if file else credentials.location(load(Path(config)))


def _described(found: Credentials) -> dict[str, Any]:
    """What may be told of credentials: everything but the logins."""
    return {
        "key_derivation": str(found.keyring.method),
        "key_source": found.keyring.source,
        "instances": [{"id": item.id, "type": str(item.kind), "enabled": item.enabled} for item in found.instances],
        "warnings": list(found.warnings),
    }
