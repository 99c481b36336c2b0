"""Members of gzip (RFC 1952): the label is a subfield of the extra field (section 2.3.1.1)."""

from __future__ import annotations

import struct

from isal import igzip_lib

from vya_backupd.dumpfile.framing import BodyError, Deflated, Framing
from vya_backupd.model.file_codec import FileCodec

# The library's stubs call its exception class an instance.
_LIBRARY_ERRORS: tuple[type[Exception], ...] = (igzip_lib.error, EOFError, ValueError)  # type: ignore[assignment]
_EMPTY_DEFLATE = b"\x03\x00"


class GzipFraming(Framing):
    """One segment is one member."""

    codec = FileCodec.GZIP
    FIXED = bytes((0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 255))
    """Magic, deflate, FEXTRA alone, no time (equal segments shall give equal bytes), no hint, unknown system."""
    _SIZE = struct.Struct("<H")
    EMPTY = _EMPTY_DEFLATE + bytes(8)

    def inflate(self, member: bytes, header_size: int, raw_size: int) -> bytes:  # noqa: ARG002 - the library parses it
        """See ``Framing``. The library compares CRC-32 and length with the trailer; that nothing is left over, we do."""
        machine = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        try:
            text: bytes = machine.decompress(member, max_length=raw_size + 1)
            if not machine.eof and len(text) <= raw_size:
                text += machine.decompress(b"", max_length=raw_size + 1 - len(text))
        except _LIBRARY_ERRORS as error:
            raise BodyError(str(error)) from error
        if len(text) != raw_size or not machine.eof or machine.unused_data:
            raise BodyError(f"{raw_size} bytes of dump expected, {len(text)} found, or the member does not end")
        return text

    def _body(self, deflated: Deflated, raw_size: int) -> tuple[bytes, ...]:
        return deflated.data, struct.pack("<II", deflated.crc, raw_size)
