"""Where scanners put what they have read: segments under way, and the digest of the schema."""

from __future__ import annotations

import hashlib
import re

from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.model.backup import Section


class Assembler:
    """The segment under way.

    The scanner loads a buffer and advances through it; bytes advanced over belong to the open object. Neighbouring
    bytes of a buffer become one part, however small the steps were.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.limit = 2 * target
        self.section = Section.HEADER
        self.name = "header"
        self.filled = 0
        """Bytes of the dump in the segment under way. What was inserted does not count towards target and limit: a
        COPY line longer than a segment must leave room for a row."""
        self.rows: int | None = None
        self.full = False
        """Set by the scanner at a place where a cut is possible and the target is reached."""
        self._parts: list[bytes | memoryview] = []
        self._inserted = 0
        self._continued = False
        self._view = memoryview(b"")
        self._from = 0
        self._at = 0
        self._done: list[RawSegment] = []

    def load(self, buffer: bytes) -> None:
        """Go on with this buffer, from its start."""
        self._keep()
        self._view = memoryview(buffer)
        self._from = self._at = 0

    def advance(self, end: int) -> None:
        """Take the buffer's bytes up to ``end``; what grows beyond the limit becomes a continued unit."""
        while self.filled + end - self._at > self.limit:
            step = self.limit - self.filled
            self._at += step
            self.filled += step
            self.cut(continues=True)
        self.filled += end - self._at
        self._at = end

    def skip(self, end: int) -> None:
        """Leave the buffer's bytes up to ``end`` out."""
        self._keep()
        self._from = self._at = end

    def insert(self, text: bytes) -> None:
        """Add text that is not in the dump."""
        if text:
            self._keep()
            self._parts.append(text)
            self._inserted += len(text)

    def open(self, section: Section, name: str, rows: int | None = None) -> None:
        """Let what follows belong to this object; the one under way is finished if it is another."""
        if (section, name) != (self.section, self.name):
            self.cut()
        self.section, self.name = section, name
        self.rows = rows

    def cut(self, *, continues: bool = False) -> None:
        """Finish the segment under way, if it holds anything; the object stays open."""
        self._keep()
        if not self._parts:
            return
        self._done.append(
            RawSegment(
                self.section,
                self.name,
                self._parts,
                self.filled + self._inserted,
                self.rows,
                continues,
                self._continued,
            ),
        )
        self._parts = []
        self._continued = continues
        self.rows = self.rows if self.rows is None else 0
        self.filled = self._inserted = 0
        self.full = False

    def text(self) -> bytes:
        """A copy of the segment under way."""
        self._keep()
        return b"".join(self._parts)

    def drain(self) -> list[RawSegment]:
        """The segments finished since the last call."""
        done, self._done = self._done, []
        return done

    def _keep(self) -> None:
        if self._at > self._from:
            self._parts.append(self._view[self._from : self._at])
            self._from = self._at


class Digest:
    """Sha256 over the text that DDL can change.

    ``volatile`` matches what changes without DDL, in code outside of quotes; it begins with white space, and a match
    that is still growing at the end of a piece is matched by ``growing``.
    """

    def __init__(self, *, wanted: bool, volatile: bytes | None = None, growing: bytes = b"") -> None:
        self._sha = hashlib.sha256() if wanted else None
        self._volatile = None if volatile is None else re.compile(volatile)
        self._growing = re.compile(growing)
        self._rest = b""

    def code(self, text: bytes | memoryview) -> None:
        """Add code, from which the volatile is left out."""
        if self._sha is None:
            return
        if self._volatile is None:
            self._sha.update(text)
            return
        joined = self._rest + bytes(text)
        growing = self._growing.search(joined)
        keep = len(joined) if growing is None else growing.start()
        self._rest = joined[keep:]
        self._sha.update(self._volatile.sub(b"", joined[:keep]))

    def quoted(self, text: bytes | memoryview) -> None:
        """Add text as it is."""
        if self._sha is not None:
            self._settle()
            self._sha.update(text)

    def hexdigest(self) -> str | None:
        """The digest of all so far, None when none was wanted."""
        if self._sha is None:
            return None
        self._settle()
        return self._sha.hexdigest()

    def _settle(self) -> None:
        if self._rest and self._sha is not None and self._volatile is not None:
            self._sha.update(self._volatile.sub(b"", self._rest))
            self._rest = b""
