"""How libpq is told where to connect: connection strings and password files.

Sources: PostgreSQL documentation, "Connection Strings" and "The Password File".
"""

from __future__ import annotations

from pathlib import PurePosixPath

from vya_backupd.errors import ConfigError
from vya_backupd.model.instance import Instance, TlsMode
from vya_backupd.model.secret import Secret

CONNECT_TIMEOUT = 15
"""Seconds until a connection attempt is given up, for tools and probes alike."""


def quoted(value: str) -> str:
    """A value in a connection string: single quotes around it, backslashes before quotes and backslashes."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def conninfo(parameters: dict[str, str]) -> str:
    """A connection string in which no value can be mistaken for anything else."""
    return " ".join(f"{key}={quoted(value)}" for key, value in parameters.items())


def place(instance: Instance) -> dict[str, str]:
    """Host and port, or the folder of the Unix socket (the socket file itself may be named, too)."""
    if instance.socket is None:
        return {"host": instance.host or "localhost", "port": str(instance.port)}
    path = PurePosixPath(instance.socket)
    if path.name.startswith(".s.PGSQL."):
        return {"host": str(path.parent), "port": path.name.removeprefix(".s.PGSQL.")}
    return {"host": str(path), "port": str(instance.port)}


def parameters(instance: Instance, database: str, application: str, options: str = "") -> dict[str, str]:
    """Everything libpq needs but the password.

    A CA is named only in the two verifying modes: libpq would verify in ``require``, too, if it were.
    """
    given = {"dbname": database, **place(instance), "user": instance.username}
    given["connect_timeout"] = str(CONNECT_TIMEOUT)
    # A session that builds an index says nothing for hours: without these a firewall on the way forgets it.
    given |= {"keepalives_idle": "60", "keepalives_interval": "15", "keepalives_count": "8"}
    given["application_name"] = application
    given["gssencmode"] = "disable"
    tls = instance.tls
    given["sslmode"] = tls.mode.value
    if tls.ca_cert is not None and tls.mode in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL):
        given["sslrootcert"] = str(tls.ca_cert)
    if tls.client_cert is not None and tls.client_key is not None:
        given |= {"sslcert": str(tls.client_cert), "sslkey": str(tls.client_key)}
    if options:
        given["options"] = options
    return given


def password_file(instance: Instance) -> Secret:
    """The one line of a password file that fits every connection.

    Raises:
        ConfigError: ``invalid_credentials`` when the password has a line break or a NUL, which the format cannot hold.
    """
    password = instance.password.reveal()
    if any(character in password for character in "\r\n\0"):
        raise ConfigError(
            "the password has a line break or a NUL, which PostgreSQL's password file cannot hold",
            code="invalid_credentials",
            hint="Choose another password for the backup account.",
            instance=instance.id,
        )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return Secret(f"*:*:*:*:{escaped}\n")
