"""The credentials file: read, written, re-encrypted.

Reading goes in this order: the file's mode, its JSON, its key, decryption of every user name and password, then the form
of everything. So a mistake is found with its JSON path (``databases[2].port``), and all of them at once.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vya_backupd.config import keys, mistakes
from vya_backupd.config.credentials_schema import CredentialsFile, Entry
from vya_backupd.config.fields import Reading
from vya_backupd.config.keys import KeyMethod, Keyring, KeySource
from vya_backupd.config.mistakes import KeyPath, Mistake
from vya_backupd.config.private_file import read_private, replace_private
from vya_backupd.config.schema import Config
from vya_backupd.errors import ConfigError
from vya_backupd.model.instance import Instance

_LOGIN = ("username", "password")
_HOSTNAME_WARNING = (
    "the credentials are encrypted with the host name, which is no secret; "
    "'vyactl credentials rotate' moves them to a random key"
)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the credentials are. ``hostnames``: further names of this machine, for hostname-based keys."""

    file: Path
    key_file: Path | None = None
    allow_group: bool = False
    hostnames: tuple[str, ...] = ()

    def source(self, method: KeyMethod, name: str = "") -> KeySource:
        """Where keys of this method are; a key file is beside the credentials unless another is named."""
        key_file = self.key_file or self.file.with_suffix(".key")
        return KeySource(method, key_file, name, self.hostnames, self.allow_group)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a file holds. ``entries`` have the same order as ``instances``, with their own schedule, retention, max_age."""

    instances: tuple[Instance, ...]
    keyring: Keyring
    entries: tuple[Entry, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()


def location(config: Config) -> Location:
    """Where a configuration says that the credentials are."""
    place = config.credentials
    return Location(place.file, place.key_file, place.allow_group, (config.application.hostname,))


def load_instances(config: Config) -> tuple[Instance, ...]:
    """The instances of a configuration, disabled ones included.

    Raises:
        ConfigError: as ``read``.
    """
    return read(location(config)).instances


def read(place: Location) -> Credentials:
    """Read and check the whole file; no server is asked. This is also what ``credentials check`` does.

    Raises:
        ConfigError: ``credentials_not_found``, ``credentials_mode``, ``credentials_key``, or ``invalid_credentials`` with
            the JSON path of every mistake.
    """
    document = _document(read_private(place.file, allow_group=place.allow_group), place.file)
    keyring = _keyring(document, place)
    plain, found, locked = _decrypted(document, keyring)
    if locked and not found:
        raise keys.wrong_key(keyring, f"{place.file}: {', '.join(map(mistakes.dotted, locked))}")
    found += [Mistake(path, "cannot be decrypted with the key at hand") for path in locked]
    parsed = _validated(plain, place.file, found)
    return _credentials(parsed, keyring)


def encrypt(plain: Path, place: Location, method: KeyMethod = KeyMethod.KEY_FILE, name: str = "") -> Credentials:
    """Make (or replace) a credentials file from one with plain user names and passwords.

    A key file is made when there is none; one that exists is used.

    Raises:
        ConfigError: the input has mistakes, the key cannot be had, or the output not be written.
    """
    try:
        document = _document(plain.read_bytes(), plain)
    except OSError as error:
        raise ConfigError(f"{plain} cannot be read: {error.strerror}", code="credentials_not_found") from None
    document["version"] = document.get("version", "1.0")
    document["encryption"] = {"method": "fernet", "key_derivation": str(method), **({"name": name} if name else {})}
    parsed = _validated(copy.deepcopy(document), plain, _duplicates(document) + _already_encrypted(document))
    with _alone(place.file):
        keyring = keys.make_keys(place.source(method, name))
        _write(document, keyring, place)
    return _credentials(parsed, keyring)


def rotate(
    place: Location, to: KeyMethod | None = None, *, name: str = "", old_hostname: str | None = None
) -> Credentials:
    """Encrypt the file anew, atomically; the old keys go on reading.

    ``key-file`` gets a new random key in front of its old ones. ``systemd-credential`` and ``environment`` are filled
    from outside: put the new key first there, then rotate. ``to`` changes the method; hostname-based files become
    ``key-file`` unless told otherwise. ``old_hostname``: what the machine was called when the file was written.

    Raises:
        ConfigError: as ``read``; nothing was changed then.
    """
    reading = replace(place, hostnames=(*place.hostnames, old_hostname)) if old_hostname else place
    with _alone(place.file):
        before = read(reading)
        old = before.keyring
        method = to or (KeyMethod.KEY_FILE if old.method is KeyMethod.HOSTNAME else old.method)
        document = _document(read_private(place.file, allow_group=place.allow_group), place.file)
        name = name or (str(document["encryption"].get("name") or "") if method is old.method else "")
        plain, _, _ = _decrypted(document, old)
        plain["encryption"] = {"method": "fernet", "key_derivation": str(method), **({"name": name} if name else {})}
        keyring = _next_keys(place.source(method, name), old)
        _write(plain, keyring, place)
        return read(place)


def _next_keys(source: KeySource, old: Keyring) -> Keyring:
    if source.method is not KeyMethod.KEY_FILE:
        return keys.find_keys(source)
    known = keys.find_keys(source).keys if os.path.lexists(source.key_file) else ()
    content = keys.key_file_text(list(dict.fromkeys([keys.new_key(), *known, *old.keys])))
    replace_private(source.key_file, content)  # before the file that needs it: a crash here leaves both readable
    return keys.find_keys(source)


def _document(content: bytes, path: Path) -> dict[str, Any]:
    doubles: list[str] = []

    def group(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [key for key, _ in pairs]
        doubles.extend(key for key in dict.fromkeys(names) if names.count(key) > 1)
        return dict(pairs)

    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=group)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{path} is not JSON: {where}: {error.msg}", code="invalid_credentials") from None
    except (ValueError, RecursionError):  # no UTF-8, a number of thousands of digits, brackets without end
        raise ConfigError(f"{path} is not JSON text in UTF-8", code="invalid_credentials") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold a JSON object", code="invalid_credentials")
    if doubles:
        found = [Mistake((), f"the key {key} is there twice in one object") for key in doubles]
        mistakes.raise_all(path, found, code="invalid_credentials")
    return document


def _keyring(document: dict[str, Any], place: Location) -> Keyring:
    encryption = document.get("encryption")
    described = encryption if isinstance(encryption, dict) else {}
    try:
        method = KeyMethod(str(described.get("key_derivation")))
    except ValueError:
        known = ", ".join(KeyMethod)
        found = [Mistake(("encryption", "key_derivation"), f"must be one of {known}")]
        mistakes.raise_all(place.file, found, code="invalid_credentials")
    return keys.find_keys(place.source(method, str(described.get("name") or "")))


def _logins(document: dict[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any], str]]:
    """Every user name and password: its path, the object it is in, and its key there."""
    entries = document.get("databases")
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        for key in _LOGIN:
            if isinstance(entry, dict) and isinstance(entry.get(key), str):
                yield ("databases", index, key), entry, key


def _decrypted(document: dict[str, Any], keyring: Keyring) -> tuple[dict[str, Any], list[Mistake], list[KeyPath]]:
    """A copy with plain logins; the mistakes found on the way; the paths of tokens that no key opens."""
    plain = copy.deepcopy(document)
    found = _duplicates(document)
    locked: list[KeyPath] = []
    for path, entry, key in _logins(plain):
        text = entry[key]
        if not keys.TOKEN.fullmatch(text):
            found.append(Mistake(path, "is not encrypted; make the file with: vyactl credentials encrypt"))
            entry[key] = "-"
        elif (opened := keyring.opened(text)) is None:
            locked.append(path)
            entry[key] = "-"
        else:
            entry[key] = opened
    return plain, found, locked


def _duplicates(document: dict[str, Any]) -> list[Mistake]:
    entries = document.get("databases")
    seen: dict[str, int] = {}
    found = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            found.append(Mistake(("databases", index, "id"), f"is the same as that of databases[{seen[name]}]"))
    return found


def _already_encrypted(document: dict[str, Any]) -> list[Mistake]:
    reason = "is encrypted already; the input must hold it in plain text"
    return [Mistake(path, reason) for path, entry, key in _logins(document) if keys.TOKEN.fullmatch(entry[key])]


def _validated(plain: dict[str, Any], path: Path, found: list[Mistake]) -> CredentialsFile:
    parsed = None
    try:
        parsed = CredentialsFile.model_validate(plain, context=Reading(path.absolute().parent))
    except ValidationError as error:
        found = found + mistakes.from_validation(error, CredentialsFile, lambda _: "")
    if parsed is None or found:
        mistakes.raise_all(path, found, code="invalid_credentials", hint="docs/configuration.md describes the file.")
    return parsed


def _credentials(parsed: CredentialsFile, keyring: Keyring) -> Credentials:
    warnings = [_HOSTNAME_WARNING] if keyring.method is KeyMethod.HOSTNAME else []
    if not any(entry.enabled for entry in parsed.databases):
        warnings.append("no instance is enabled")
    for entry in parsed.databases:
        warnings += [f"{entry.id}: {path} does not exist" for path in entry.tls_files() if not path.exists()]
    instances = tuple(entry.instance() for entry in parsed.databases)
    return Credentials(instances, keyring, parsed.databases, tuple(warnings))


def _write(plain: dict[str, Any], keyring: Keyring, place: Location) -> None:
    document = copy.deepcopy(plain)
    for _, entry, key in _logins(document):
        entry[key] = keyring.encrypt(entry[key])
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    replace_private(place.file, text.encode())


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Two rotations at once would each write a key that the other forgets."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        message = f"{file.parent} cannot be used: {error.strerror}"
        raise ConfigError(message, code="credentials_not_found", hint="Make the folder, or name another.") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
