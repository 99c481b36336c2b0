"""What a dump scanner is to the rest of the house: dump text in, segments out, and what was learnt on the way."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.model.backup import SchemaInfo

SEGMENT_SIZE = 2 * 1024 * 1024
"""Bytes of dump text that a segment aims at; see ``Scanner``."""


@runtime_checkable
class Scanner(Protocol):
    """Cuts one dump into segments.

    Feed the dump's bytes in order, in pieces of any size; a piece must not change afterwards, since segments refer to
    it instead of copying. ``feed`` and ``finish`` return the segments that became complete, in the order of the dump.
    A segment aims at the segment size and never exceeds twice that: what is longer and cannot be cut (a row, a
    statement) goes on in the next segment, and both say so. No segment is empty.

    One scanner serves one dump and one thread at a time.
    """

    @property
    def header_done(self) -> bool:
        """Whether the dump's preamble is behind us, so that the dump's snapshot is known to exist."""
        ...

    @property
    def end_marker_seen(self) -> bool:
        """Whether the tool's closing line was seen where it counts."""
        ...

    @property
    def tables(self) -> set[str]:
        """Tables whose definition or data are in the dump, named as ``DatabaseFacts.tables`` names them."""
        ...

    @property
    def summary(self) -> SchemaInfo:
        """Counts and the schema's digest, of what was seen so far; final after ``finish``."""
        ...

    def feed(self, chunk: bytes) -> list[RawSegment]:
        """Take the next piece of the dump.

        Raises:
            DumpError: the text is no whole dump of this kind (text after the end marker, an unreadable COPY).
        """
        ...

    def finish(self) -> list[RawSegment]:
        """Take the end of the dump.

        Raises:
            DumpError: code ``dump_incomplete``; no end marker, something behind it, or tokens that do not match.
        """
        ...
