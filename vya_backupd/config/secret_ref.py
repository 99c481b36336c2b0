"""A secret in ``config.yaml``: where it is to be had, rather than what it is.

=================  =========================================================================
``file:PATH``      the content of a private file (see ``private_file``), without a final newline
``env:NAME``       a variable of the environment, or of the ``.env`` beside ``config.yaml``
``systemd:NAME``   a credential in ``$CREDENTIALS_DIRECTORY``
``fernet:TOKEN``   encrypted with the key of the credentials file
anything else      the secret itself: refused when ``application.environment`` is production
=================  =========================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from vya_backupd.config.concealing import is_secret
from vya_backupd.config.private_file import read_private
from vya_backupd.errors import ConfigError
from vya_backupd.model.secret import Secret

SCHEMES = ("file", "env", "systemd", "fernet")
_REFERENCE = re.compile(rf"({'|'.join(SCHEMES)}):(.+)", re.DOTALL)

Decrypt = Callable[[str], str]
"""Turns a Fernet token into its text; raises ConfigError ``credentials_key``."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """One reference. ``found`` is the text where it is known already (plain, env); ``name`` is harmless to show."""

    scheme: str
    name: str
    found: Secret | None = None

    def reveal(self, decrypt: Decrypt | None = None) -> Secret:
        """Fetch the secret.

        Raises:
            ConfigError: it is not there, others can read it, or the key does not decrypt it.
        """
        if self.found is not None and self.scheme != "fernet":
            return self.found
        if self.scheme == "fernet":
            return self._decrypted(decrypt)
        return Secret(read_text(self._path(), f"secret {self.scheme}:{self.name}"))

    def _path(self) -> Path:
        if self.scheme == "file":
            return Path(self.name)
        return systemd_credential(self.name)

    def _decrypted(self, decrypt: Decrypt | None) -> Secret:
        if decrypt is None or self.found is None:
            raise ConfigError(
                "a fernet: secret of the configuration cannot be decrypted without the key of the credentials file",
                code="credentials_key",
                hint="Set credentials.file, or give the secret as file: or systemd:.",
            )
        return Secret(decrypt(self.found.reveal()))

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}" if self.scheme in ("file", "env", "systemd") else "***"


def parse(text: str, base: Path | None, environ: dict[str, str]) -> SecretRef:
    """Read a reference; relative paths start at ``base``.

    Raises:
        ValueError: a variable or a home folder is not there, or a name is no name.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return SecretRef("plain", "", Secret(text))
    scheme, name = match.groups()
    if scheme == "fernet":
        return SecretRef(scheme, "", Secret(name))
    if scheme == "file":
        return SecretRef(scheme, str((base or Path()) / expanded(Path(name))))
    if scheme == "systemd":
        if "/" in name or name in (".", ".."):
            raise ValueError("must name a credential, not a path")
        return SecretRef(scheme, name)
    if name not in environ:
        raise ValueError("names an environment variable that is not set")
    is_secret(name)
    return SecretRef(scheme, name, Secret(environ[name]))


def expanded(value: Path) -> Path:
    """A path whose ``~`` or ``~user`` is the home folder that is meant.

    Raises:
        ValueError: nobody here has that name.
    """
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError(f"starts with {value.parts[0]}, and nobody here has that name") from None


def read_text(path: Path, what: str) -> str:
    """The text of a private file, without one final newline.

    Raises:
        ConfigError: as ``read_private``; also when it is not UTF-8.
    """
    try:
        text = read_private(path, what=what).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{what} in {path} is not UTF-8 text", code="credentials_not_found") from None
    return text.removesuffix("\n").removesuffix("\r")


def systemd_credential(name: str) -> Path:
    """Where systemd put a credential.

    Raises:
        ConfigError: this process was not given any.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            f"the credential {name} is to come from systemd, but $CREDENTIALS_DIRECTORY is not set",
            code="credentials_not_found",
            hint=f"Add LoadCredential={name}:... to the unit, or give the secret in another way.",
        )
    return Path(folder) / name


def has_password(url: str) -> bool:
    """Whether a URL carries a password."""
    try:
        return bool(urlsplit(url).password)
    except ValueError:
        return True


def mask_url(url: str) -> str:
    """A URL without the password in it."""
    if not has_password(url):
        return url
    scheme, _, rest = url.partition("://")
    login, _, where = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0][:4]}***:***@{where}"


def site_of(url: str) -> str:
    """The scheme and host of a URL whose path may be a secret: ``https://host:8443/***``."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "***"
    return f"{parts.scheme}://{parts.hostname}{port}/***"
