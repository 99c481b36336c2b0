"""The simplest scanner that cuts and proves: lines, tables begun by ``T name``, an end marked by ``END``."""

from __future__ import annotations

from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.errors import DumpError
from vya_backupd.model.backup import SchemaInfo, Section


class LineScanner:
    """Segments of at least ``size`` bytes, cut behind a line; a line that begins with ``T `` begins a table."""

    def __init__(self, size: int = 1 << 16) -> None:
        self.size = size
        self.header_done = False
        self.tables: set[str] = set()
        self.summary = SchemaInfo()
        self._rest = b""
        self._name = ""

    def feed(self, chunk: bytes) -> list[RawSegment]:
        self._rest += chunk
        found = []
        while len(self._rest) >= self.size and (cut := self._next_cut()):
            found.append(self._cut(cut))
        return found

    def finish(self) -> list[RawSegment]:
        if not self._rest.endswith(b"END\n"):
            raise DumpError("no end marker")
        self.summary = SchemaInfo(len(self.tables))
        return [self._cut(len(self._rest))]

    def _next_cut(self) -> int:
        table = self._rest.find(b"\nT ", 0, self.size)
        return (self._rest.rfind(b"\n", 0, self.size) if table < 0 else table) + 1

    def _cut(self, at: int) -> RawSegment:
        text, self._rest = self._rest[:at], self._rest[at:]
        self.header_done = True
        if text.startswith(b"T "):
            self._name = text[2 : text.index(b"\n")].decode()
            self.tables.add(self._name)
        half = at // 2
        parts: list[bytes | memoryview] = [text[:half], memoryview(text)[half:]]
        return RawSegment(Section.DATA, self._name, parts, at, rows=text.count(b"\n"))
