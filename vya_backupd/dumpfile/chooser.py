"""Who chooses the compressor of each segment: samples, for gzip; the level alone, for zstd.

A level means about the same size of file in both: that of ``gzip -N``. The fastest levels of zstd come so near to it, or
below it, that choosing would cost more than it saves. What they make of all kinds of data is in ``docs/compression.md``.
"""

from __future__ import annotations

from typing import Protocol

from vya_backupd.dumpfile.codec import Codec, Library
from vya_backupd.dumpfile.codec_choice import CodecChooser
from vya_backupd.dumpfile.foretold import Foretold
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.model.file_codec import FileCodec

ZSTD_LEVELS = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 2, 7: 6, 8: 9, 9: 12}
"""zstd's own level for each of ours."""


class Chooser(Protocol):
    """Chooses for the segments of one file, in their order. Not thread-safe."""

    def choose(self, segment: RawSegment) -> Codec:
        """The compressor for the next segment."""

    def learned(self) -> Foretold | None:
        """What to tell the chooser of the next dump of the same database, after the last segment; None: nothing."""


class FixedChoice:
    """Always the same compressor."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def choose(self, _: RawSegment) -> Codec:
        """See ``Chooser``."""
        return self._codec

    def learned(self) -> None:
        """See ``Chooser``."""


def new_chooser(codec: FileCodec, level: int, expected: int = 0, foretold: Foretold | None = None) -> Chooser:
    """For a file of this codec at ``level`` (1-9); ``expected`` and ``foretold`` as in ``CodecChooser``."""
    if codec is FileCodec.ZSTD:
        return FixedChoice(Codec(Library.ZSTD, ZSTD_LEVELS[level]))
    return CodecChooser(level, expected, foretold)
