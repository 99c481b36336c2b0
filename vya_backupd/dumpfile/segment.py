"""A segment of a dump and the gzip member that it becomes.

A backup file is a row of gzip members (RFC 1952), which every gzip reads as one stream. What makes it more than that
is in the *extra field* of each member (section 2.3.1.1 of the RFC): subfields, two id bytes and a length each, that
other programs skip. Ours begin with ``V``:

* ``VB``, the label, always first: how large the member is, so that a reader can hop to the next one, and what is in it;
* ``VN``: the name of the object, in the first member of each run of one object in one section;
* ``VF`` and ``VS``: a piece of the facts, or of the seal, as JSON, in members without a body.

This module turns labels into bytes and back, and knows one member at a time. What the row of members must look like is
the writer's and the reader's business. The layout is described for strangers in ``docs/format.md``.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Section

FORMAT_VERSION = 1

_FIXED_HEADER = bytes((0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 255))
"""Magic, deflate, FEXTRA alone, no time (equal segments shall give equal bytes), no hint, unknown system."""
_LABEL = struct.Struct("<BBBBIIII")
_LABEL_SIZE = _LABEL.size + 4
_LABEL_MARK = b"VB" + struct.pack("<H", _LABEL_SIZE)
_LABEL_AT = len(_FIXED_HEADER) + 6
_CRC_AT = _LABEL_AT + _LABEL.size
_TRAILER_SIZE = 8
_EMPTY_DEFLATE = b"\x03\x00"
EMPTY_BODY = _EMPTY_DEFLATE + bytes(_TRAILER_SIZE)
"""What follows the header of a member without a body."""
SMALLEST_HEADER = _CRC_AT + 4
"""Bytes of a header with a label and nothing else; as much as a reader needs to know the rest's size."""
PAYLOAD_LIMIT = 60_000
"""Bytes of JSON that one member carries: an extra field ends at 65,535."""
_NAME_LIMIT = 12_000
"""Characters; four bytes each at most."""
LARGEST_SEGMENT = 1 << 30

_CONTINUES, _CONTINUED, _ROWS_KNOWN = 1, 2, 4


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


class MemberKind(enum.IntEnum):
    """What a member is for. Only segments have a body. The numbers are written into files."""

    SEGMENT = 0
    FACTS = 1
    SEAL = 2


@dataclass(frozen=True, slots=True)
class Label:
    """What a member says of itself.

    ``object`` numbers the distinct names of the file from 0 in order of appearance. ``raw_size`` is bytes of dump,
    ``member_size`` bytes in the file, header and trailer included. Facts and seals that need several members set
    ``continues`` on all but the last and ``continued`` on all but the first.
    """

    section: Section
    object: int
    raw_size: int
    member_size: int
    rows: int | None = None
    continues: bool = False
    continued: bool = False
    kind: MemberKind = MemberKind.SEGMENT


@dataclass(frozen=True, slots=True)
class MemberHeader:
    """A parsed header: the label, the header's size in bytes, and the subfields that follow the label."""

    label: Label
    size: int
    name: str | None = None
    payload: bytes = b""


def encode_member(deflated: bytes, crc: int, label: Label, *, name: str | None = None, payload: bytes = b"") -> bytes:
    """One whole gzip member.

    ``deflated`` is a raw deflate stream of ``label.raw_size`` bytes whose CRC-32 is ``crc``. ``label.member_size`` is
    filled in here, whatever it was. ``name`` and ``payload`` become subfields.

    Raises:
        ValueError: a segment or payload is larger than the format holds.
    """
    if label.raw_size > LARGEST_SEGMENT or len(payload) > PAYLOAD_LIMIT:
        message = f"a member cannot hold {label.raw_size} bytes of dump with {len(payload)} of payload"
        raise ValueError(message)
    more = _subfields(label.kind, name, payload)
    size = SMALLEST_HEADER + len(more) + len(deflated) + _TRAILER_SIZE
    fields = _LABEL.pack(
        FORMAT_VERSION,
        label.kind,
        label.section,
        _flags(label),
        label.object,
        label.raw_size,
        size,
        label.rows or 0,
    )
    extra_size = struct.pack("<H", 4 + _LABEL_SIZE + len(more))
    before = b"".join((_FIXED_HEADER, extra_size, _LABEL_MARK, fields))
    header_crc = struct.pack("<I", zlib.crc32(more, zlib.crc32(before)))
    return b"".join((before, header_crc, more, deflated, struct.pack("<II", crc, label.raw_size)))


def encode_payload(kind: MemberKind, payload: bytes) -> Iterator[bytes]:
    """Members without a body that carry ``payload``, as many as it takes; each adds an empty deflate stream."""
    section = Section.HEADER if kind is MemberKind.FACTS else Section.FOOTER
    pieces = [payload[at : at + PAYLOAD_LIMIT] for at in range(0, len(payload), PAYLOAD_LIMIT)] or [b""]
    for number, piece in enumerate(pieces):
        label = Label(section, 0, 0, 0, None, number + 1 < len(pieces), number > 0, kind)
        yield encode_member(_EMPTY_DEFLATE, 0, label, payload=piece)


def looks_labelled(first: bytes) -> bool:
    """Whether a file that begins like this is, or once was, one of ours.

    Of the 14 bytes that are the same in each of our headers, two may be wrong: a damaged file of ours must not pass for
    somebody's plain SQL. Other programs' gzip headers agree in nine at most.
    """
    at = len(_FIXED_HEADER)
    fixed = first[:at] + first[at + 2 : _LABEL_AT]
    return sum(a == b for a, b in zip(fixed, _FIXED_HEADER + _LABEL_MARK, strict=False)) >= len(fixed) - 2 > at


def header_size(first: bytes) -> int | None:
    """How many bytes the header takes whose beginning this is; None if it is no header of ours.

    ``first`` should be ``SMALLEST_HEADER`` bytes or more.
    """
    at = len(_FIXED_HEADER)
    if len(first) < SMALLEST_HEADER or not first.startswith(_FIXED_HEADER) or first[at + 2 : _LABEL_AT] != _LABEL_MARK:
        return None
    return at + 2 + int.from_bytes(first[at : at + 2], "little")


def parse_header(header: bytes) -> MemberHeader:
    """Read a whole header (``header_size`` bytes; more is ignored).

    Raises:
        IntegrityError: it is not a header of ours, is damaged, or is of a format that is not known here.
    """
    size = header_size(header)
    if size is None or size > len(header) or size < SMALLEST_HEADER:
        raise IntegrityError("no label of a backup file where one should be")
    stored = int.from_bytes(header[_CRC_AT : _CRC_AT + 4], "little")
    if zlib.crc32(header[_CRC_AT + 4 : size], zlib.crc32(header[:_CRC_AT])) != stored:
        raise IntegrityError("the label's checksum is wrong")
    version, kind, section, flags, number, raw_size, member_size, rows = _LABEL.unpack_from(header, _LABEL_AT)
    if version != FORMAT_VERSION:
        raise IntegrityError(f"format version {version} is unknown", hint="Use the release that wrote this file.")
    found = dict(_split(header[SMALLEST_HEADER:size]))
    name = found.get(b"VN")
    try:
        label = Label(
            Section(section),
            number,
            raw_size,
            member_size,
            rows if flags & _ROWS_KNOWN else None,
            bool(flags & _CONTINUES),
            bool(flags & _CONTINUED),
            MemberKind(kind),
        )
    except ValueError as error:
        raise IntegrityError("the label names a section or kind that does not exist") from error
    return MemberHeader(
        label,
        size,
        None if name is None else name.decode("utf-8", "surrogateescape"),
        found.get(b"VF", b"") or found.get(b"VS", b""),
    )


def parse_label(first: bytes) -> Label | None:
    """The label at the beginning of ``first``; None where these bytes begin no labelled member (a foreign file).

    Raises:
        IntegrityError: there is a label, and it is damaged.
    """
    return None if header_size(first) is None else parse_header(first).label


def _flags(label: Label) -> int:
    flags = _CONTINUES * label.continues | _CONTINUED * label.continued
    return flags if label.rows is None else flags | _ROWS_KNOWN


def _subfields(kind: MemberKind, name: str | None, payload: bytes) -> bytes:
    fields: list[tuple[bytes, bytes]] = []
    if name is not None:
        fields.append((b"VN", name.encode("utf-8", "surrogateescape")))
    if payload:
        fields.append((b"VF" if kind is MemberKind.FACTS else b"VS", payload))
    return b"".join(part for key, data in fields for part in (key, struct.pack("<H", len(data)), data))


def clip_name(name: str) -> str:
    """The name as a member holds it: no server's names come near the limit; one that does is cut, and shows it."""
    if len(name) <= _NAME_LIMIT:
        return name
    return name[:_NAME_LIMIT] + "…"


def _split(extra: bytes) -> Iterable[tuple[bytes, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        size = int.from_bytes(extra[at + 2 : at + 4], "little")
        yield extra[at : at + 2], extra[at + 4 : at + 4 + size]
        at += 4 + size
