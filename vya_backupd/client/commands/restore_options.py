"""The options of ``restore`` and ``extract``, in records: what is meant, where it goes, and how."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vya_backupd.client.command import names
from vya_backupd.errors import UsageError

Instance = Annotated[
    str | None, typer.Option("--instance", "-i", metavar="ID", help="The instance that was backed up.")
]
Database = Annotated[
    str | None, typer.Option("--database", "-d", metavar="NAME", help="The database that was backed up.")
]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Which backup is meant."""

    instance: Instance = None
    database: Database = None
    latest: Annotated[bool, typer.Option("--latest", help="The newest backup of the database.")] = False
    moment: Annotated[
        str | None,
        typer.Option(
            "--datetime",
            metavar="TIME",
            help="The newest backup taken at or before TIME ('2026-01-09 10:00:00', configured time zone, or with an offset).",
        ),
    ] = None
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            metavar="PATH",
            help="This file: ours, or a dump made by other means: plain, gzip or zstd.",
        ),
    ] = None
    backup: Annotated[str | None, typer.Option("--backup", metavar="ID", help="The backup with this id.")] = None

    def request(self) -> dict[str, Any]:
        """As the daemon is told. Raises UsageError: what should be a time is none."""
        return {
            "instance": self.instance,
            "database": self.database,
            "latest": self.latest,
            "datetime": _iso(self.moment),
            "file": str(Path(self.file).absolute()) if self.file else None,
            "backup_id": self.backup,
        }


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Which part of the backup is meant."""

    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            "-t",
            metavar="NAME",
            help="This table alone, as NAME or SCHEMA.NAME; several with commas, or repeat the option.",
        ),
    ] = None
    schema_only: Annotated[
        bool, typer.Option("--schema-only", help="Without rows: of --table, or (restore) of the whole database.")
    ] = False
    data_only: Annotated[
        bool, typer.Option("--data-only", help="The rows alone: of --table, or (restore) of all tables.")
    ] = False
    no_indexes: Annotated[
        bool,
        typer.Option("--no-indexes", help="With --table: without indexes and foreign keys (PostgreSQL: and keys)."),
    ] = False

    def request(self) -> dict[str, Any]:
        """As the daemon is told."""
        return asdict(self) | {"tables": names(self.tables)}


@dataclass(frozen=True, slots=True)
class IntoTableOptions:
    """Where a single table goes."""

    target_table: Annotated[
        str | None, typer.Option("--target-table", metavar="NAME", help="Another name for the one --table.")
    ] = None
    append: Annotated[
        bool, typer.Option("--append", help="With --data-only: into tables that have rows, beside them.")
    ] = False

    def request(self) -> dict[str, Any]:
        """As the daemon is told."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """Where a restore goes, and how much of a server."""

    target_instance: Annotated[
        str | None,
        typer.Option("--target-instance", metavar="ID", help="Where to restore to. [default: the instance itself]"),
    ] = None
    target_database: Annotated[
        str | None,
        typer.Option(
            "--target-database",
            metavar="NAME",
            help="Restore under this name, beside the original. [default: the name itself]",
        ),
    ] = None
    all_: Annotated[bool, typer.Option("--all", help="Every database of the instance, onto an empty server.")] = False
    globals_: Annotated[
        bool,
        typer.Option(
            "--globals",
            help="Users, roles and grants too, before the databases; without --database or --all, they alone.",
        ),
    ] = False

    def request(self) -> dict[str, Any]:
        """As the daemon is told."""
        return {
            "target_instance": self.target_instance,
            "target_database": self.target_database,
            "all": self.all_,
            "globals": self.globals_,
        }


@dataclass(frozen=True, slots=True)
class CareOptions:
    """What may happen to what is there."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the whole file; touch no server.")] = False
    interactive: Annotated[bool, typer.Option("--interactive", help="Choose backup and target from lists.")] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a target that is not empty; asks for its name typed back.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: the options say what is meant.")] = False
    disconnect: Annotated[
        bool, typer.Option("--disconnect", help="End the sessions that are connected to the target.")
    ] = False

    def request(self) -> dict[str, Any]:
        """As the daemon is told; the confirmation comes later."""
        return {
            "dry_run": self.dry_run,
            "overwrite": self.overwrite,
            "confirmed_target": None,
            "disconnect": self.disconnect,
        }


@dataclass(frozen=True, slots=True)
class SpeedOptions:
    """How a restore is done."""

    enable_events: Annotated[
        bool,
        typer.Option(
            "--enable-events",
            help="MySQL and MariaDB: let the copy's events run; otherwise they are disabled in a copy.",
        ),
    ] = False
    sessions: Annotated[
        int | None,
        typer.Option(
            "--sessions", min=1, max=64, metavar="N", help="Sessions that restore one database at the same time."
        ),
    ] = None
    skip_binlog: Annotated[
        bool,
        typer.Option(
            "--skip-binlog",
            help="MySQL and MariaDB: keep the rows out of the binary log. Replicas and restores to a moment lack them.",
        ),
    ] = False

    def request(self) -> dict[str, Any]:
        """As the daemon is told."""
        return asdict(self)


class Definer(StrEnum):
    """What becomes of the accounts in whose name views, routines, triggers and events run."""

    KEEP = "keep"
    STRIP = "strip"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What of the backup is changed or left out, so that another server takes it."""

    definer: Annotated[
        Definer,
        typer.Option(
            "--definer",
            help="MySQL and MariaDB: the definers of views, routines, triggers and events. strip: the account that restores. [default: keep]",
            show_default=False,
        ),
    ] = Definer.KEEP
    definer_user: Annotated[
        str | None,
        typer.Option("--definer-user", metavar="USER@HOST", help="The account for --definer replace."),
    ] = None
    no_owner: Annotated[
        bool, typer.Option("--no-owner", help="PostgreSQL: everything belongs to the account that restores.")
    ] = False
    no_privileges: Annotated[bool, typer.Option("--no-privileges", help="PostgreSQL: leave GRANT and REVOKE out.")] = (
        False
    )
    no_tablespaces: Annotated[
        bool, typer.Option("--no-tablespaces", help="PostgreSQL: everything goes into the default tablespace.")
    ] = False
    skip_extensions: Annotated[
        list[str] | None,
        typer.Option(
            "--skip-extension",
            metavar="NAME",
            help="PostgreSQL: do not create this extension; several with commas, or repeat the option.",
        ),
    ] = None

    def request(self) -> dict[str, Any]:
        """As the daemon is told. Raises UsageError: the two options about definers do not go together."""
        if (self.definer is Definer.REPLACE) != (self.definer_user is not None):
            raise UsageError(
                "--definer replace and --definer-user need each other",
                hint="--definer replace --definer-user USER@HOST",
            )
        return asdict(self) | {"definer": str(self.definer), "skip_extensions": names(self.skip_extensions)}


def _iso(text: str | None) -> str | None:
    """The time as ISO 8601, with an offset only where one was given. Raises UsageError."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(
            f"not a time: {text!r}",
            hint="Write it as '2026-01-09 10:00:00', with an offset such as +02:00 where the configured zone is not meant.",
        ) from error
