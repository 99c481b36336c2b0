"""Compression of segments."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from isal import isal_zlib

from vya_backupd.dumpfile.segment import RawSegment


@dataclass(frozen=True, slots=True)
class Deflated:
    """A segment's raw deflate stream and the CRC-32 of what it holds."""

    data: bytes
    crc: int


def crc_of(segment: RawSegment) -> int:
    """CRC-32 over the parts of a segment."""
    crc = 0
    for part in segment.parts:
        crc = isal_zlib.crc32(part, crc)
    return crc


class CodecChooser:
    """Compresses segments of one dump at a level (1-9), each object with a library that suits it. Thread-safe."""

    def __init__(self, level: int) -> None:
        self.level = level

    def compress(self, segment: RawSegment) -> Deflated:
        """Compress one segment; releases the GIL."""
        squeeze = zlib.compressobj(self.level, zlib.DEFLATED, -15, 9)
        pieces = [squeeze.compress(part) for part in segment.parts]
        pieces.append(squeeze.flush())
        return Deflated(b"".join(pieces), crc_of(segment))
