"""A segment: whole lines of a dump, of one section of one object, that become one gzip member."""

from __future__ import annotations

from dataclasses import dataclass

from vya_backupd.model.backup import Section


@dataclass(slots=True)
class RawSegment:
    """A segment before compression, as a scanner hands it on.

    ``parts`` are slices in order; nobody joins them before the compressor. ``continues``: the unit (one row or
    statement larger than a segment) goes on in the next segment; ``continued``: it began in an earlier one. ``rows``
    is the number of rows that *end* in this segment, None where nobody counts.
    """

    section: Section
    object_name: str
    parts: list[bytes | memoryview]
    raw_size: int
    rows: int | None = None
    continues: bool = False
    continued: bool = False
