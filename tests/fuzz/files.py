"""Backup files of both codecs, and dumps that others wrote."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tests.dumpfile.samples import build, facts, reading
from tests.fuzz.target import Target, seeds_of
from vya_backupd.dumpfile.framing import Framing
from vya_backupd.dumpfile.framing_gzip import GzipFraming
from vya_backupd.dumpfile.framing_zstd import ZstdFraming
from vya_backupd.dumpfile.label import LABEL_MARK, LABEL_SIZE, MemberKind
from vya_backupd.dumpfile.manifest import decode_manifest, encode_manifest
from vya_backupd.dumpfile.reader import Walk, inflate, manifest_of, members
from vya_backupd.dumpfile.segment import looks_labelled
from vya_backupd.errors import IntegrityError
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.pipeline.files import FileSource
from vya_backupd.pipeline.foreign import foreign_text

_MEMBER_SIZE_AT = 4 + 12
"""Bytes from a label's mark to the size of its member."""
_CRC_AT = LABEL_SIZE - 4
_WORDS = (
    b"VN",
    b"VF",
    b"VS",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"Infinity",
    b"NaN",
    b"[" * 3000,
    b'":null',
    b"1e999",
    b"-1",
)


def _read(data: bytes) -> None:
    """Walk over the file, inflate everything; a file that is accepted has a manifest that says the same of it."""
    walk, text = Walk(), 0
    looks_labelled(data)
    try:
        for member in members(reading(data), len(data), walk):
            found = inflate(member, data[member.offset : member.offset + member.label.member_size])
            assert len(found) == (member.label.raw_size if member.label.kind is MemberKind.SEGMENT else 0)
            text += len(found)
        manifest = manifest_of(walk, "x.sql.gz", "0" * 64)
    except IntegrityError:
        return
    assert (manifest.size_bytes, manifest.raw_size_bytes) == (len(data), text)
    assert sum(extent.raw_size for extent in manifest.extents) == text
    assert decode_manifest(encode_manifest(manifest)) == manifest


def mended(data: bytes, framing: Framing) -> bytes:
    """The same file with sizes and checksums of its labels made right, so that what is behind them is reached."""
    mended_data, mark_at = bytearray(data), framing.prefix_size
    starts = []
    at = data.find(framing.FIXED)
    while at >= 0:
        if data[at + mark_at :].startswith(LABEL_MARK):
            starts.append(at)
        at = data.find(framing.FIXED, at + 1)
    for start, end in pairwise([*starts, len(data)]):
        size = framing.header_size(data[start : start + framing.smallest_header])
        if size is None or start + size > end:
            continue
        label = start + mark_at
        struct.pack_into("<I", mended_data, label + _MEMBER_SIZE_AT, end - start)
        before, rest = mended_data[start : label + _CRC_AT], mended_data[label + LABEL_SIZE : start + size]
        struct.pack_into("<I", mended_data, label + _CRC_AT, zlib.crc32(rest, zlib.crc32(before)))
    return bytes(mended_data)


def _target(framing: Framing, suffix: str) -> Target:
    def run(data: bytes) -> None:
        _read(data)
        _read(mended(data, framing))

    def seeds() -> Sequence[bytes]:
        return [build(known=facts(codec=framing.codec))[0], *seeds_of(f"*.{suffix}")]

    assert framing.codec in FileCodec
    return Target(f"file-{framing.codec}", run, seeds, _WORDS, examples=120)


def _foreign(data: bytes) -> None:
    fd = os.memfd_create("foreign")
    try:
        os.write(fd, data)
        for piece, offset in foreign_text(FileSource(fd, len(data), Path("/foreign"))):
            assert 0 < len(piece) <= 80 << 20
            assert 0 < offset <= len(data)
    except IntegrityError:
        pass
    finally:
        os.close(fd)


TARGETS = (
    _target(GzipFraming(), "gz"),
    _target(ZstdFraming(), "zst"),
    Target(
        "foreign",
        _foreign,
        lambda: seeds_of("*.gz", "*.zst", "*.sql"),
        (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\0" * 9),
    ),
)
