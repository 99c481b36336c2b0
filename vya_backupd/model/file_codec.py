"""What a backup file is compressed with."""

from __future__ import annotations

import enum


class FileCodec(enum.StrEnum):
    """The codec of a whole file: a file is either gzip or zstd to other programs."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".gz" if self is FileCodec.GZIP else ".zst"
