"""``config.yaml`` as frozen records: the one source of validation, of defaults and of the reference page."""

from __future__ import annotations

import re
import socket
from datetime import timedelta
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from vya_backupd.config.fields import Duration, FilePath, Names, Paths, SecretField, Section, Text
from vya_backupd.config.schema_limits import Limits
from vya_backupd.config.schema_notifications import Notifications
from vya_backupd.config.schema_restore import Restore
from vya_backupd.config.schema_service import Monitoring, Scheduling
from vya_backupd.config.schema_storage import Storage
from vya_backupd.config.secret_ref import Decrypt, SecretRef
from vya_backupd.errors import ConfigError
from vya_backupd.model.secret import Secret

_CATALOG_URL = re.compile(r"(sqlite(\+aiosqlite)?|postgresql(\+psycopg)?)://")
"""The two kinds of databases that keep a catalog, and the drivers that come with us."""


class Application(Section):
    """Who and where this installation is."""

    name: Text = Field("VYA BackupDB", description="How the installation calls itself in mails and logs.")
    version: Text = Field("2.0.0", description="Version that this file was written for.")
    environment: Literal["dev", "staging", "production"] = Field(
        "production", description="production refuses secrets that stand in this file as plain text."
    )
    hostname: Text = Field(
        default_factory=socket.gethostname,
        min_length=1,
        description="This site's identity, in paths, labels and retention, which never touches another site's files.",
        json_schema_extra={"default": "the machine's host name"},
    )
    state_dir: FilePath = Field(Path("/var/lib/vya_backupdb"), description="Folder of the catalog, locks and state.")
    stop_deadline: Duration = Field(
        timedelta(minutes=5), description="How long a stop waits for running work before it is aborted."
    )


class Logging(Section):
    """The log."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is written.")
    format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for people.")
    output: Literal["console", "file", "both"] = Field("console", description="Where it goes; console is stderr.")
    file_path: FilePath | None = Field(None, description="The log file; reopened when it was moved away.")

    @field_validator("level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _file_named(self) -> Self:
        if self.output != "console" and self.file_path is None:
            raise ValueError(f"file_path is required when output is {self.output}")
        return self


class Audit(Section):
    """The record of who did what."""

    file_path: FilePath | None = Field(None, description="The audit file; audit.log in the state folder by default.")
    encrypt: bool = Field(False, description="Whether its records are encrypted with the key of the credentials.")


class Backup(Section):
    """How backups are made."""

    compression_level: int = Field(6, ge=1, le=9, description="1 fastest to 9 smallest, measured against gzip -N.")
    codec: Literal["gzip", "zstd"] = Field(
        "gzip",
        description="What files are compressed with. gzip can be read everywhere; zstd packs smaller. Names of its files "
        "end in .zst.",
    )
    verify_integrity: bool = Field(
        True, description="Whether each new backup is read back once, after it was published."
    )
    reverify_days: int = Field(
        30, ge=0, le=3650, description="Days within which every backup is read again, a few at a time; 0 never does."
    )
    dry_run: bool = Field(False, description="Whether backups only say what they would do, until this is false again.")
    workers: int = Field(2, ge=1, le=64, description="Databases dumped at the same time, over all instances.")
    parallel_per_database: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Sessions that read one database at the same time, beside the one that reads its schema; by its size "
        "and the cores when unset. 1 is the dump tool alone.",
    )
    parallel_piece_size: int = Field(
        64 << 20,
        ge=1 << 16,
        description="Bytes of a large table that one of several sessions reads at a time. Tables smaller than an eighth of "
        "it are left to the dump tool.",
    )
    include_globals: bool = Field(True, description="Whether users, roles and grants are backed up with each instance.")
    stall_timeout: Duration = Field(
        timedelta(minutes=30),
        description="A dump, a restore or a question to a server that does not move for this long is stopped and failed; "
        "an index that the server builds is waited for.",
    )
    lock_wait_timeout: Duration = Field(
        timedelta(minutes=1), description="How long a dump waits for a lock, with others queueing behind it."
    )
    max_age: Duration | None = Field(
        None,
        description="Recovery objective: the oldest that a last good backup may be; 1.5 x the interval by default.",
    )
    free_space_factor: float = Field(
        1.3,
        ge=0,
        le=100,
        description="Free space wanted before a dump, as a multiple of the last size; 0 does not look.",
    )
    attempts: int = Field(3, ge=1, le=20, description="How often a database is tried when trying again can help.")
    retry_wait: Duration = Field(timedelta(seconds=10), description="Wait before the second attempt; then it grows.")


class Control(Section):
    """The socket that the client talks to."""

    socket_path: FilePath = Field(
        Path("/run/vya-backupd/control.sock"),
        description="The control socket; vyactl looks here unless told otherwise.",
    )
    operators: Names = Field((), description="Groups that may back up, restore, hold and delete; root always may.")
    viewers: Names = Field((), description="Groups that may look.")

    @field_validator("socket_path")
    @classmethod
    def _fits(cls, value: Path) -> Path:
        if len(bytes(value)) > 107:
            raise ValueError("is longer than the 107 bytes that a socket address has room for")
        return value


class History(Section):
    """How long the catalog remembers what was done."""

    keep_operations: int = Field(
        400,
        ge=60,
        le=36500,
        description="Days for which operations, with their steps and events, stay on record. Backups, totals and the "
        "audit do not depend on it.",
    )


class Catalog(Section):
    """The index of backups and operations."""

    url: SecretField | None = Field(
        None,
        description="SQLAlchemy URL; SQLite in the state folder by default (sqlite+aiosqlite:////PATH). One with a password "
        "is a secret: file:PATH and the like.",
    )
    history: History = Field(default_factory=History, description="How long it remembers.")

    @field_validator("url")
    @classmethod
    def _of_a_known_kind(cls, value: SecretRef | None) -> SecretRef | None:
        if value is not None and value.found is not None and value.scheme in ("plain", "env"):
            _check_catalog_url(value.found.reveal())
        return value


def _check_catalog_url(text: str) -> None:
    """Raise ValueError, which does not repeat the text: a password may be in it."""
    try:
        known = bool(_CATALOG_URL.match(text)) and urlsplit(text).port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("must be sqlite+aiosqlite:////PATH or postgresql+psycopg://USER@HOST/DATABASE")


class Credentials(Section):
    """Where the logins of the database servers are."""

    file: FilePath = Field(Path(".secrets/credentials.json"), description="The credentials file, mode 0600.")
    key_file: FilePath | None = Field(
        None,
        description="The key of a credentials file whose method is key-file; beside it, with suffix .key, by default.",
    )
    allow_group: bool = Field(
        False, description="Also accept files owned by root that a group of ours may read (Kubernetes Secrets)."
    )


class PostgresqlTools(Section):
    """PostgreSQL's programs."""

    search: Paths = Field((), description="Folders that hold pg_dump, psql and pg_dumpall, looked through first.")


class MysqlTools(Section):
    """MySQL's or MariaDB's programs."""

    dump: FilePath | None = Field(None, description="mysqldump or mariadb-dump.")
    client: FilePath | None = Field(None, description="mysql or mariadb.")
    binlog: FilePath | None = Field(None, description="mysqlbinlog or mariadb-binlog.")


class Tools(Section):
    """Programs of the database vendors; found by themselves in the usual places."""

    postgresql: PostgresqlTools = Field(default_factory=PostgresqlTools, description="PostgreSQL's programs.")
    mysql: MysqlTools = Field(default_factory=MysqlTools, description="MySQL's programs.")
    mariadb: MysqlTools = Field(default_factory=MysqlTools, description="MariaDB's programs.")


class Config(Section):
    """The whole of ``config.yaml``."""

    application: Application = Field(default_factory=Application, description="Who and where this installation is.")
    logging: Logging = Field(default_factory=Logging, description="The log.")
    audit: Audit = Field(default_factory=Audit, description="The record of who did what.")
    backup: Backup = Field(default_factory=Backup, description="How backups are made.")
    restore: Restore = Field(default_factory=Restore, description="How backups are restored.")
    limits: Limits = Field(
        default_factory=Limits, description="How much of servers and disks the work may take, and when."
    )
    storage: Storage = Field(default_factory=Storage, description="Where backups lie.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="When backups run.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="What other programs may ask.")
    notifications: Notifications = Field(default_factory=Notifications, description="Who is told.")
    control: Control = Field(default_factory=Control, description="The socket that the client talks to.")
    catalog: Catalog = Field(default_factory=Catalog, description="The index of backups and operations.")
    credentials: Credentials = Field(default_factory=Credentials, description="Logins of the database servers.")
    tools: Tools = Field(default_factory=Tools, description="Programs of the database vendors.")

    def catalog_url(self, decrypt: Decrypt | None = None) -> Secret:
        """The catalog's URL: the configured one, or SQLite in the state folder.

        Raises:
            ConfigError: the reference to the URL leads nowhere, or to something else.
        """
        if self.catalog.url is not None:
            url = self.catalog.url.reveal(decrypt)
            try:
                _check_catalog_url(url.reveal())
            except ValueError as error:
                raise ConfigError(f"what catalog.url ({self.catalog.url}) refers to {error}") from None
            return url
        return Secret(f"sqlite+aiosqlite:///{self.application.state_dir / 'catalog.db'}")

    @property
    def audit_path(self) -> Path:
        """The audit file."""
        return self.audit.file_path or self.application.state_dir / "audit.log"

    @property
    def max_age(self) -> timedelta:
        """The recovery objective of instances that have none of their own."""
        return self.backup.max_age or timedelta(minutes=self.scheduling.interval_minutes) * 1.5
