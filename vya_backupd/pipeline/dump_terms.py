"""What a dump is told beforehand, what it reads from, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vya_backupd.dumpfile.foretold import Foretold
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.model.backup import BackupFacts, Extent, Manifest, SchemaInfo, Section
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.pipeline.throttle import Throttle

Watch = Callable[[int, int], None]
"""``watch(raw_bytes, file_bytes)``: how far it is; called from a thread, a few times per second."""


class Scanner(Protocol):
    """What the pump asks of an engine's scanner."""

    @property
    def header_done(self) -> bool:
        """The dump's header is over: the snapshot exists."""

    @property
    def tables(self) -> set[str]:
        """Tables that the dump holds."""

    @property
    def summary(self) -> SchemaInfo:
        """Counts and digest of the schema; final after ``finish``."""

    def feed(self, chunk: bytes) -> list[RawSegment]:
        """Take the next bytes; give back segments that are complete."""

    def finish(self) -> list[RawSegment]:
        """The rest. Raises ``DumpError`` when this was no whole dump."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One pipe of dump text. ``fd`` stays the caller's to close.

    ``sections``: what of it goes into the file; None: all. ``after_feed`` is called from the thread that reads the
    stream, each time after the scanner took something: to hand a client its next piece of work.
    """

    fd: int
    scanner: Scanner
    sections: frozenset[Section] | None = None
    after_feed: Callable[[], None] | None = None

    def kept(self, segments: list[RawSegment]) -> list[RawSegment]:
        """Of these segments, those that go into the file."""
        wanted = self.sections
        return segments if wanted is None else [segment for segment in segments if segment.section in wanted]


@dataclass(frozen=True, slots=True)
class DumpTerms:
    """What a dump is told beforehand.

    ``header`` is called once, from a thread, when the dump's header is complete: it stamps the snapshot's time.
    ``warnings`` is called at the end, for what the manifest shall say; ``now`` for the finishing time (UTC).
    ``codec`` is the one that ``header`` names; ``level`` is 1-9, ``algorithm`` sha256 or md5, ``stall_timeout`` seconds, ``expected_size`` what the file will likely
    have in bytes, 0 where nobody knows. ``at_once``: how many streams are read at a time, beside the first one; the
    others wait in their pipes, in the order in which they were given. ``throttle`` holds all streams back together.
    ``foretold`` is what the last dump of the same database has learned.
    """

    header: Callable[[], BackupFacts]
    now: Callable[[], datetime]
    codec: FileCodec = FileCodec.GZIP
    level: int = 6
    expected_size: int = 0
    warnings: Callable[[], Sequence[str]] = tuple
    algorithm: str = "sha256"
    watch: Watch | None = None
    stall_timeout: float | None = None
    at_once: int = 64
    throttle: Throttle | None = None
    foretold: Foretold | None = None


@dataclass(frozen=True, slots=True)
class DumpResult:
    """A file that was written and sealed; everything that its manifest needs.

    ``learned``: what makes the next dump of the same database faster; None where nothing does.
    """

    facts: BackupFacts
    size: int
    raw_size: int
    members: int
    checksum_algorithm: str
    checksum: str
    extents: tuple[Extent, ...]
    rows: int | None
    tables: frozenset[str]
    schema_info: SchemaInfo
    finished_at: datetime
    duration_seconds: float
    warnings: tuple[str, ...]
    learned: Foretold | None = None

    def manifest(self, filename: str) -> Manifest:
        """The manifest of the file under the name that it will be published with."""
        return Manifest(
            facts=self.facts,
            filename=filename,
            size_bytes=self.size,
            raw_size_bytes=self.raw_size,
            members=self.members,
            checksum_algorithm=self.checksum_algorithm,
            checksum=self.checksum,
            duration_seconds=self.duration_seconds,
            finished_at=self.finished_at,
            schema_info=self.schema_info,
            extents=self.extents,
            warnings=self.warnings,
        )
