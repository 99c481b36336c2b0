"""What all dump scanners share: the buffer, the walk through it, and the judgement on how the dump ended."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.engines.scan_lexer import Kind, Lexer
from vya_backupd.engines.scan_segments import Assembler, Digest
from vya_backupd.errors import DumpError
from vya_backupd.model.backup import SchemaInfo, Section

HASHED = frozenset({Section.SCHEMA, Section.POST})
MAX_FOOTER = 64 * 1024
"""Bytes that may follow the end marker. Tools write less than a hundred."""
MAX_HEAD = 1024 * 1024
"""Bytes within which the head of a statement (a COPY with 1,600 columns) must end."""
NEWLINE = 0x0A
_PIECE = 64 * 1024


class DumpScanner(ABC):
    """A walk through dump text. Subclasses say what is recognised on the way (``_step``)."""

    def __init__(self, lexer: Lexer, segment_size: int, digest: Digest, header_suffix: bytes) -> None:
        self.header_done = False
        self.end_marker_seen = False
        self.tables: set[str] = set()
        self._counts = {"tables": 0, "views": 0, "procedures": 0}
        self._lexer = lexer
        self._digest = digest
        self._out = Assembler(segment_size)
        self._header_suffix = header_suffix
        self._buffer = b""
        self._at = 0
        self._line_start = True
        self._hashed = False
        self._final = False
        self._footer = b""

    @property
    def summary(self) -> SchemaInfo:
        """Counts of objects, and the digest of the schema where one was wanted."""
        counts = self._counts
        return SchemaInfo(counts["tables"], counts["views"], counts["procedures"], self._digest.hexdigest())

    def feed(self, chunk: bytes) -> list[RawSegment]:
        """Take the next piece; see ``Scanner.feed``."""
        if chunk:
            rest = self._buffer[self._at :]
            self._buffer = rest + chunk if rest else bytes(chunk)
            self._at = 0
            self._out.load(self._buffer)
            self._walk()
        return self._out.drain()

    def finish(self) -> list[RawSegment]:
        """Take the end of the dump; see ``Scanner.finish``."""
        self._final = True
        self._walk()
        self._judge()
        self._out.cut()
        return self._out.drain()

    def _walk(self) -> None:
        while self._at < len(self._buffer):
            if not (self._take_footer() if self.end_marker_seen else self._step()):
                break

    @abstractmethod
    def _step(self) -> bool:
        """Consume something; False when more text is needed first."""

    def _judge(self) -> None:
        """Raise unless the dump ended as a whole dump does."""
        if not self.end_marker_seen:
            message = "the dump ends without the tool's end marker"
            raise DumpError(message, hint="The dump tool or the server stopped early; see the server's log and retry.")
        for line in self._footer.splitlines():
            if line.strip() and not self._closing_line(line):
                raise _text_after_end(line)

    def _closing_line(self, line: bytes) -> bool:
        """Whether this line may follow the end marker: blanks and comments."""
        return line.startswith(b"--")

    def _take(self, end: int, kind: Kind) -> None:
        """Consume up to ``end``."""
        if self._hashed and self._out.section in HASHED:
            text = memoryview(self._buffer)[self._at : end]
            if kind is Kind.QUOTED:
                self._digest.quoted(text)
            elif kind is not Kind.COMMENT:
                self._digest.code(text)
        self._pass(end)

    def _pass(self, end: int) -> None:
        """Consume up to ``end`` what no digest wants."""
        if end > self._at:
            self._out.advance(end)
            self._line_start = self._buffer[end - 1] == NEWLINE
            self._at = end

    def _leave_out(self, end: int) -> None:
        """Pass over what shall not be in the file."""
        self._out.skip(end)
        self._line_start = False
        self._at = end

    def _lex(self) -> bool:
        """Consume one span of code, quote or comment."""
        end, kind = self._lexer.span(self._buffer, self._at, final=self._final)
        moved = end > self._at
        self._take(end, kind)
        return moved

    def _end_header(self) -> None:
        """The first object begins, or the end is reached without one."""
        if not self.header_done:
            self.header_done = True
            self._hashed = True
            self._read_header(self._out.text())
            self._out.insert(self._header_suffix)

    @abstractmethod
    def _read_header(self, header: bytes) -> None:
        """Learn what the header says about the rest."""

    def _take_footer(self) -> bool:
        self._footer += self._buffer[self._at :]
        if len(self._footer) > MAX_FOOTER:
            raise _text_after_end(self._footer.strip()[:80])
        self._pass(len(self._buffer))
        return True

    def _starts(self, text: bytes) -> bool:
        return self._buffer.startswith(text, self._at)

    def _has(self, size: int) -> bool:
        """Whether so many bytes can be seen from here, or no more will come."""
        return self._final or len(self._buffer) - self._at >= size


def _text_after_end(line: bytes) -> DumpError:
    shown = line[:80].decode("utf-8", "backslashreplace")
    return DumpError(
        f"text follows the end marker of the dump: {shown!r}",
        hint="Something else wrote into the dump's stream; retry, and look for a wrapper around the dump tool.",
    )


def rare_find(buffer: bytes, rare: bytes, whole: re.Pattern[bytes], at: int) -> int:
    """Where ``whole`` first matches from ``at`` on; -1 if nowhere.

    Looks for the one byte ``rare``, which every match has as its second byte, at the speed of memory; text that is
    full of that byte is searched by the pattern instead.
    """
    start, tries = at, 0
    while (found := buffer.find(rare, start)) >= 0:
        if found > at and whole.match(buffer, found - 1):
            return found - 1
        start = found + 1
        tries += 1
        if tries > 16 and (start - at) < tries * 4096:
            match = whole.search(buffer, max(at, start - 1))
            return -1 if match is None else match.start()
    return -1


def count_lines(buffer: bytes, start: int, end: int) -> int:
    """How many lines end between ``start`` and ``end``.

    Where they are long, ``find`` is fastest. Elsewhere ``replace`` is: unlike ``count`` it looks at many bytes at once;
    in pieces that need no new memory each time.
    """
    lines, at = 0, start
    while (found := buffer.find(b"\n", at, end)) >= 0:
        lines += 1
        at = found + 1
        if lines % 32 == 0 and at - start < lines * 1024:
            pieces = (buffer[each : min(each + _PIECE, end)] for each in range(at, end, _PIECE))
            return lines + sum(len(piece) - len(piece.replace(b"\n", b"")) for piece in pieces)
    return lines
