"""A segment of a dump, and the member of a file that it becomes.

A backup file is a row of members, which other programs read as one stream. This module knows one member at a time, of
whichever framing: its label, and where its header ends. What the row of members must look like is the writer's and the
reader's business. The layout is described for strangers in ``docs/format.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vya_backupd.dumpfile.framing import Framing
from vya_backupd.dumpfile.framing_gzip import GzipFraming
from vya_backupd.dumpfile.framing_zstd import ZstdFraming
from vya_backupd.dumpfile.label import (
    FORMAT_VERSION,
    LARGEST_PAYLOAD,
    LARGEST_SEGMENT,
    PAYLOAD_LIMIT,
    Label,
    MemberHeader,
    MemberKind,
    clip_name,
)
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Section
from vya_backupd.model.file_codec import FileCodec

__all__ = [
    "FORMAT_VERSION",
    "FRAMINGS",
    "LARGEST_PAYLOAD",
    "LARGEST_SEGMENT",
    "PAYLOAD_LIMIT",
    "SMALLEST_HEADER",
    "Label",
    "MemberHeader",
    "MemberKind",
    "RawSegment",
    "clip_name",
    "encode_payload",
    "framing_of",
    "header_size",
    "looks_labelled",
    "parse_header",
    "parse_label",
]

FRAMINGS: dict[FileCodec, Framing] = {framing.codec: framing for framing in (GzipFraming(), ZstdFraming())}
"""How the members of a file with this codec look."""
SMALLEST_HEADER = max(framing.smallest_header for framing in FRAMINGS.values())
"""Bytes to read at a member's place, to know how large its header is. No member is smaller than its own header."""


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


def encode_payload(framing: Framing, kind: MemberKind, payload: bytes) -> Iterator[bytes]:
    """Members without a body that carry ``payload``, as many as it takes."""
    section = Section.HEADER if kind is MemberKind.FACTS else Section.FOOTER
    pieces = [payload[at : at + PAYLOAD_LIMIT] for at in range(0, len(payload), PAYLOAD_LIMIT)] or [b""]
    for number, piece in enumerate(pieces):
        label = Label(section, 0, 0, 0, None, number + 1 < len(pieces), number > 0, kind)
        yield framing.encode(None, label, payload=piece)


def looks_labelled(first: bytes) -> bool:
    """Whether a file that begins with these ``SMALLEST_HEADER`` bytes is, or once was, one of ours."""
    return any(framing.looks_alike(first) for framing in FRAMINGS.values())


def framing_of(first: bytes) -> Framing | None:
    """The framing of the header whose beginning this is; None if it is no header of ours."""
    return next((framing for framing in FRAMINGS.values() if framing.header_size(first) is not None), None)


def header_size(first: bytes) -> int | None:
    """How many bytes the header takes whose beginning this is; None if it is no header of ours."""
    framing = framing_of(first)
    return None if framing is None else framing.header_size(first)


def parse_header(header: bytes) -> MemberHeader:
    """Read a whole header (``header_size`` bytes; more is ignored).

    Raises:
        IntegrityError: it is not a header of ours, is damaged, or is of a format that is not known here.
    """
    framing = framing_of(header)
    size = None if framing is None else framing.header_size(header)
    if framing is None or size is None:
        raise IntegrityError("no label of a backup file where one should be")
    return framing.parse(header, size)


def parse_label(first: bytes) -> Label | None:
    """The label at the beginning of ``first``; None where these bytes begin no labelled member (a foreign file).

    Raises:
        IntegrityError: there is a label, and it is damaged.
    """
    return None if header_size(first) is None else parse_header(first).label
