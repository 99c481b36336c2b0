"""Option files for the programs of MySQL and MariaDB: everything a connection needs, secrets and all.

Values stand in double quotes, where backslashes escape (MySQL manual, "Using Option Files"), so that blanks, ``#`` and
quotes in a password are part of it. The file is the only one that is read: ``--defaults-file`` comes first in argv.
"""

from __future__ import annotations

from collections.abc import Sequence

from vya_backupd.errors import ConfigError
from vya_backupd.model.command import SecretFile
from vya_backupd.model.instance import Instance, Tls, TlsMode
from vya_backupd.model.secret import Secret

PLACEHOLDER = "@options@"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b"}
_LINE_LIMIT = 4000
"""Bytes: the programs read lines into a buffer of 4 KiB."""


def quoted(value: str) -> str:
    """A value as it stands in an option file."""
    return '"' + "".join(_ESCAPES.get(character, character) for character in value) + '"'


def option_file(instance: Instance, tls: Sequence[tuple[str, str | None]]) -> SecretFile:
    """The file with the ``[client]`` group: account, place, TLS as the vendor spells it.

    Raises:
        ConfigError: ``invalid_credentials`` when the password has a NUL or is longer than a line may be.
    """
    password = instance.password.reveal()
    if "\0" in password or len(quoted(password).encode()) > _LINE_LIMIT:
        raise ConfigError(
            "the password has a NUL, or more than 4,000 bytes: no option file can hold it",
            code="invalid_credentials",
            hint="Choose another password for the backup account.",
            instance=instance.id,
        )
    lines = ["[client]", f"user={quoted(instance.username)}", f"password={quoted(password)}"]
    lines += [f"{key}={quoted(value)}" for key, value in _place(instance)]
    lines += [key if value is None else f"{key}={quoted(value)}" for key, value in tls]
    return SecretFile(PLACEHOLDER, Secret("\n".join(lines) + "\n"))


def _place(instance: Instance) -> list[tuple[str, str]]:
    if instance.socket is not None:
        return [("protocol", "SOCKET"), ("socket", instance.socket)]
    return [("protocol", "TCP"), ("host", instance.host or "localhost"), ("port", str(instance.port))]


def _certificates(tls: Tls) -> list[tuple[str, str | None]]:
    lines: list[tuple[str, str | None]] = []
    if tls.ca_cert is not None:
        lines.append(("ssl-ca", str(tls.ca_cert)))
    if tls.client_cert is not None and tls.client_key is not None:
        lines += [("ssl-cert", str(tls.client_cert)), ("ssl-key", str(tls.client_key))]
    return lines


_MYSQL_MODES = {
    TlsMode.DISABLE: "DISABLED",
    TlsMode.PREFER: "PREFERRED",
    TlsMode.REQUIRE: "REQUIRED",
    TlsMode.VERIFY_CA: "VERIFY_CA",
    TlsMode.VERIFY_FULL: "VERIFY_IDENTITY",
}


def mysql_tls(instance: Instance) -> list[tuple[str, str | None]]:
    """TLS in the words of MySQL's programs.

    Where the channel may be plain, the server's public key is asked for: caching_sha2_password needs it there.
    """
    mode = instance.tls.mode
    if instance.socket is not None:
        return []
    lines: list[tuple[str, str | None]] = [("ssl-mode", _MYSQL_MODES[mode])]
    if mode in (TlsMode.DISABLE, TlsMode.PREFER):
        lines.append(("get-server-public-key", None))
    verifying = mode in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL)
    certificates = [] if mode is TlsMode.DISABLE else _certificates(instance.tls)
    return lines + [line for line in certificates if verifying or line[0] != "ssl-ca"]


def mariadb_tls(instance: Instance) -> list[tuple[str, str | None]]:
    """TLS in the words of MariaDB's programs.

    They have no mode that checks the certificate but not the host name, so ``verify-ca`` checks both: never less than
    was asked for. In ``require`` they take TLS whenever the server offers it, but do not insist on the offer; the
    probe, which always comes first, does.
    """
    mode = instance.tls.mode
    if instance.socket is not None or mode is TlsMode.DISABLE:
        return [("skip-ssl", None)]
    if mode in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL):
        return [("ssl", None), *_certificates(instance.tls), ("ssl-verify-server-cert", None)]
    certificates = [line for line in _certificates(instance.tls) if line[0] != "ssl-ca"]
    return [("ssl", None), *certificates, ("skip-ssl-verify-server-cert", None)]
