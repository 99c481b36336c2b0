"""Compressors: libraries that write deflate, from fast to small, and one that writes zstd.

``LADDER`` orders those of deflate by speed. The figures that decided which rungs are worth having are in ``docs/compression.md``.
"""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass
from typing import Any, Protocol

import deflate as libdeflate
import zstandard
from isal import isal_zlib
from zlib_ng import zlib_ng

from vya_backupd.dumpfile.framing import Deflated
from vya_backupd.dumpfile.segment import RawSegment

__all__ = ["LADDER", "WINDOW", "Codec", "Deflated", "Library", "deflate", "deflated_size"]

WINDOW = 32 << 10
"""Bytes that deflate looks back."""
_RAW = -15
_MEMORY = 9


class Library(enum.StrEnum):
    """Who compresses."""

    ISAL = "isal"
    ZLIB_NG = "zlib-ng"
    LIBDEFLATE = "libdeflate"
    ZLIB = "zlib"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class Codec:
    """A library and its own level."""

    library: Library
    level: int

    def __str__(self) -> str:
        return f"{self.library.value} {self.level}"


HUFFMAN = Codec(Library.ZLIB_NG, 1)
"""zlib-ng that is told not to look for repetitions. Where there are none, as in hex digits, it is as fast as the fastest
rung, and its files are a twentieth smaller."""
LADDER: dict[Codec, float] = {
    HUFFMAN: 2.1,
    Codec(Library.ISAL, 1): 2.2,
    Codec(Library.ISAL, 2): 2.4,
    Codec(Library.ISAL, 3): 3.9,
    Codec(Library.LIBDEFLATE, 2): 7.0,
    Codec(Library.LIBDEFLATE, 4): 8.3,
    Codec(Library.LIBDEFLATE, 5): 9.8,
    Codec(Library.LIBDEFLATE, 6): 12.5,
    Codec(Library.LIBDEFLATE, 7): 18.0,
    Codec(Library.LIBDEFLATE, 8): 32.0,
    Codec(Library.LIBDEFLATE, 9): 45.0,
}
"""Fastest first, with what each costs beside the others: milliseconds for a megabyte of common text on one core. The
first is for text without repetitions alone, where it costs as much as the second does there."""


def deflate(segment: RawSegment, codec: Codec) -> Deflated:
    """Compress a segment as one stream or frame of its own. Releases the GIL for most of the time."""
    if codec.library is Library.ZSTD:
        machine = zstandard.ZstdCompressor(level=codec.level, write_checksum=True, write_content_size=True)
        return Deflated(machine.compress(_joined(segment)))
    if codec.library is Library.LIBDEFLATE:
        text = _joined(segment)
        return Deflated(bytes(libdeflate.deflate_compress(text, codec.level)), isal_zlib.crc32(text, 0))
    squeeze, crc, pieces = _stream(codec), 0, []
    for part in segment.parts:
        crc = isal_zlib.crc32(part, crc)
        pieces.append(squeeze.compress(part))
    pieces.append(squeeze.flush())
    return Deflated(b"".join(pieces), crc)


def _joined(segment: RawSegment) -> bytes | memoryview:
    return segment.parts[0] if len(segment.parts) == 1 else b"".join(segment.parts)


def deflated_size(codec: Codec, data: bytes, before: bytes) -> int:
    """How many bytes ``data`` becomes in the midst of a stream, ``before`` being what precedes it there."""
    if codec.library is Library.LIBDEFLATE:
        both = libdeflate.deflate_compress(before + data, codec.level)
        return len(both) - len(libdeflate.deflate_compress(before, codec.level))
    squeeze = _stream(codec, before)
    return len(squeeze.compress(data)) + len(squeeze.flush())


_FACTORIES = {
    Library.ISAL: isal_zlib.compressobj,
    Library.ZLIB: zlib.compressobj,
    Library.ZLIB_NG: zlib_ng.compressobj,
}


class _Stream(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _stream(codec: Codec, before: bytes = b"") -> _Stream:
    factory: Any = _FACTORIES[codec.library]
    strategy = zlib.Z_HUFFMAN_ONLY if codec.library is Library.ZLIB_NG else zlib.Z_DEFAULT_STRATEGY
    terms = (codec.level, zlib.DEFLATED, _RAW, _MEMORY, strategy)
    stream: _Stream = factory(*terms, before) if before else factory(*terms)
    return stream
