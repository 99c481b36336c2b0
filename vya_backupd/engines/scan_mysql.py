r"""The scanner for mysqldump and mariadb-dump.

These tools write one database object by object: a heading of comment lines, then the table's definition; another, then
its rows; its triggers without a heading; at the end events, routines and the real views. Where several runs share the work,
one writes all but the rows (triggers then follow the definition), the others rows alone. A heading counts only where a
statement may begin and the client's delimiter is ``;``: names in backquotes may hold anything, also line breaks, and
bodies of routines, triggers and events stand between ``DELIMITER ;;`` lines. What comes before a name in a heading
cannot be forged by the name, so headings say what follows; the name itself is read from the statement behind.

Rows come as INSERT statements. Values never hold a line break (the tool escapes them, whatever the server's
``sql_mode``), so behind the column list the first ``);`` at a line's end closes the statement. An INSERT is never
cut, unless it is larger than a segment may be. Only MariaDB (since 10.6) puts each row on a line of its own; there
rows are counted.

Sections: a table's definition is ``schema``, its rows ``data``, its triggers ``post``, all three under its name. A
MariaDB sequence has its definition in ``schema`` and its position in ``data``. Placeholders of views are ``schema``.

The name of the dumped database is left out where servers write it (``mysql_neutral``), so that a file restores under
any name, with this product or without.
"""

from __future__ import annotations

import re

from vya_backupd.engines.mysql_neutral import LOOKBEHIND, OwnName
from vya_backupd.engines.scan_lexer import Kind, MysqlLexer
from vya_backupd.engines.scan_segments import Digest
from vya_backupd.engines.scan_text import MAX_FOOTER, MAX_HEAD, NEWLINE, DumpScanner, count_lines, rare_find
from vya_backupd.engines.scanner import SEGMENT_SIZE
from vya_backupd.errors import DumpError
from vya_backupd.model.backup import Section

_IDENT = rb"`[^`]*(?:``[^`]*)*`"
_HEADING = re.compile(
    rb"--\n-- (?:(?P<table>Table structure for table )|(?P<placeholder>Temporary (?:table|view) structure for view )"
    rb"|(?P<rows>Dumping data for table )|(?P<sequence>Sequence structure for )"
    rb"|(?P<view>Final view structure for view )|Dumping (?P<code>\w+) for database )",
)
_NAMED = re.compile(
    rb"\n*(?:(?:/\*!\d+ )?(?:DROP|CREATE) (?:TABLE|VIEW|SEQUENCE)(?: IF (?:NOT )?EXISTS)?|CREATE TEMPORARY TABLE) "
    rb"(" + _IDENT + rb")",
)
_COLUMN = rb"(?:" + _IDENT + rb"|row_start|row_end)"
"""A column in an INSERT; those of system versioning come without quotes (``--dump-history``)."""
_INSERT = re.compile(
    rb"(?:INSERT|REPLACE) (?:\w+ )?INTO "
    + _IDENT
    + rb" (?:\("
    + _COLUMN
    + rb"(?:, ?"
    + _COLUMN
    + rb")*\) )?VALUES[ \n]",
)
_INSERT_START = re.compile(rb"(?:INSERT|REPLACE) (?:\w+ )?INTO ")
_INSERT_END = re.compile(rb"\);\n")
_SQL_MODE = re.compile(rb"/\*!\d+ SET sql_mode\s*=\s*([^*]*)\*/")
_HISTORY = b"/*M!101100 SET @old_system_versioning_insert_history="
"""Before the rows of a system-versioned table, which then may name the columns of its history."""
_HISTORY_AGAIN = b"/*M!101100 SET @@session.system_versioning_insert_history=1 */;\n"
_SETVAL = re.compile(rb"(?:DO|SELECT) SETVAL\(")
_TRIGGERS = b"/*!50003 SET @saved_"
_CREATE_TRIGGER = b"/*!50003 CREATE*/"
_END_OF_OBJECTS = b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE"
_MARKER = b"-- Dump completed"
_CLOSE = b"\n--\n"
"""What ends a heading."""
_MYSQL = re.compile(rb"-- MySQL dump [^\n]*Distrib (\d+)\.")
_DOLLAR_QUOTES_SINCE = 9
_BLANKS = re.compile(rb"[\x00-\x20]*")

_LOOKAHEAD = 1024
"""Bytes of a statement that decide what it is: a keyword or two, and a name of 64 characters, doubled and in UTF-8."""

_VOLATILE = rb"\sAUTO_INCREMENT=\d+"
_GROWING = rb"\s[A-Z_]*(?:=\d*)?\Z"


class MysqlScanner(DumpScanner):
    """Cuts the output of mysqldump or mariadb-dump of one database.

    Meant for ``--skip-add-locks --skip-disable-keys`` without ``--databases``. Objects: ``header``, tables, sequences
    and views by their names, ``events``, ``routines``, ``footer``. ``rows_only``: no definitions come before the rows
    (``--no-create-info``), so their headings say whose they are.
    """

    def __init__(
        self,
        segment_size: int = SEGMENT_SIZE,
        *,
        want_hash: bool = True,
        header_suffix: bytes = b"",
        database: str = "",
        appendix: bytes = b"",
        rows_only: bool = False,
    ) -> None:
        self._rows_only = rows_only
        self._sql = MysqlLexer()
        digest = Digest(wanted=want_hash, volatile=_VOLATILE, growing=_GROWING)
        super().__init__(self._sql, segment_size, digest, header_suffix)
        self._statement_start = True
        self._insert_head = b""
        self._reopening = b""
        self._in_values = False
        self._appendix = appendix
        self._own = OwnName(database) if database else None
        self._before = b""
        self._kind = ""
        self._name = ""

    # -- statements ---------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        if self._in_values:
            return self._values()
        if self._sql.in_code:
            if self._line_start and self._starts(b"DELIMITER "):
                return self._delimiter()
            if self._statement_start:
                return self._statement()
        return self._code()

    def _code(self) -> bool:
        if self._own is not None and self._kind in ("table", "view") and self._sql.in_code and self._starts(b"`"):
            if not self._has(_LOOKAHEAD):
                return False
            if own := self._own.qualifier(self._buffer, self._at, self._before):
                self._leave_out(self._at + own)
        start = self._at
        end, kind = self._lexer.span(self._buffer, start, final=self._final)
        self._take(end, kind)
        if kind is Kind.END:
            self._statement_start = True
            if self._sql.delimiter == b";" and self._out.filled >= self._out.target:
                self._out.full = True
        elif kind is not Kind.COMMENT and end > start:
            self._statement_start = False
        self._before = (self._before + self._buffer[max(start, end - LOOKBEHIND) : end])[-LOOKBEHIND:]
        return end > start

    def _statement(self) -> bool:
        """Look at what begins here."""
        blanks = _BLANKS.match(self._buffer, self._at)
        if blanks is not None and blanks.end() > self._at:
            # For the digest they are none of the schema: how many there are depends on whether rows were dumped.
            self._take(blanks.end(), Kind.COMMENT)
            return True
        if self._insert_head and self._starts(self._insert_head):
            return self._begin_insert(self._at + len(self._insert_head))
        if not self._has(_LOOKAHEAD):
            return False
        if self._sql.delimiter == b";":
            consumed = self._landmark()
            if consumed is not None:
                return consumed
        self._cut_if_full()
        self._note()
        return self._code()

    def _landmark(self) -> bool | None:
        """Handle what separates objects; None when this is none of it, False when it cannot be told yet."""
        if self._starts(b"--\n-- "):
            return self._heading()
        if self._starts(_MARKER):
            return self._end()
        if self._starts(_END_OF_OBJECTS):
            if self._appendix:
                self._begin(Section.POST, "views left out")
                self._out.insert(self._appendix)
                self._appendix = b""
            self._begin(Section.FOOTER, "footer")
            return None
        if self._kind == "rows" and _INSERT_START.match(self._buffer, self._at):
            return self._first_insert()
        if self._kind in ("table", "rows") and self._starts(_TRIGGERS):
            self._kind = "triggers"
            self._begin(Section.POST, self._name)
        elif self._kind == "sequence" and _SETVAL.match(self._buffer, self._at):
            self._begin(Section.DATA, self._name)
        return None

    def _note(self) -> None:
        """Learn from a statement that is then passed on as it is."""
        if (mode := _SQL_MODE.match(self._buffer, self._at)) is not None:
            self._sql.backslashes = b"NO_BACKSLASH_ESCAPES" not in mode.group(1)
            self._sql.ansi_quotes = b"ANSI_QUOTES" in mode.group(1)
        elif self._kind == "rows" and self._starts(_HISTORY):
            self._reopening = _HISTORY_AGAIN
        elif self._kind == "routines" and self._starts(b"CREATE "):
            self._counts["procedures"] += 1
        elif self._own is not None and self._kind == "triggers" and self._starts(_CREATE_TRIGGER):
            for start, end in self._own.in_trigger(self._buffer, self._at):
                self._take(start, Kind.CODE)
                self._leave_out(end)

    def _cut_if_full(self) -> None:
        if self._out.full:
            self._out.cut()

    def _delimiter(self) -> bool:
        """The client's own command. It takes the rest of its line and ends a statement that a comment left open."""
        end = self._buffer.find(b"\n", self._at) + 1
        if not end and not self._final:
            return False
        end = end or len(self._buffer)
        self._sql.delimiter = self._buffer[self._at + len(b"DELIMITER ") : end].strip() or b";"
        self._take(end, Kind.COMMENT)
        self._statement_start = True
        return True

    # -- objects ------------------------------------------------------------------------------------------------

    def _heading(self) -> bool | None:
        heading = _HEADING.match(self._buffer, self._at)
        if heading is None:
            return None
        # A line break in a name is followed by "-- " here, so the first bare "--" line closes the heading.
        close = self._buffer.find(_CLOSE, heading.end())
        if close < 0:
            if self._final or self._has(MAX_FOOTER):
                return None
            return False
        body = close + len(_CLOSE)
        if not self._final and len(self._buffer) - body < _LOOKAHEAD:
            return False
        self._begin_object(heading, body)
        self._take(body, Kind.COMMENT)
        return True

    def _begin_object(self, heading: re.Match[bytes], body: int) -> None:
        self._kind = heading.lastgroup or ""
        if self._kind == "rows":
            if self._rows_only:
                # The tool makes a comment of a name with line breaks by "-- " behind each of them.
                self._name = _unquoted(self._buffer[heading.end() : body - len(_CLOSE)].replace(b"\n-- ", b"\n"))
                self.tables.add(self._name)
            self._begin(Section.DATA, self._name, rows=0)
            return
        if self._kind == "code":
            self._kind = heading.group("code").decode("ascii", "replace")
            self._name = self._kind
            self._begin(Section.POST, self._name)
            return
        named = _NAMED.match(self._buffer, body)
        self._name = _unquoted(self._buffer[heading.end() : body - len(_CLOSE)] if named is None else named.group(1))
        self._begin(Section.POST if self._kind == "view" else Section.SCHEMA, self._name)
        if self._kind in ("table", "sequence"):
            self.tables.add(self._name)
        if self._kind in ("table", "view"):
            self._counts[self._kind + "s"] += 1

    def _begin(self, section: Section, name: str, rows: int | None = None) -> None:
        self._end_header()
        self._insert_head = self._reopening = b""
        self._cut_if_full()
        self._out.open(section, name, rows)

    def _read_header(self, header: bytes) -> None:
        version = _MYSQL.search(header)
        self._sql.dollars = version is not None and int(version.group(1)) >= _DOLLAR_QUOTES_SINCE

    def _end(self) -> bool:
        end = self._buffer.find(b"\n", self._at) + 1
        if not end:
            return False
        self._begin(Section.FOOTER, "footer")
        self._pass(end)
        self.end_marker_seen = True
        return True

    # -- rows ---------------------------------------------------------------------------------------------------

    def _first_insert(self) -> bool:
        insert = _INSERT.match(self._buffer, self._at)
        if insert is None:
            if self._final or self._has(MAX_HEAD):
                shown = self._buffer[self._at : self._at + 80].decode("utf-8", "backslashreplace")
                message = f"an INSERT statement of the dump cannot be read: {shown!r}"
                raise DumpError(message, retryable=False)
            return False
        self._insert_head = insert.group()
        return self._begin_insert(insert.end())

    def _begin_insert(self, values: int) -> bool:
        if self._out.full:
            self._out.cut()
            self._out.insert(self._reopening)
        self._pass(values)
        if self._buffer[values - 1] != NEWLINE:
            self._out.rows = None
        self._in_values = True
        return True

    def _values(self) -> bool:
        """Consume values up to the end of the statement, or as far as the buffer goes."""
        found = rare_find(self._buffer, b";", _INSERT_END, self._at)
        end = found + 3
        if found < 0:
            end = len(self._buffer)
            if not self._final:
                end -= 2 if self._buffer.endswith(b");") else 1 if self._buffer.endswith(b")") else 0
                if end <= self._at:
                    return False
        self._take_values(end)
        if found >= 0:
            self._in_values = False
            self._statement_start = True
            self._out.full = self._out.filled >= self._out.target
        return True

    def _take_values(self, end: int) -> None:
        out = self._out
        while self._at < end:
            if out.filled >= out.limit:
                out.cut(continues=True)
            stop = min(end, self._at + out.limit - out.filled)
            if out.rows is not None:
                out.rows += count_lines(self._buffer, self._at, stop)
            self._pass(stop)


def _unquoted(identifier: bytes) -> str:
    return identifier.strip()[1:-1].replace(b"``", b"`").decode("utf-8", "backslashreplace")
