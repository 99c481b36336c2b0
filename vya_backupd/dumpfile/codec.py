"""Compressors: three libraries that write the same format, from fast to small.

``LADDER`` is ordered by speed. The figures that decided which rungs are worth having are in ``docs/compression.md``.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from isal import isal_zlib
from zlib_ng import zlib_ng

from vya_backupd.dumpfile.segment import RawSegment

WINDOW = 32 << 10
"""Bytes that deflate looks back."""
_RAW = -15
_MEMORY = 9


class Library(enum.StrEnum):
    """Who compresses."""

    ISAL = "isal"
    ZLIB_NG = "zlib-ng"
    ZLIB = "zlib"


@dataclass(frozen=True, slots=True)
class Codec:
    """A library and its own level."""

    library: Library
    level: int

    def __str__(self) -> str:
        return f"{self.library.value} {self.level}"


LADDER: tuple[Codec, ...] = (
    Codec(Library.ISAL, 1),
    Codec(Library.ISAL, 2),
    Codec(Library.ISAL, 3),
    Codec(Library.ZLIB_NG, 3),
    Codec(Library.ZLIB_NG, 4),
    Codec(Library.ZLIB_NG, 5),
    Codec(Library.ZLIB_NG, 6),
    Codec(Library.ZLIB_NG, 7),
    Codec(Library.ZLIB_NG, 9),
)
"""Fastest first. Behind the last comes zlib at the wanted level, which by definition is no larger than itself."""


class _Squeeze(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


_FACTORIES: dict[Library, Callable[..., Any]] = {
    Library.ISAL: isal_zlib.compressobj,
    Library.ZLIB_NG: zlib_ng.compressobj,
    Library.ZLIB: zlib.compressobj,
}


@dataclass(frozen=True, slots=True)
class Deflated:
    """A segment's raw deflate stream and the CRC-32 of what it holds."""

    data: bytes
    crc: int


def deflate(segment: RawSegment, codec: Codec) -> Deflated:
    """Compress a segment as one deflate stream of its own. Releases the GIL for most of the time."""
    squeeze, crc, pieces = _new(codec), 0, []
    for part in segment.parts:
        crc = isal_zlib.crc32(part, crc)
        pieces.append(squeeze.compress(part))
    pieces.append(squeeze.flush())
    return Deflated(b"".join(pieces), crc)


def deflated_size(codec: Codec, data: bytes, before: bytes) -> int:
    """How many bytes ``data`` becomes in the midst of a stream, ``before`` being what precedes it there."""
    squeeze = _new(codec, before)
    return len(squeeze.compress(data)) + len(squeeze.flush())


def _new(codec: Codec, before: bytes = b"") -> _Squeeze:
    factory = _FACTORIES[codec.library]
    squeeze: _Squeeze = (
        factory(codec.level, zlib.DEFLATED, _RAW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, before)
        if before
        else factory(codec.level, zlib.DEFLATED, _RAW, _MEMORY)
    )
    return squeeze
