"""The ``storage`` group of ``config.yaml``: where backups lie, how they are called, how long they stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from vya_backupd.config.fields import FilePath, Section, Text
from vya_backupd.policy import naming


def _hidden_neighbour(data: dict[str, Any]) -> Path:
    """``/var/backups/.vya_backupdb.partial`` for ``/var/backups/vya_backupdb``: the same file system, most likely."""
    base = Path(data.get("base_path", "."))
    return base.with_name(f".{base.name}.partial")


class LocalStorage(Section):
    """The folder that holds the backups."""

    base_path: FilePath = Field(Path("/var/backups/vya_backupdb"), description="Folder of the finished backups.")
    structure: Text = Field(
        "{hostname}/{db_id}/{db_name}/{date}",
        description="Folders below base_path. Placeholders: {hostname} {db_id} {db_name} {engine} {date} {datetime} "
        "{type}; times are in scheduling.timezone. The flat layout of older installations is "
        '"{date}-{engine}-{hostname}-{db_name}".',
    )
    temp_path: FilePath = Field(
        default_factory=_hidden_neighbour,
        description="Folder of files that are still being written. It must be on the same mount as base_path, and not "
        "inside it or inside anything that a sync tool watches.",
        json_schema_extra={"default": "a hidden folder beside base_path: .NAME.partial"},
    )

    @field_validator("structure")
    @classmethod
    def _structure(cls, value: str) -> str:
        naming.check_structure(value)
        return value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.temp_path.is_relative_to(self.base_path) or self.base_path.is_relative_to(self.temp_path):
            raise ValueError("temp_path and base_path must not lie inside each other")
        return self


class FileNaming(Section):
    """The names of backup files."""

    pattern: Text = Field(
        "{db_name}_{datetime}_{type}.sql.gz",
        description="Name of a backup file, from the same placeholders as structure; ends with .gz, "
        "in whose place names of zstd files get .zst.",
    )
    datetime_format: Text = Field(
        "%Y%m%d_%H%M%S",
        description="What {datetime} becomes: %Y %m %d, and %H %M %S %j where wanted, in any order, with - _ . between.",
    )

    @model_validator(mode="after")
    def _pattern(self) -> Self:
        naming.check_pattern(self.pattern, self.datetime_format)
        return self


class Retention(Section):
    """Which backups stay. Held ones, those in use and the newest complete one of each database always do."""

    strategy: Literal["simple", "gfs"] = Field(
        "gfs",
        description="simple keeps the newest daily_keep backups; gfs keeps the newest of each of the last days, weeks and "
        "months that have one.",
    )
    daily_keep: int = Field(7, ge=1, le=36500, description="Days (gfs) or backups (simple) to keep.")
    weekly_keep: int = Field(4, ge=0, le=5200, description="ISO weeks to keep one backup of.")
    monthly_keep: int = Field(12, ge=0, le=1200, description="Months to keep one backup of.")
    minimum_keep: int = Field(1, ge=1, description="Complete backups of each database that stay whatever their age.")
    cleanup_enabled: bool = Field(True, description="Whether backups that need not stay are deleted at all.")
    apply_per_database: bool = Field(True, description="Always true: each database is counted by itself.")

    @field_validator("apply_per_database")
    @classmethod
    def _per_database(cls, value: bool) -> bool:
        if not value:
            raise ValueError(
                "false is not offered: counting all databases of a server together would let a busy one push out the "
                "only backups of a quiet one"
            )
        return value


class Checksums(Section):
    """Digests of whole files. The manifest always has one."""

    enabled: bool = Field(True, description="false leaves out the checksum file, as store_file: false does.")
    algorithm: Literal["sha256", "md5"] = Field("sha256", description="The digest; md5 only for older readers of it.")
    store_file: bool = Field(True, description="Write NAME.sha256 (or .md5) beside each backup, for sha256sum -c.")


class Metadata(Section):
    """The manifest beside each backup."""

    enabled: bool = Field(True, description="Always true: a backup without its manifest is not published.")
    include_schema_hash: bool = Field(True, description="Record a digest of the schema, which any DDL changes.")

    @field_validator("enabled")
    @classmethod
    def _needed(cls, value: bool) -> bool:
        if not value:
            raise ValueError("false is not offered: the manifest is what makes a file a published backup")
        return value


class Idrive(Section):
    """A folder that the IDrive client uploads from."""

    enabled: bool = Field(False, description="Whether a sync client uploads finished backups from sync_folder.")
    sync_folder: FilePath | None = Field(
        None,
        description="The folder that the sync client watches: base_path, a folder around it, or another one on the same "
        "mount, which then gets hard links of finished files.",
    )
    sync_mark: FilePath | None = Field(
        None,
        description="A file whose time of change is when the last complete sync began; vyactl status counts what is "
        "younger.",
    )
    verify_after_sync: bool = Field(False, description="Always false: nothing here can read back what was uploaded.")

    @field_validator("verify_after_sync")
    @classmethod
    def _cannot(cls, value: bool) -> bool:
        if value:
            raise ValueError("true is not offered: the sync client does not let us read back what it uploaded")
        return value

    @model_validator(mode="after")
    def _folder(self) -> Self:
        if self.enabled and self.sync_folder is None:
            raise ValueError("sync_folder is required when enabled")
        return self


class Storage(Section):
    """Where backups lie."""

    local: LocalStorage = Field(default_factory=LocalStorage, description="The folder that holds the backups.")
    file_naming: FileNaming = Field(default_factory=FileNaming, description="The names of backup files.")
    retention: Retention = Field(default_factory=Retention, description="Which backups stay.")
    checksums: Checksums = Field(default_factory=Checksums, description="Digests of whole files.")
    metadata: Metadata = Field(default_factory=Metadata, description="The manifest beside each backup.")
    idrive: Idrive = Field(default_factory=Idrive, description="A folder that the IDrive client uploads from.")

    @model_validator(mode="after")
    def _partial_files_unwatched(self) -> Self:
        watched = self.idrive.sync_folder
        if watched is not None and self.local.temp_path.is_relative_to(watched):
            raise ValueError(
                "local.temp_path must not lie inside idrive.sync_folder: unfinished files would be uploaded"
            )
        if watched is not None and watched != self.local.base_path and watched.is_relative_to(self.local.base_path):
            raise ValueError("idrive.sync_folder must not lie inside local.base_path: backups would be found twice")
        return self
