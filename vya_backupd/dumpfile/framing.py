"""Framings: how a member looks in bytes. One class for each codec that a file can have.

Every member is a header, which begins with bytes that are the framing's own and a size and then holds the label, and a
body, which the framing alone understands. All else that is known of files (labels, their order, facts, seals, digests)
is the same for every framing.
"""

from __future__ import annotations

import abc
import struct
from dataclasses import dataclass
from typing import ClassVar

from vya_backupd.dumpfile.label import (
    LABEL_MARK,
    LABEL_SIZE,
    LARGEST_SEGMENT,
    PAYLOAD_LIMIT,
    Label,
    MemberHeader,
    decode_header,
    encode_header,
    encode_subfields,
)
from vya_backupd.errors import IntegrityError
from vya_backupd.model.file_codec import FileCodec

_LARGEST_LABEL = (1 << 16) - 1
"""Bytes of a label with all its subfields: as many as the extra field of a gzip header holds."""
_MAY_BE_WRONG = 2


class BodyError(ValueError):
    """A body that cannot be read: what is wrong with it, in the words of whoever noticed."""


@dataclass(frozen=True, slots=True)
class Deflated:
    """A segment's compressed text: a raw deflate stream and the CRC-32 of what it holds, or a whole zstd frame."""

    data: bytes
    crc: int = 0


class Framing(abc.ABC):
    """What files of one codec have in common. Stateless; any thread may call anything."""

    codec: ClassVar[FileCodec]
    FIXED: ClassVar[bytes]
    """What every member begins with."""
    _SIZE: ClassVar[struct.Struct]
    """The size of the label that follows."""
    EMPTY: ClassVar[bytes]
    """What follows the header of a member without a body."""

    @property
    def prefix_size(self) -> int:
        """Bytes of a header before the label."""
        return len(self.FIXED) + self._SIZE.size

    @property
    def smallest_header(self) -> int:
        """Bytes of a header with a label and nothing else."""
        return self.prefix_size + LABEL_SIZE

    def encode(
        self, deflated: Deflated | None, label: Label, *, name: str | None = None, payload: bytes = b""
    ) -> bytes:
        """One whole member; ``deflated`` None: one without a body.

        ``label.member_size`` is filled in here, whatever it was. ``name`` and ``payload`` become subfields.

        Raises:
            ValueError: a segment or payload is larger than the format holds.
        """
        if label.raw_size > LARGEST_SEGMENT or len(payload) > PAYLOAD_LIMIT:
            message = f"a member cannot hold {label.raw_size} bytes of dump with {len(payload)} of payload"
            raise ValueError(message)
        more = encode_subfields(label.kind, name, payload)
        body = (self.EMPTY,) if deflated is None else self._body(deflated, label.raw_size)
        prefix = self.FIXED + self._SIZE.pack(LABEL_SIZE + len(more))
        size = self.smallest_header + len(more) + sum(map(len, body))
        return b"".join((encode_header(prefix, label, size, more), *body))

    def looks_alike(self, first: bytes) -> bool:
        """Whether a file that begins like this is, or once was, one of ours.

        Of the bytes that are the same in each of our headers, two may be wrong: a damaged file of ours must not pass
        for somebody's plain SQL. What other programs write agrees in fewer.
        """
        at = len(self.FIXED)
        wanted = self.FIXED + LABEL_MARK
        found = first[:at] + first[self.prefix_size : self.prefix_size + len(LABEL_MARK)]
        same = sum(a == b for a, b in zip(found, wanted, strict=False))
        return len(found) == len(wanted) and same >= len(wanted) - _MAY_BE_WRONG

    def header_size(self, first: bytes) -> int | None:
        """How many bytes the header takes whose beginning this is; None if it is no header of this framing."""
        at = self.prefix_size
        if not first.startswith(self.FIXED) or first[at : at + len(LABEL_MARK)] != LABEL_MARK:
            return None
        size: int = self._SIZE.unpack_from(first, len(self.FIXED))[0]
        return at + size if LABEL_SIZE <= size <= _LARGEST_LABEL else None

    def parse(self, header: bytes, size: int) -> MemberHeader:
        """Read a header of ``size`` bytes; more is ignored.

        Raises:
            IntegrityError: it is damaged, or is of a format that is not known here.
        """
        if size > len(header):
            raise IntegrityError("no label of a backup file where one should be")
        return decode_header(header[:size], self.prefix_size)

    @abc.abstractmethod
    def inflate(self, member: bytes, header_size: int, raw_size: int) -> bytes:
        """The text in a whole member: ``raw_size`` bytes, proven by the body's own checksum. Releases the GIL.

        Raises:
            BodyError: it is damaged.
        """

    @abc.abstractmethod
    def _body(self, deflated: Deflated, raw_size: int) -> tuple[bytes, ...]:
        """What follows the header, in pieces."""
