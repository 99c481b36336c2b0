"""``credentials.json`` as records, after decryption. No message repeats a value: most of them are secrets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from vya_backupd.config.fields import Duration, FilePath, Section, Text
from vya_backupd.config.keys import KeyMethod
from vya_backupd.config.schema_limits import OwnLimits
from vya_backupd.model.instance import EngineKind, Instance, Tls, TlsMode
from vya_backupd.model.secret import Secret
from vya_backupd.policy.cron import parse_cron

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PORTS = {EngineKind.MYSQL: 3306, EngineKind.MARIADB: 3306, EngineKind.POSTGRESQL: 5432}


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _storable(value: str) -> str:
    """Neither option files nor ``.pgpass`` can hold these three, and no server's client sends them."""
    if set(value) & set("\n\r\0"):
        raise ValueError("must not hold a line break or a NUL: the dump tools' password files cannot carry them")
    return value


def _one_word(value: str) -> str:
    if not value or value.startswith("-") or any(char.isspace() for char in value):
        raise ValueError("must be a name without blanks that does not begin with -")
    return value


Login = Annotated[str, AfterValidator(_storable)]
Patterns = Annotated[tuple[Text, ...], BeforeValidator(_words)]


class Encryption(Section):
    """How user names and passwords are encrypted."""

    method: Literal["fernet"] = "fernet"
    key_derivation: Literal[tuple(str(method) for method in KeyMethod)] = "key-file"  # type: ignore[valid-type]
    name: Text | None = None


class Ssl(Section):
    """TLS to one server."""

    enabled: bool | None = None
    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] | None = None
    ca_cert: FilePath | None = None
    client_cert: FilePath | None = None
    client_key: FilePath | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.enabled is True and self.mode == "disable":
            raise ValueError("enabled and mode contradict each other")
        if self.enabled is False and self.mode not in (None, "disable"):
            raise ValueError("enabled and mode contradict each other")
        if self.mode in ("verify-ca", "verify-full") and self.ca_cert is None:
            raise ValueError(
                f"mode {self.mode} needs ca_cert; for a public authority that is the system's own bundle, such as "
                "/etc/ssl/certs/ca-certificates.crt"
            )
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key belong together")
        return self

    def settings(self) -> Tls:
        """What was meant: without a mode, a CA is there to verify with, and ``enabled`` alone demands encryption."""
        if self.enabled is False or self.mode == "disable":
            return Tls(TlsMode.DISABLE)
        if self.mode is not None:
            mode = TlsMode(self.mode)
        elif self.ca_cert is not None:
            mode = TlsMode.VERIFY_FULL
        else:
            mode = TlsMode.REQUIRE if self.enabled else TlsMode.PREFER
        return Tls(mode, self.ca_cert, self.client_cert, self.client_key)


class OwnSchedule(Section):
    """What an instance has instead of the ``scheduling`` of ``config.yaml``."""

    enabled: bool | None = None
    cron: Text | None = None
    interval_minutes: int | None = Field(None, ge=1, le=527040)

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str | None) -> str | None:
        if value is not None:
            parse_cron(value)
        return value


class OwnRetention(Section):
    """What an instance has instead of the ``storage.retention`` of ``config.yaml``."""

    strategy: Literal["simple", "gfs"] | None = None
    daily_keep: int | None = Field(None, ge=1)
    weekly_keep: int | None = Field(None, ge=0)
    monthly_keep: int | None = Field(None, ge=0)
    minimum_keep: int | None = Field(None, ge=1)


class Entry(Section):
    """One server."""

    id: str
    type: Literal["mysql", "mariadb", "postgresql"]
    description: Text | None = None
    enabled: bool = True
    host: Text | None = None
    port: int | None = Field(None, ge=1, le=65535)
    socket: Text | None = None
    username: Login = Field(min_length=1, repr=False)
    password: Login = Field("", repr=False)
    database: Patterns = ("*",)
    exclude_databases: Patterns = ()
    ssl: Ssl = Field(default_factory=Ssl)
    schedule: OwnSchedule | None = None
    retention: OwnRetention | None = None
    limits: OwnLimits | None = None
    max_age: Duration | None = None

    @field_validator("id")
    @classmethod
    def _id(cls, value: str) -> str:
        if not _ID.fullmatch(value):
            raise ValueError("must be 1 to 63 ASCII letters, digits, - _ or . and begin with a letter or digit")
        return value

    @field_validator("host", "socket")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return value if value is None else _one_word(value)

    @field_validator("database", "exclude_databases")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("must not hold an empty name")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if (self.host is None) == (self.socket is None):
            raise ValueError("needs either host or socket")
        if not self.database:
            raise ValueError('database names none; "*" is all of them')
        return self

    def instance(self) -> Instance:
        """The server as the rest of the product knows it. A PostgreSQL host that is a path is a socket's folder."""
        kind = EngineKind(self.type)
        host, socket = self.host, self.socket
        if kind is EngineKind.POSTGRESQL and host is not None and host.startswith("/"):
            host, socket = None, host
        return Instance(
            id=self.id,
            kind=kind,
            host=host,
            port=self.port or _PORTS[kind],
            socket=socket,
            username=self.username,
            password=Secret(self.password),
            databases=self.database,
            exclude=self.exclude_databases,
            tls=self.ssl.settings(),
            enabled=self.enabled,
        )

    def tls_files(self) -> tuple[Path, ...]:
        """The files that TLS to this server needs."""
        return tuple(path for path in (self.ssl.ca_cert, self.ssl.client_cert, self.ssl.client_key) if path)


class CredentialsFile(Section):
    """The whole file."""

    version: Literal["1.0"] = "1.0"
    encryption: Encryption = Field(default_factory=Encryption)
    databases: tuple[Entry, ...]
