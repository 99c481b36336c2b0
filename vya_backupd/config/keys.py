"""Keys of the credentials file: where they come from, and what they open.

==================  =====================================================================================
``key-file``        random keys in a private file, one a line, the newest first; made at first use
``systemd-credential``  the same text in ``$CREDENTIALS_DIRECTORY/NAME`` (``vya-backupdb-key``)
``environment``     the same text in a variable (``VYA_CREDENTIALS_KEY``), separated by commas or blanks
``hostname-based``  urlsafe base64 of sha256 of the host name. Older tools wrote files so; a host name is no secret
==================  =====================================================================================

The first key encrypts; all of them decrypt, so that what an older key wrote can still be read.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from vya_backupd.config.concealing import is_secret, variables
from vya_backupd.config.private_file import create_private, read_private
from vya_backupd.config.secret_ref import systemd_credential
from vya_backupd.errors import ConfigError

TOKEN = re.compile(r"gAAAAA[A-Za-z0-9_-]+={0,2}")
"""What a Fernet token looks like: version 0x80 and a time before the year 2106."""
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")


class KeyMethod(enum.StrEnum):
    """Where the key comes from; the words of ``encryption.key_derivation``."""

    KEY_FILE = "key-file"
    SYSTEMD = "systemd-credential"
    ENVIRONMENT = "environment"
    HOSTNAME = "hostname-based"


DEFAULT_NAMES = {KeyMethod.SYSTEMD: "vya-backupdb-key", KeyMethod.ENVIRONMENT: "VYA_CREDENTIALS_KEY"}
"""The credential or variable that holds the key, unless ``encryption.name`` names another."""


class Keyring:
    """The keys that are at hand, the one for encrypting first. ``source`` says where they came from."""

    def __init__(self, method: KeyMethod, keys: Sequence[str], source: str) -> None:
        self.method = method
        self.keys = tuple(dict.fromkeys(keys))
        self.source = source
        self._fernet = MultiFernet([Fernet(key) for key in self.keys])

    def encrypt(self, text: str) -> str:
        """A token of this text, by the first key."""
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def decrypt(self, token: str) -> str:
        """The text of a token.

        Raises:
            ConfigError: ``credentials_key``, no key of ours made this token.
        """
        try:
            return self._fernet.decrypt(token).decode()
        except (InvalidToken, UnicodeDecodeError):
            raise wrong_key(self) from None

    def opened(self, token: str) -> str | None:
        """The text of a token; None where no key of ours made it."""
        try:
            return self._fernet.decrypt(token).decode()
        except (InvalidToken, UnicodeDecodeError):
            return None

    def __repr__(self) -> str:
        return f"Keyring({self.method}, {len(self.keys)} keys)"


def wrong_key(keyring: Keyring, detail: str = "") -> ConfigError:
    """The error for a token that no key opens, with the way out for each method."""
    if keyring.method is KeyMethod.HOSTNAME:
        hint = (
            "If the machine was renamed: vyactl credentials rotate --old-hostname NAME, or set application.hostname to "
            "the old name. Otherwise encrypt the plain file anew."
        )
    else:
        hint = (
            "Bring back the key that the file was encrypted with (an older one may follow the newest on a line of its "
            "own), or encrypt the plain file anew: vyactl credentials encrypt."
        )
    what = detail or "an encrypted value"
    return ConfigError(
        f"{what} cannot be decrypted with the key from {keyring.source}", code="credentials_key", hint=hint
    )


@dataclass(frozen=True, slots=True)
class KeySource:
    """What is needed to find keys: the method, the key file, the name of a credential or variable, host names."""

    method: KeyMethod
    key_file: Path
    name: str = ""
    hostnames: tuple[str, ...] = ()
    allow_group: bool = False


def find_keys(source: KeySource, environ: Mapping[str, str] | None = None) -> Keyring:
    """Read or derive the keys.

    Raises:
        ConfigError: ``credentials_key`` there is none, or what is there is no key; ``credentials_mode`` others can read it.
    """
    name = source.name or DEFAULT_NAMES.get(source.method, "")
    if source.method is KeyMethod.HOSTNAME:
        names = tuple(dict.fromkeys((socket.gethostname(), *source.hostnames)))
        return Keyring(source.method, [hostname_key(host) for host in names], f"the host name ({', '.join(names)})")
    if source.method is KeyMethod.ENVIRONMENT:
        is_secret(name)
        text = (variables() if environ is None else environ).get(name, "")
        return Keyring(source.method, parse_keys(text, f"variable {name}"), f"variable {name}")
    path = systemd_credential(name) if source.method is KeyMethod.SYSTEMD else source.key_file
    return _keys_of_file(source, path)


def _keys_of_file(source: KeySource, path: Path) -> Keyring:
    try:
        content = read_private(path, allow_group=source.allow_group, what="key file")
    except ConfigError as error:
        if error.code != "credentials_not_found":
            raise
        raise ConfigError(
            error.message,
            code="credentials_key",
            hint="Bring the key file back from where you keep a copy, name it in credentials.key_file, or encrypt the "
            "plain credentials anew.",
        ) from None
    return Keyring(source.method, parse_keys(content.decode("ascii", "replace"), f"key file {path}"), str(path))


def make_keys(source: KeySource, environ: Mapping[str, str] | None = None) -> Keyring:
    """As ``find_keys``; a key file that does not exist is made, with one random key.

    Raises:
        ConfigError: as ``find_keys``; also when the key file cannot be written.
    """
    if source.method is KeyMethod.KEY_FILE and not os.path.lexists(source.key_file):
        create_private(source.key_file, key_file_text([new_key()]))
    return find_keys(source, environ)


def hostname_key(hostname: str) -> str:
    """The key that is derived from a host name."""
    return base64.urlsafe_b64encode(hashlib.sha256(hostname.encode()).digest()).decode("ascii")


def new_key() -> str:
    """A random key."""
    return Fernet.generate_key().decode("ascii")


def key_file_text(keys: Sequence[str]) -> bytes:
    """The content of a key file."""
    head = "# Keys of the credentials file. The first one encrypts, the others only read. Keep a copy elsewhere.\n"
    return (head + "".join(f"{key}\n" for key in keys)).encode("ascii")


def parse_keys(text: str, what: str) -> list[str]:
    """The keys in a text, separated by commas or white space; lines that begin with # are remarks.

    Raises:
        ConfigError: ``credentials_key``, there is none, or a word is no key.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    words = " ".join(lines).replace(",", " ").split()
    if not words or not all(_KEY.fullmatch(word) for word in words):
        message = f"{what} holds no key" if not words else f"{what} holds something that is no Fernet key"
        raise ConfigError(
            message, code="credentials_key", hint="A key is 32 random bytes in urlsafe base64: 44 characters."
        )
    return words
