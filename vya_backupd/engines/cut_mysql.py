"""Takes the keys out of a CREATE TABLE that can as well be made after the rows, and turns them into ALTER TABLE.

A secondary key that is there while rows arrive is filled in the order of the rows, page by page at random; made
afterwards it is sorted once and written once. So a large table is created with its primary key alone, and gets
the others in one statement when its rows are in. The text is the server's own (SHOW CREATE TABLE, as the dump tools
quote it), in which every definition stands on its own; what is not known word for word stays where it is.

Both servers sort keys by kind (unique ones first, full-text ones last) and otherwise keep the order in which they came,
in a CREATE as in an ALTER. So only the *last* keys of a table are taken, and the table looks the same in the end, to
the letter.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_IDENT = rb"`[^`]*(?:``[^`]*)*`"
_STRING = rb"'(?:[^'\\]|\\.|'')*'"
_HEADING = re.compile(rb"\n*--\n-- Table structure for table ")
_HEADING_END = b"\n--\n"
_OPENING = re.compile(
    rb"\n*DROP TABLE IF EXISTS "
    + _IDENT
    + rb";\n(?:/\*!\d+ SET [^\n]*;\n)*CREATE TABLE (?P<table>"
    + _IDENT
    + rb") \(",
)
_TOKEN = re.compile(
    rb"(?P<quoted>" + _IDENT + rb"|" + _STRING + rb"|\"(?:[^\"\\]|\\.|\"\")*\")"
    rb"|(?P<comment>/\*(?:[^*]|\*(?!/))*\*/)|(?P<mark>[(),])|[^`'\"(),/]+|/",
    re.DOTALL,
)
_OPTIONS = re.compile(rb"\)(?: /\*!\d+ [^*]*\*/)* ENGINE=InnoDB\b")
_WHOLE = re.compile(rb"SYSTEM VERSIONING|KEY_BLOCK_SIZE|PERIOD FOR|FTS_DOC_ID|_ENGINE(?:_ATTRIBUTE)?=")
"""Words of tables that stay as they are: keys of theirs have rules of their own."""
_COLUMN = _IDENT + rb"(?:\(\d+\))?(?: ASC| DESC)?"
_KEY = re.compile(
    rb"\s*(?P<kind>UNIQUE |FULLTEXT |SPATIAL )?KEY "
    + _IDENT
    + rb" \((?P<first>"
    + _IDENT
    + rb")(?:\(\d+\))?(?: ASC| DESC)?"
    rb"(?:, ?" + _COLUMN + rb")*\)"
    rb"(?: USING BTREE| COMMENT "
    + _STRING
    + rb"| IGNORED| /\*!80000 INVISIBLE \*/| /\*!50100 WITH PARSER "
    + _IDENT
    + rb" \*/)*\s*",
    re.DOTALL,
)
_ANY_KEY = re.compile(rb"\s*(?:\w+ )?KEY ")
_PRIMARY = re.compile(rb"\s*PRIMARY KEY \((?P<first>" + _IDENT + rb")")
_FOREIGN = re.compile(
    rb"\s*CONSTRAINT "
    + _IDENT
    + rb" FOREIGN KEY \([^()]*\) REFERENCES (?P<far>"
    + _IDENT
    + rb"(?:\."
    + _IDENT
    + rb")?) \(",
)
_COUNTED = re.compile(rb"\s*(?P<column>" + _IDENT + rb") .*AUTO_INCREMENT", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Thinned:
    """A table in steps, as statements without a closing semicolon.

    ``text`` creates it, ``keys`` are run when its rows are in, in this order, ``foreign`` when all tables have keys.
    """

    text: bytes
    keys: tuple[bytes, ...]
    foreign: bytes | None


@dataclass(frozen=True, slots=True)
class TableText:
    """A segment that creates one table, taken to pieces. Names are quoted, as the dump has them.

    ``items`` are the definitions between the parentheses. ``late`` and ``foreign`` are the numbers of those that can
    be made later; ``references`` the tables that foreign keys name, also those that cannot.
    """

    name: bytes
    before: bytes
    items: tuple[bytes, ...]
    after: bytes
    late: frozenset[int]
    foreign: frozenset[int]
    references: frozenset[bytes]

    def thinned(self, *, keys: bool = True) -> Thinned:
        """The table with what can be made later taken out; ``keys`` False: its foreign keys alone."""
        late = self.late if keys else frozenset()
        gone = late | self.foreign
        kept = b",".join(item for number, item in enumerate(self.items) if number not in gone)
        added = [self.items[number].strip() for number in sorted(late)]
        # A server makes one full-text key at a time without copying the table.
        texts = [key for key in added if key.startswith(b"FULLTEXT")]
        steps = [[key for key in added if key not in texts] + texts[:1], *([key] for key in texts[1:])]
        foreign = [self.items[number].strip() for number in sorted(self.foreign)]
        return Thinned(
            self.before + kept + self._closing(gone) + self.after,
            tuple(self._alter(step) for step in steps if step),
            self._alter(foreign) if foreign else None,
        )

    def _closing(self, gone: Collection[int]) -> bytes:
        """The line break in front of the closing parenthesis, where it went away with the last definition."""
        last = len(self.items) - 1
        return b"\n" if last in gone and self.items[last].endswith(b"\n") else b""

    def _alter(self, items: Sequence[bytes]) -> bytes:
        return b"ALTER TABLE " + self.name + b"\n  ADD " + b",\n  ADD ".join(items)


def unquoted(name: bytes) -> str:
    """A quoted name as scanners give it."""
    return name[1:-1].replace(b"``", b"`").decode("utf-8", "backslashreplace")


def folded(name: bytes) -> str:
    """A table's name for comparison: servers that ignore case spell references as they like."""
    return unquoted(name).casefold()


def table_text(segment: bytes) -> TableText | None:
    """Take a ``schema`` segment to pieces; None when it is none that creates one InnoDB table.

    A table that has rules of its own has nothing that could be made later.
    """
    heading = _HEADING.match(segment)
    body = -1 if heading is None else segment.find(_HEADING_END, heading.end())
    opening = _OPENING.match(segment, body + len(_HEADING_END)) if body >= 0 else None
    if opening is None:
        return None
    items, end = _items(segment, opening.end())
    before, after = segment[: opening.end()], segment[end:]
    if not _OPTIONS.match(after):
        return None
    foreign = {number: found for number, item in enumerate(items) if (found := _FOREIGN.match(item))}
    references = frozenset(found["far"] for found in foreign.values())
    late = _late(items, is_partitioned=b"PARTITION BY" in after)
    if _WHOLE.search(after) or any(_WHOLE.search(item) for item in items):
        late, foreign = [], {}
    return TableText(opening["table"], before, tuple(items), after, frozenset(late), frozenset(foreign), references)


def _items(text: bytes, at: int) -> tuple[list[bytes], int]:
    """The definitions from ``at`` on, and where the parenthesis closes; no end when none does."""
    items, begun, depth = [], at, 0
    while (token := _TOKEN.match(text, at)) is not None:
        at = token.end()
        mark = token["mark"]
        if mark == b"(":
            depth += 1
        elif mark == b")" and depth:
            depth -= 1
        elif mark and not depth:
            items.append(text[begun : at - 1])
            begun = at
            if mark == b")":
                return items, at - 1
    return [], len(text)


def _late(items: Sequence[bytes], *, is_partitioned: bool) -> list[int]:
    """The numbers of the keys that can be made later: the last ones, from the first of which on all can."""
    keys = [number for number, item in enumerate(items) if _ANY_KEY.match(item) and not _PRIMARY.match(item)]
    primary = next((found for item in items if (found := _PRIMARY.match(item))), None)
    if primary is None and is_partitioned:
        return []
    counted = {found["column"] for item in items if (found := _COUNTED.match(item))}
    needed = counted - ({primary["first"]} if primary else set())
    late: list[int] = []
    for number in reversed(keys):
        found = _KEY.fullmatch(items[number])
        # Without a primary key the server orders the rows by a unique one.
        if found is None or found["first"] in needed or (primary is None and found["kind"] == b"UNIQUE "):
            break
        late.insert(0, number)
    return late
