"""An instance: a database server that we are responsible for, and the facts a probe learns from it."""

from __future__ import annotations

import enum
import fnmatch
from dataclasses import dataclass, field
from pathlib import Path

from vya_backupd.model.secret import Secret


class EngineKind(enum.StrEnum):
    """The three kinds of server."""

    MYSQL = "mysql"
    MARIADB = "mariadb"
    POSTGRESQL = "postgresql"


class TlsMode(enum.StrEnum):
    """How far TLS to a server goes; the words of libpq."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS settings of one instance; paths are PEM files."""

    mode: TlsMode = TlsMode.PREFER
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


SYSTEM_DATABASES: dict[EngineKind, frozenset[str]] = {
    EngineKind.MYSQL: frozenset({"information_schema", "performance_schema", "sys", "mysql"}),
    EngineKind.MARIADB: frozenset({"information_schema", "performance_schema", "sys", "mysql"}),
    EngineKind.POSTGRESQL: frozenset({"template0", "template1"}),
}
"""Never backed up as databases: servers make them anew, and what users keep there travels in globals."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A server, how to log in to it, and which of its databases we answer for."""

    id: str
    kind: EngineKind
    host: str | None
    port: int
    socket: str | None
    username: str
    password: Secret
    databases: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    tls: Tls = field(default_factory=Tls)
    enabled: bool = True

    def covers(self, database: str) -> bool:
        """Whether this database is ours to back up.

        System databases never are; PostgreSQL's ``postgres`` only when it is named without a wildcard.
        """
        if database in SYSTEM_DATABASES[self.kind]:
            return False
        if any(fnmatch.fnmatchcase(database, pattern) for pattern in self.exclude):
            return False
        if self.kind is EngineKind.POSTGRESQL and database == "postgres":
            return "postgres" in self.databases
        return any(database == pattern or fnmatch.fnmatchcase(database, pattern) for pattern in self.databases)

    def leaves_out(self, database: str) -> bool:
        """Whether somebody decided that this database is not backed up: an exclusion, or that it is the server's own.

        PostgreSQL's ``postgres`` counts as such.
        """
        if database in SYSTEM_DATABASES[self.kind] or (self.kind is EngineKind.POSTGRESQL and database == "postgres"):
            return True
        return any(fnmatch.fnmatchcase(database, pattern) for pattern in self.exclude)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself."""

    vendor: EngineKind
    version: tuple[int, ...]
    version_text: str
    is_superuser: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lack:
    """A right that the backup account does not have on a database.

    ``text`` says what a dump by this account misses, or where it stops. ``sql`` are the statements that put it right,
    with the account's name: for those who may know it. ``masked`` are the same for everybody's eyes. ``stops``: no dump
    comes to its end without it.
    """

    text: str
    sql: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    stops: bool = False

    @property
    def told(self) -> str:
        """In one line, for warnings and hints."""
        return (
            f"{self.text}; missing: {' '.join(self.masked)} ('vyactl doctor' has it in full)" if self.sql else self.text
        )


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What a server says of one of its databases, before or after a dump.

    ``tables`` are base tables that a dump must hold, as the scanner names them (PostgreSQL ``schema.table`` with
    identifiers as they are, unquoted; MySQL and MariaDB the bare table name). ``size_bytes`` is the server's own figure.
    ``properties`` are facts needed to create the database anew: PostgreSQL encoding, lc_collate, lc_ctype,
    locale_provider, locale, collation_version, ...; MySQL and MariaDB character_set, collation, definers.
    ``unresolved_views`` (MySQL and MariaDB; name, text): the server can no longer make sense of them, and dump tools
    stop at them. ``is_plain`` (PostgreSQL): the database has no rights, settings, comments or labels of its own; only
    its owner is to be recorded. ``lacks`` are rights that the account does not have.
    """

    name: str
    size_bytes: int
    tables: tuple[str, ...]
    views_count: int = 0
    procedures_count: int = 0
    triggers_count: int = 0
    events_count: int = 0
    properties: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unresolved_views: tuple[tuple[str, str], ...] = ()
    is_plain: bool = False
    lacks: tuple[Lack, ...] = ()
