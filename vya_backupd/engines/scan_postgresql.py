r"""The scanner for pg_dump's and pg_dumpall's plain text.

pg_dump writes one entry per object, each under a heading of three comment lines. Outside of COPY blocks the text is
lexed, so a heading is one only where code could stand: function bodies, comments on objects and identifiers are quoted
and cannot fake one, and rows of a COPY block are looked at for nothing but its terminator, the line ``\.``, which
COPY's text format never lets a row be.

The names in headings are made harmless by pg_dump and therefore ambiguous (a table may be called ``x; Type: INDEX``).
So headings only say where an entry begins; what it is, and of which table, is read from its first statement.

Order of a dump: header, schema, data, post, footer. Data are COPY blocks, sequence positions and large objects; the
first other entry after them begins ``post``. Schema and post are cut at headings, since the body of a SQL function may
hold semicolons that end nothing. Large objects are one unit from the first to the last, because each is created,
described and filled by separate entries.
"""

from __future__ import annotations

import re
from collections import Counter

from vya_backupd.engines.scan_encoding import python_codec
from vya_backupd.engines.scan_lexer import Kind, PostgresqlLexer
from vya_backupd.engines.scan_segments import Digest
from vya_backupd.engines.scan_text import MAX_HEAD, DumpScanner, count_lines, rare_find
from vya_backupd.engines.scanner import SEGMENT_SIZE
from vya_backupd.errors import DumpError
from vya_backupd.model.backup import Section

_LOOKAHEAD = 512
"""Bytes of an entry's first statement that decide what it is: enough for ``CREATE TABLE`` and two quoted names."""

_IDENT = rb'(?:"[^"]*(?:""[^"]*)*"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
_NAME = _IDENT + rb"(?:\." + _IDENT + rb")?"
_HEADING = re.compile(
    rb"--\n-- (?:Data for |Statistics for )?Name: [^\n]*\n--\n\n*(?:-- load via partition root " + _NAME + rb"\n\n*)?"
)
"""With the remark that pg_dump makes above rows which go into the root of their partitions."""
_COPY = re.compile(rb"COPY (" + _NAME + rb") (?:\(" + _IDENT + rb"(?:, " + _IDENT + rb")*\))? FROM stdin;\n")
_TABLE = re.compile(rb"CREATE (?:UNLOGGED |FOREIGN )?TABLE (" + _NAME + rb")")
_VIEW = re.compile(rb"CREATE (?:MATERIALIZED )?VIEW ")
_ROUTINE = re.compile(rb"CREATE (?:FUNCTION|PROCEDURE|AGGREGATE) ")
_SEQUENCE_SET = b"SELECT pg_catalog.setval("
_LARGE_OBJECT_DATA = re.compile(rb"(?:BEGIN;\n\n)?SELECT pg_catalog\.lo_open\(")
_LARGE_OBJECT = re.compile(
    rb"SELECT pg_catalog\.lo_create\(|(?:COMMENT ON|ALTER) LARGE OBJECT |SECURITY LABEL (?:FOR \S+ )?ON LARGE OBJECT ",
)
_POST = re.compile(
    rb"CREATE (?:(?:UNIQUE )?INDEX|(?:CONSTRAINT )?TRIGGER|RULE|POLICY|EVENT TRIGGER|PUBLICATION|SUBSCRIPTION"
    rb"|STATISTICS) |ALTER (?:DEFAULT PRIVILEGES|INDEX|PUBLICATION) |REFRESH MATERIALIZED |GRANT |REVOKE ",
)
_ROW_END = re.compile(rb"\n\\\.\n")
_RESTRICT = re.compile(rb"\\(un)?restrict (\S+)\s*\Z")

SEQUENCES = "sequences"
LARGE_OBJECTS = "large objects"


class PostgresqlScanner(DumpScanner):
    """Cuts the output of ``pg_dump --format=plain`` (without ``--inserts``, ``--create`` and ``--clean``).

    Objects: ``header``, ``schema``, each table as ``schema.table``, ``sequences``, ``large objects``, ``post``,
    ``footer``. ``header_suffix`` is added at the end of the header.
    """

    _marker = b"--\n-- PostgreSQL database dump complete\n--\n"

    def __init__(
        self,
        segment_size: int = SEGMENT_SIZE,
        *,
        want_hash: bool = True,
        header_suffix: bytes = b"",
    ) -> None:
        self._sql = PostgresqlLexer()
        super().__init__(self._sql, segment_size, Digest(wanted=want_hash), header_suffix)
        self.blocks: Counter[str] = Counter()
        """How many COPY blocks each table had so far, the one under way included."""
        self._copy_line: bytes | None = None
        self._token: bytes | None = None
        self._token_matched = False
        self._codec = "utf-8"

    # -- code ---------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        if self._copy_line is not None:
            return self._rows()
        if self._line_start and self._sql.in_code:
            if self._starts(b"\\"):
                return self._backslash()
            if self._buffer[self._at] == ord("-"):
                consumed = self._heading()
                if consumed is not None:
                    return consumed
        return self._lex()

    def _heading(self) -> bool | None:
        """Begin an entry, or the footer. None: this is no heading; False: it cannot be told yet."""
        if not self._starts(b"--\n"):
            return None if self._has(3) else False
        second_line = self._buffer.find(b"\n", self._at + 3)
        if second_line < 0 or (len(self._buffer) < second_line + 4 and not self._final):
            return None if self._final else False
        if self._starts(self._marker):
            return self._begin_footer()
        heading = self._match_heading()
        if heading is None:
            return None
        body = heading.end()
        if len(self._buffer) - body < _LOOKAHEAD and not self._final and not self._buffer.startswith(b"COPY ", body):
            return False
        return self._begin_entry(body)

    def _match_heading(self) -> re.Match[bytes] | None:
        return _HEADING.match(self._buffer, self._at)

    def _begin_footer(self) -> bool:
        self._end_header()
        self._out.open(Section.FOOTER, "footer")
        self._pass(self._at + len(self._marker))
        self.end_marker_seen = True
        return True

    def _begin_entry(self, body: int) -> bool:
        """Begin the entry whose first statement is at ``body``."""
        if self._buffer.startswith(b"COPY ", body):
            return self._begin_copy(body)
        self._end_header()
        self._hashed = True
        after_schema = self._out.section in (Section.DATA, Section.POST)
        if self._buffer.startswith(_SEQUENCE_SET, body):
            self._open(Section.DATA, SEQUENCES)
        elif _LARGE_OBJECT_DATA.match(self._buffer, body):
            self._open(Section.DATA, LARGE_OBJECTS)
        elif _LARGE_OBJECT.match(self._buffer, body):
            self._hashed = False
            self._open(*((Section.DATA, LARGE_OBJECTS) if after_schema else (Section.SCHEMA, "schema")))
        elif after_schema or _POST.match(self._buffer, body):
            self._open(Section.POST, "post")
        else:
            self._open(Section.SCHEMA, "schema")
        self._count(body)
        self._take(body, Kind.COMMENT)
        return True

    def _open(self, section: Section, name: str) -> None:
        if section is Section.DATA and self._out.section is Section.POST:
            section, name = Section.POST, "post"
        if self._out.filled >= self._out.target and (section, name) == (self._out.section, self._out.name):
            self._out.cut(continues=name == LARGE_OBJECTS)
        self._out.open(section, name)

    def _count(self, body: int) -> None:
        if (table := _TABLE.match(self._buffer, body)) is not None:
            self._counts["tables"] += 1
            self.tables.add(self._plain_name(table.group(1)))
        elif _VIEW.match(self._buffer, body):
            self._counts["views"] += 1
        elif _ROUTINE.match(self._buffer, body):
            self._counts["procedures"] += 1

    def _plain_name(self, name: bytes) -> str:
        parts = re.findall(_IDENT, name)
        plain = (part[1:-1].replace(b'""', b'"') if part.startswith(b'"') else part for part in parts)
        return b".".join(plain).decode(self._codec, "backslashreplace")

    def _read_header(self, header: bytes) -> None:
        self._sql.plain_escapes = b"\nSET standard_conforming_strings = off;" in header
        encoding = re.search(rb"\nSET client_encoding = '([^']*)';", header)
        self._codec = python_codec(encoding.group(1).decode("ascii", "replace") if encoding else "UTF8")

    # -- rows ---------------------------------------------------------------------------------------------------

    def _begin_copy(self, body: int) -> bool:
        copy = _COPY.match(self._buffer, body)
        if copy is None:
            if self._final or len(self._buffer) - body > MAX_HEAD:
                shown = self._buffer[body : body + 80].decode("utf-8", "backslashreplace")
                message = f"a COPY statement of the dump cannot be read: {shown!r}"
                raise DumpError(message, retryable=False)
            return False
        self._end_header()
        table = self._plain_name(copy.group(1))
        self.tables.add(table)
        self.blocks[table] += 1
        self._out.cut()
        self._out.open(Section.DATA, table, rows=0)
        self._pass(copy.end())
        self._copy_line = copy.group()
        return True

    def _rows(self) -> bool:
        r"""Consume rows, or the block's ``\.``."""
        buffer, size = self._buffer, len(self._buffer)
        if self._line_start:
            first = buffer[self._at : self._at + 3]
            if first == b"\\.\n":
                self._copy_line = None
                self._pass(self._at + 3)
                return True
            if b"\\.\n".startswith(first) and not self._final:
                return False
        end = rare_find(buffer, b"\\", _ROW_END, self._at) + 1
        if not end:
            end = size
            if not self._final and buffer.endswith((b"\n\\", b"\n\\.")):
                end = buffer.rindex(b"\n") + 1
        self._take_rows(end)
        return True

    def _take_rows(self, end: int) -> None:
        out, buffer = self._out, self._buffer
        while self._at < end:
            if out.full:
                self._split()
            stop = self._row_cut(end)
            out.rows = (out.rows or 0) + count_lines(buffer, self._at, stop)
            self._pass(stop)
            if out.filled >= out.limit and not self._line_start:
                out.cut(continues=True)
            else:
                out.full = out.filled >= out.target and self._line_start

    def _row_cut(self, end: int) -> int:
        """Where to stop: after the first row that reaches the target, at the limit if there is none, or at ``end``.

        The rule looks at nothing but the text, so that an unchanged table gives the same segments however the dump
        was read.
        """
        room = self._out.target - self._out.filled
        if end - self._at < room:
            return end
        limit = min(end, self._at + self._out.limit - self._out.filled)
        found = self._buffer.find(b"\n", self._at + max(0, room - 1), limit)
        return found + 1 if found >= 0 else limit

    def _split(self) -> None:
        """Close the COPY block and open it again, so that each segment stands alone."""
        if self._copy_line is not None:
            self._out.insert(b"\\.\n")
            self._out.cut()
            self._out.insert(self._copy_line)

    # -- psql's own lines ---------------------------------------------------------------------------------------

    def _backslash(self) -> bool:
        end = self._buffer.find(b"\n", self._at) + 1
        if not end:
            if not self._final:
                return False
            end = len(self._buffer)
        self._restrict(self._buffer[self._at : end])
        self._take(end, Kind.COMMENT)
        return True

    def _restrict(self, line: bytes) -> bool:
        found = _RESTRICT.match(line)
        if found is None:
            return False
        if found.group(1) is None:
            self._token = found.group(2)
            self._token_matched = False
        elif found.group(2) == self._token:
            self._token_matched = True
        else:
            raise DumpError("the dump's closing \\unrestrict does not match its \\restrict")
        return True

    def _closing_line(self, line: bytes) -> bool:
        return super()._closing_line(line) or self._restrict(line)

    def _judge(self) -> None:
        super()._judge()
        if self._token is not None and not self._token_matched:
            message = "the dump ends before the \\unrestrict that belongs to its \\restrict"
            raise DumpError(message, hint="The dump tool stopped early; retry.")


class PostgresqlGlobalsScanner(PostgresqlScanner):
    """Cuts the output of ``pg_dumpall --globals-only``: ``header``, one object ``globals``, ``footer``."""

    _marker = b"--\n-- PostgreSQL database cluster dump complete\n--\n"
    _headings = re.compile(rb"--\n-- (?!PostgreSQL database cluster dump\n)[^\n]*\n--\n\n*")

    def _match_heading(self) -> re.Match[bytes] | None:
        return self._headings.match(self._buffer, self._at)

    def _begin_entry(self, body: int) -> bool:
        self._end_header()
        self._open(Section.SCHEMA, "globals")
        self._take(body, Kind.COMMENT)
        return True
