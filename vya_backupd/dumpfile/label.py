"""Labels: what every member of a backup file says of itself, whatever it is compressed with.

A label lies where other programs skip it: in the extra field of a gzip member, or in a skippable frame before a zstd
frame (``dumpfile.framing``). It is a row of subfields, two id bytes and a length each. Ours begin with ``V``:

* ``VB``, the label, always first: how large the member is, so that a reader can hop to the next one, and what is in it;
* ``VN``: the name of the object, in the first member of each run of one object in one section;
* ``VF`` and ``VS``: a piece of the facts, or of the seal, as JSON, in members without a body.

What the row of members must look like is the writer's and the reader's business. The layout is described for strangers
in ``docs/format.md``.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Section

FORMAT_VERSION = 1

_LABEL = struct.Struct("<BBBBIIII")
_CRC_SIZE = 4
_MARK_SIZE = 4
LABEL_MARK = b"VB" + struct.pack("<H", _LABEL.size + _CRC_SIZE)
"""What every label begins with."""
LABEL_SIZE = _MARK_SIZE + _LABEL.size + _CRC_SIZE
"""Bytes of a label without further subfields."""
PAYLOAD_LIMIT = 60_000
"""Bytes of JSON that one member carries: the extra field of a gzip header ends at 65,535."""
LARGEST_PAYLOAD = 1 << 25
"""Bytes of JSON that all members of the facts, or of the seal, may carry together."""
_NAME_LIMIT = 12_000
"""Characters; four bytes each at most."""
LARGEST_SEGMENT = 1 << 26
"""Bytes of dump in one member, many times what a scanner puts into one: a reader makes room for no more than that,
whatever a label says."""
_SLACK = 4096
"""Bytes that compressing may add to a text, beside a sixteenth of it: the worst of the compressors stays far below."""

_CONTINUES, _CONTINUED, _ROWS_KNOWN = 1, 2, 4


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


def encode_subfields(kind: MemberKind, name: str | None, payload: bytes) -> bytes:
    """What follows a label: the name of an object, a piece of facts or seal."""
    fields: list[tuple[bytes, bytes]] = []
    if name is not None:
        fields.append((b"VN", name.encode("utf-8", "surrogateescape")))
    if payload:
        fields.append((b"VF" if kind is MemberKind.FACTS else b"VS", payload))
    return b"".join(part for key, data in fields for part in (key, struct.pack("<H", len(data)), data))


def encode_header(prefix: bytes, label: Label, member_size: int, more: bytes) -> bytes:
    """A member's whole header: ``prefix``, which is the framing's, then the label, then the subfields ``more``.

    ``member_size`` is written, not the label's own. The label's checksum covers all of it but itself.
    """
    fields = _LABEL.pack(
        FORMAT_VERSION,
        label.kind,
        label.section,
        _flags(label),
        label.object,
        label.raw_size,
        member_size,
        label.rows or 0,
    )
    before = b"".join((prefix, LABEL_MARK, fields))
    header_crc = struct.pack("<I", zlib.crc32(more, zlib.crc32(before)))
    return b"".join((before, header_crc, more))


def decode_header(header: bytes, prefix_size: int) -> MemberHeader:
    """Read a header of exactly these bytes, of which the first ``prefix_size`` are the framing's.

    Raises:
        IntegrityError: it is damaged, or is of a format that is not known here.
    """
    crc_at = prefix_size + _MARK_SIZE + _LABEL.size
    stored = int.from_bytes(header[crc_at : crc_at + _CRC_SIZE], "little")
    if zlib.crc32(header[crc_at + _CRC_SIZE :], zlib.crc32(header[:crc_at])) != stored:
        raise IntegrityError("the label's checksum is wrong")
    version, kind, section, flags, number, raw_size, member_size, rows = _LABEL.unpack_from(
        header, prefix_size + _MARK_SIZE
    )
    if version != FORMAT_VERSION:
        raise IntegrityError(f"format version {version} is unknown", hint="Use the release that wrote this file.")
    _refuse_impossible(len(header), raw_size, member_size)
    found = dict(_split(header[crc_at + _CRC_SIZE :]))
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
        len(header),
        None if name is None else name.decode("utf-8", "surrogateescape"),
        found.get(b"VF", b"") or found.get(b"VS", b""),
    )


def _refuse_impossible(header_size: int, raw_size: int, member_size: int) -> None:
    """Sizes that no writer of ours gives: a reader would hop on one spot for ever, or make room for a bomb."""
    most = header_size + raw_size + (raw_size >> 4) + _SLACK
    if raw_size > LARGEST_SEGMENT or not header_size <= member_size <= most:
        raise IntegrityError(f"the label says {raw_size} bytes of dump in a member of {member_size}, which cannot be")


def clip_name(name: str) -> str:
    """The name as a member holds it: no server's names come near the limit; one that does is cut, and shows it."""
    if len(name) <= _NAME_LIMIT:
        return name
    return name[:_NAME_LIMIT] + "…"


def _flags(label: Label) -> int:
    flags = _CONTINUES * label.continues | _CONTINUED * label.continued
    return flags if label.rows is None else flags | _ROWS_KNOWN


def _split(extra: bytes) -> Iterable[tuple[bytes, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        size = int.from_bytes(extra[at + 2 : at + 4], "little")
        yield extra[at : at + 2], extra[at + 4 : at + 4 + size]
        at += 4 + size
