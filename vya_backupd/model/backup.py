"""A backup: the published result. Its manifest in the store is the truth; the catalog is an index made from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from vya_backupd.model.file_codec import FileCodec
from vya_backupd.model.instance import EngineKind

GLOBALS_NAME = "@globals"
"""The reserved database name of an instance's globals. In paths it is percent-encoded like any other name; a database
that is really called so is encoded differently (``policy.naming``)."""


class BackupType(enum.StrEnum):
    """What a backup holds: one database, or the users, roles and grants of an instance."""

    FULL = "full"
    GLOBALS = "globals"


class Proof(enum.StrEnum):
    """How much is known of a backup. ``NONE``: it is a foreign file, or damage was found in it since."""

    NONE = "none"
    COMPLETE = "complete"
    VERIFIED = "verified"
    DRILLED = "drilled"


class Section(enum.IntEnum):
    """The part of a dump that a segment belongs to. The numbers are written into files: never change one."""

    HEADER = 1
    SCHEMA = 2
    DATA = 3
    POST = 4
    FOOTER = 5


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """What is known when the first byte of a dump arrives. Written into the first member of the file.

    ``taken_at`` (UTC): every transaction that the dump sees had begun by then; the end of the dump's header, when the
    snapshot is known to exist. ``properties`` as in ``DatabaseFacts``. ``database_sql``: statements that give a new
    database the properties which its own dump lacks (PostgreSQL: comment, owner, ACL, settings), with the
    database's name as ``{database}`` placeholders resolved by the engine. ``run`` names the run that made it, the same
    for all backups of one slot of the schedule or one request: what tells which globals belong to which databases.
    ``streams``: how many streams of the server the dump was made of, all from one snapshot. ``codec``: what the file is
    compressed with.
    """

    id: str
    instance: str
    database: str
    engine: EngineKind
    type: BackupType
    hostname: str
    started_at: datetime
    taken_at: datetime
    server_version: str
    tool: str
    compression_level: int
    properties: dict[str, str] = field(default_factory=dict)
    database_sql: tuple[str, ...] = ()
    product_version: str = "2.0.0"
    run: str = ""
    streams: int = 1
    codec: FileCodec = FileCodec.GZIP


@dataclass(frozen=True, slots=True)
class Extent:
    """Where one object's run of one section lies in the file; in very large files, several of its runs.

    ``offset`` and ``size`` are compressed bytes from the start of the file; ``raw_size`` is dump text. ``rows`` is None
    where nobody counted. ``span`` are the bytes from ``offset`` to the end of the last run where others' segments lie
    between the runs; None where the ``size`` bytes from ``offset`` on are this object's alone.
    """

    section: Section
    name: str
    offset: int
    size: int
    raw_size: int
    rows: int | None = None
    segments: int = 1
    span: int | None = None

    @property
    def end(self) -> int:
        """Where the last of its bytes has been, counted from the start of the file."""
        return self.offset + (self.size if self.span is None else self.span)


@dataclass(frozen=True, slots=True)
class SchemaInfo:
    """Counts of objects, and the digest of everything that DDL can change (None where not wanted)."""

    tables_count: int = 0
    views_count: int = 0
    procedures_count: int = 0
    schema_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A backup that nothing may delete. ``until`` (UTC) None: for good."""

    note: str
    by: str
    at: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a published backup. ``checksum`` is hex over the whole file, by ``checksum_algorithm``."""

    facts: BackupFacts
    filename: str
    size_bytes: int
    raw_size_bytes: int
    members: int
    checksum_algorithm: str
    checksum: str
    duration_seconds: float
    finished_at: datetime
    schema_info: SchemaInfo = field(default_factory=SchemaInfo)
    extents: tuple[Extent, ...] = ()
    warnings: tuple[str, ...] = ()
    proof: Proof = Proof.COMPLETE
    verified_at: datetime | None = None
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A manifest and where it lies: the row of the catalog. ``path`` is of the data file, relative to the base path."""

    manifest: Manifest
    path: str

    @property
    def id(self) -> str:
        """The backup's id, the same in file, manifest and catalog."""
        return self.manifest.facts.id

    @property
    def outline(self) -> Outline:
        """What retention needs to know of it."""
        facts, manifest = self.manifest.facts, self.manifest
        return Outline(
            id=facts.id,
            path=self.path,
            hostname=facts.hostname,
            instance=facts.instance,
            database=facts.database,
            type=facts.type,
            taken_at=facts.taken_at,
            size_bytes=manifest.size_bytes,
            complete=manifest.proof is not Proof.NONE,
            hold=manifest.hold,
            run=facts.run,
        )


class Outline(NamedTuple):
    """What retention needs to know of a backup: light enough to look at a hundred thousand of them at once.

    ``complete``: it was published whole. ``run`` as in ``BackupFacts``; empty where nobody wrote it down.
    """

    id: str
    path: str
    hostname: str
    instance: str
    database: str
    type: BackupType
    taken_at: datetime
    size_bytes: int
    complete: bool = True
    hold: Hold | None = None
    run: str = ""
