"""Frames of zstd (RFC 8878): the label is a skippable frame, the segment a frame of its own behind it.

A member without a body is a skippable frame alone. Every frame says how much it holds and ends with a checksum.
"""

from __future__ import annotations

import struct
import threading

import zstandard

from vya_backupd.dumpfile.framing import BodyError, Deflated, Framing
from vya_backupd.model.file_codec import FileCodec

_CONTEXTS = threading.local()


class ZstdFraming(Framing):
    """One segment is a skippable frame and a frame."""

    codec = FileCodec.ZSTD
    FIXED = struct.pack("<I", 0x184D2A56)
    """One of the sixteen magic numbers of skippable frames."""
    _SIZE = struct.Struct("<I")
    EMPTY = b""

    def inflate(self, member: bytes, header_size: int, raw_size: int) -> bytes:
        """See ``Framing``. What the frame says of its size is compared before anybody makes room for it."""
        frame = memoryview(member)[header_size:]
        try:
            said = zstandard.get_frame_parameters(frame)
            if said.content_size != raw_size or not said.has_checksum or said.dict_id:
                raise BodyError(f"{raw_size} bytes of dump and a checksum expected, the frame says otherwise")
            text: bytes = _decompressor().decompress(frame, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise BodyError(str(error)) from error
        return text

    def _body(self, deflated: Deflated, raw_size: int) -> tuple[bytes, ...]:  # noqa: ARG002 - the frame holds it
        return (deflated.data,)


def _decompressor() -> zstandard.ZstdDecompressor:
    """One for each thread: they must not be shared, and are dear to make."""
    made: zstandard.ZstdDecompressor | None = getattr(_CONTEXTS, "decompressor", None)
    if made is None:
        made = _CONTEXTS.decompressor = zstandard.ZstdDecompressor()
    return made
