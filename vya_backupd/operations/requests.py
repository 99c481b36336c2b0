"""What may stand in a request, checked before anything is queued."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Self, get_type_hints

from vya_backupd.errors import UsageError
from vya_backupd.model.backup import GLOBALS_NAME
from vya_backupd.model.file_codec import FileCodec


@dataclass(frozen=True, slots=True)
class _Request:
    @classmethod
    def parse(cls, record: dict[str, Any]) -> Self:
        """The request of a JSON record.

        Raises:
            UsageError: an unknown key, or a value of the wrong type; all of them at once.
        """
        hints = get_type_hints(cls)
        known = {field.name for field in fields(cls)}
        wrong = [f"{key}: no such key" for key in record if key not in known]
        values: dict[str, Any] = {}
        for key in known & record.keys():
            value = tuple(record[key]) if isinstance(record[key], list) else record[key]
            if not _fits(value, hints[key]):
                wrong.append(f"{key}: {record[key]!r} does not fit")
            values[key] = value
        if wrong:
            raise UsageError(f"bad {cls.__name__}: {'; '.join(sorted(wrong))}")
        return cls(**values)


def _fits(value: Any, hint: Any) -> bool:
    options = getattr(hint, "__args__", (hint,)) if not _is_tuple(hint) else (hint,)
    for option in options:
        if _is_tuple(option):
            if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
                return True
        elif option is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return True
        elif isinstance(value, option):
            return True
    return False


def _is_tuple(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is tuple


@dataclass(frozen=True, slots=True)
class BackupRequest(_Request):
    """``None`` means: as configured, or all.

    ``resumed``: the databases are those that an interrupted run left open; one that is gone since is left out, and
    ``globals`` counts although databases are named.
    """

    instances: tuple[str, ...] | None = None
    databases: tuple[str, ...] | None = None
    parallel: bool = False
    workers: int | None = None
    compression_level: int | None = None
    codec: str | None = None
    dry_run: bool = False
    globals: bool = True
    resumed: bool = False

    @classmethod
    def parse(cls, record: dict[str, Any]) -> Self:
        """As in ``_Request``, and numbers within their ranges."""
        request = super(BackupRequest, cls).parse(record)
        if request.workers is not None and not 1 <= request.workers <= 64:
            raise UsageError(f"workers must be between 1 and 64, not {request.workers}")
        if request.compression_level is not None and not 1 <= request.compression_level <= 9:
            raise UsageError(f"the compression level must be between 1 and 9, not {request.compression_level}")
        if request.codec is not None and request.codec not in list(FileCodec):
            raise UsageError(f"the codec must be {' or '.join(FileCodec)}, not {request.codec!r}")
        return request


@dataclass(frozen=True, slots=True)
class RestoreRequest(_Request):
    """What to restore (``backup_id``, ``file``, or the newest of ``instance`` and ``database``) and where to.

    ``datetime``: ISO 8601 with an offset, or without one in the scheduling time zone. ``tables``: these alone, whole or
    in part; without them ``schema_only`` is the whole database but for its rows, and ``data_only`` are the rows of all tables.
    ``target_table`` is another name for the one. ``definer``: keep, strip, or replace by ``definer_user``
    (``USER@HOST``); ``no_owner`` and what follows it leave statements of PostgreSQL out.
    """

    instance: str | None = None
    database: str | None = None
    latest: bool = False
    datetime: str | None = None
    file: str | None = None
    backup_id: str | None = None
    target_instance: str | None = None
    target_database: str | None = None
    all: bool = False
    globals: bool = False
    dry_run: bool = False
    overwrite: bool = False
    confirmed_target: str | None = None
    disconnect: bool = False
    enable_events: bool = False
    sessions: int | None = None
    skip_binlog: bool = False
    tables: tuple[str, ...] | None = None
    target_table: str | None = None
    schema_only: bool = False
    data_only: bool = False
    no_indexes: bool = False
    append: bool = False
    definer: str = "keep"
    definer_user: str | None = None
    no_owner: bool = False
    no_privileges: bool = False
    no_tablespaces: bool = False
    skip_extensions: tuple[str, ...] | None = None

    @property
    def is_of_tables(self) -> bool:
        """Whether tables are restored one by one, and not the database that they make up."""
        return bool(self.tables) or self.data_only

    @property
    def way_to_tables(self) -> str:
        """What to do where rows have no table to go into."""
        return "Leave --data-only out." if self.tables else "Restore the definitions first, with --schema-only."

    @classmethod
    def parse(cls, record: dict[str, Any]) -> Self:
        """As in ``_Request``, and exactly one way of saying what to restore."""
        request = super(RestoreRequest, cls).parse(record)
        ways = [request.file is not None, request.backup_id is not None, request.instance is not None]
        if sum(ways) != 1:
            raise UsageError(
                "name what to restore by one of file, backup id, or instance", hint="see 'vyactl restore --help'"
            )
        if request.file is not None and not Path(request.file).is_absolute():
            raise UsageError(f"the daemon needs an absolute path, not {request.file!r}")
        if request.target_database == GLOBALS_NAME:
            raise UsageError(f"{GLOBALS_NAME!r} stands for users and grants: choose another target database")
        if "" in (request.target_instance, request.target_database, request.target_table):
            raise UsageError("a target has an empty name", hint="Leave the option out where the default is meant.")
        if request.sessions is not None and not 1 <= request.sessions <= 64:
            raise UsageError(f"sessions must be between 1 and 64, not {request.sessions}")
        if request.skip_binlog and (request.overwrite or request.is_of_tables):
            raise UsageError(
                "skip_binlog is for a new database: replicas would be told to exchange tables that they do not have"
            )
        if request.all and (request.database or request.target_database):
            raise UsageError("all takes no database: every database keeps its name")
        by_name = request.instance is not None and not request.all
        if by_name and not request.database and not request.globals:
            raise UsageError("name a database, or all", hint="see 'vyactl restore --list'")
        if by_name and request.latest == (request.datetime is not None):
            raise UsageError(
                "nothing, or too much, says which backup is meant", hint="Give --latest or --datetime TIME, not both."
            )
        _check_tables(request)
        _check_definer(request)
        return request


def _check_tables(request: RestoreRequest) -> None:
    """What is said of tables must go together."""
    parts = {
        "--target-table": request.target_table is not None,
        "--schema-only": request.schema_only,
        "--data-only": request.data_only,
        "--no-indexes": request.no_indexes,
        "--append": request.append,
    }
    given = [name for name, is_given in parts.items() if is_given]
    if not request.is_of_tables:
        if given == ["--schema-only"]:
            _check_without_rows(request)
            return
        if given:
            needs = "needs" if len(given) == 1 else "need"
            raise UsageError(f"{' and '.join(given)} {needs} a table", hint="Name it with --table.")
        return
    if request.all or request.globals:
        raise UsageError("tables are taken from one database", hint="Leave out --all and --globals.")
    wrong = [
        ("--schema-only", request.schema_only, "Leave both out: the table comes with its rows."),
        ("--no-indexes", request.no_indexes, "Rows alone bring no indexes: leave out --no-indexes."),
        ("--overwrite", request.overwrite, "Empty the table and leave out --overwrite, or replace it with its rows."),
        ("--target-table", request.target_table is not None, "Rows go into the table of their own name."),
    ]
    for other, is_given, hint in wrong:
        if request.data_only and is_given:
            raise UsageError(f"--data-only and {other} exclude each other", hint=hint)
    if request.append and not request.data_only:
        raise UsageError("--append adds rows to a table that is there", hint="Add --data-only.")
    if request.target_table is not None and len(request.tables or ()) > 1:
        hint = "Restore them one after the other, or all of them beside with --target-database."
        raise UsageError("--target-table is the name of one table, several are to be restored", hint=hint)


def _check_without_rows(request: RestoreRequest) -> None:
    """A whole database without rows: it never takes the place of one that has some."""
    if request.overwrite:
        hint = "Restore beside it with --target-database NAME."
        raise UsageError("--schema-only and --overwrite exclude each other: every row would be lost", hint=hint)


def _check_definer(request: RestoreRequest) -> None:
    """What is said of definers must go together."""
    if request.definer not in ("keep", "strip", "replace"):
        raise UsageError(f"definers can be kept, stripped or replaced, not {request.definer!r}")
    if request.definer == "replace" and not request.definer_user:
        raise UsageError("--definer replace needs an account", hint="Name it with --definer-user USER@HOST.")
    if request.definer_user is not None and request.definer != "replace":
        raise UsageError("--definer-user is the account for --definer replace", hint="Add --definer replace.")


@dataclass(frozen=True, slots=True)
class VerifyRequest(_Request):
    """One file, or backups of an instance: the latest of each database, or all."""

    file: str | None = None
    backup_id: str | None = None
    instance: str | None = None
    database: str | None = None
    latest: bool = False
    all: bool = False

    @classmethod
    def parse(cls, record: dict[str, Any]) -> Self:
        """As in ``_Request``, and exactly one way of saying what to verify."""
        request = super(VerifyRequest, cls).parse(record)
        if sum([request.file is not None, request.backup_id is not None, request.instance is not None]) != 1:
            raise UsageError("name what to verify by one of file, backup id, or instance")
        if request.file is not None and not Path(request.file).is_absolute():
            raise UsageError(f"the daemon needs an absolute path, not {request.file!r}")
        if request.latest and request.all:
            raise UsageError("either the latest or all")
        return request


@dataclass(frozen=True, slots=True)
class PruneRequest(_Request):
    """Where to apply the retention rules: everywhere (``None``), at some instances, at one database of them."""

    instances: tuple[str, ...] | None = None
    database: str | None = None


def parse_moment(text: str, zone: Any) -> datetime:
    """A point in time: ISO 8601, read in ``zone`` where it has no offset.

    Raises:
        UsageError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is no date and time", hint='write it like "2026-01-09 10:00:00"') from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
