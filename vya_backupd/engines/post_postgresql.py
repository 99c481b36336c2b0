"""In which order the post section of a dump may run when several sessions share it.

The dump's own order is right for one session. What may leave its place here: indexes and keys, which need the rows of
their table (and those of all tables, where an expression could look at others), and foreign keys among themselves.
Everything else keeps its order, in one session at a time. So the section becomes *stages*: first what runs side by
side, then the entries that stay in a row. An index behind an entry that it could depend on begins a new stage.

Locks decide what must not meet. CREATE INDEX lets others create indexes on the same table; a key or foreign key wants
its tables alone. On a table that has partitions or heirs, a statement may reach for all of these, and rows that are
loaded into one of them for its parents: such a family is kept together by the name of its oldest member.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vya_backupd.engines.cut_postgresql import Dialect, Entry
from vya_backupd.engines.kinds_postgresql import NAME, EntryKind

SCHEMA, DATA = "schema", "data"
"""Groups of steps that are not made here: everything of the schema section, everything of the data section."""

_BUILDS = frozenset({EntryKind.INDEX, EntryKind.KEY})
_LIGHT = frozenset(
    {
        EntryKind.CHECK,
        EntryKind.INDEX_PARTITION,
        EntryKind.STATISTICS,
        EntryKind.TRIGGER,
        EntryKind.RULE,
        EntryKind.POLICY,
        EntryKind.PUBLICATION,
        EntryKind.COMMENT,
        EntryKind.LABEL,
        EntryKind.ACL,
    }
)
"""What no index or key can depend on."""
_HEIR = re.compile(rb"\nINHERITS \((" + NAME + rb"(?:, " + NAME + rb")*)\)")
_QUOTED = re.compile(rb"\"[^\"]*\"|'[^']*'")
_NESTED = re.compile(rb"\([^()]*\(| WHERE ")
_SLOW = re.compile(rb" USING (?:gin|gist|spgist) ", re.IGNORECASE)
_SLOWNESS = 8


@dataclass(frozen=True, slots=True)
class Step:
    """Text for one session: see ``pipeline.board.Batch`` for groups and names. ``weight`` is a guess at the work."""

    what: str
    text: bytes
    group: str
    after: frozenset[str]
    weight: int = 0
    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()


class Families:
    """Which tables belong together by partitioning or inheritance."""

    def __init__(self, schema: Sequence[Entry], dialect: Dialect) -> None:
        self._above: dict[str, str] = {}
        self._parents: set[str] = set()
        for entry in schema:
            if entry.table is None:
                continue
            for parent in _parents_of(entry, dialect):
                self._parents.add(parent)
                self._above[self.root(entry.table)] = self.root(parent)

    def root(self, table: str) -> str:
        """The name under which the table's family is known; its own, when it has none."""
        while (above := self._above.get(table, table)) != table:
            table = above
        return table

    def has_heirs(self, table: str) -> bool:
        """Whether other tables are its partitions or inherit from it."""
        return table in self._parents


def _parents_of(entry: Entry, dialect: Dialect) -> list[str]:
    if entry.kind is EntryKind.PARTITION:
        return [entry.references] if entry.references else []
    found = _HEIR.search(entry.statements[0]) if entry.kind is EntryKind.TABLE else None
    return [dialect.plain(name) for name in re.findall(NAME, found.group(1))] if found else []


@dataclass(slots=True)
class _Stage:
    side_by_side: list[Entry] = field(default_factory=list)
    in_a_row: list[Entry] = field(default_factory=list)
    are_foreign_keys: bool = False


def data_group(table: str) -> str:
    """The group of a table's rows."""
    return f"{DATA} {table}"


def arrange(post: Sequence[Entry], families: Families, work: Mapping[str, int]) -> list[Step]:
    """The steps of a post section. ``work``: what an ordinary index of each table takes."""
    steps: list[Step] = []
    for number, stage in enumerate(_stages(post)):
        before = frozenset({SCHEMA, f"row {number - 1}"} if number else {SCHEMA})
        steps += [_side_step(entry, families, work, number, before) for entry in stage.side_by_side]
        after = before | {DATA, f"side {number}"}
        steps.append(Step("the end of the dump", _in_a_row(stage.in_a_row), f"row {number}", after))
    return steps


def _stages(post: Sequence[Entry]) -> list[_Stage]:
    stages = [_Stage()]
    for entry in post:
        now = stages[-1]
        if entry.kind is EntryKind.FOREIGN_KEY:
            if not now.are_foreign_keys or any(each.kind is not EntryKind.COMMENT for each in now.in_a_row):
                stages.append(now := _Stage(are_foreign_keys=True))
            now.side_by_side.append(entry)
        elif entry.kind in _BUILDS:
            if now.are_foreign_keys or any(each.kind not in _LIGHT for each in now.in_a_row):
                stages.append(now := _Stage())
            now.side_by_side.append(entry)
        else:
            now.in_a_row.append(entry)
    return stages


def _side_step(entry: Entry, families: Families, work: Mapping[str, int], number: int, before: frozenset[str]) -> Step:
    table = entry.table or ""
    root = families.root(table)
    in_family = root != table or families.has_heirs(table)
    waits_for_all = number or families.has_heirs(table) or not _is_plain(entry)
    weight = work.get(table, 0) * (_SLOWNESS if _SLOW.search(entry.statements[0]) else 1)
    if entry.kind is EntryKind.FOREIGN_KEY:
        alone = {table, root, entry.references or "", families.root(entry.references or "")}
        shared: set[str] = set()
    elif families.has_heirs(table):
        alone, shared = {table, root}, set()
    elif entry.kind is EntryKind.INDEX and len(entry.statements) == 1:
        alone, shared = set(), {table}
    else:
        alone, shared = {table}, set()
    return Step(
        f"{entry.kind.value} {entry.name} of {table}",
        entry.alone,
        f"side {number}",
        before | {DATA if waits_for_all else data_group(table)},
        weight,
        frozenset(alone),
        frozenset(shared | {root} if in_family and root not in alone else shared),
    )


def _is_plain(entry: Entry) -> bool:
    """Whether nothing but columns is indexed: an expression may call functions that look at other tables."""
    return _NESTED.search(_QUOTED.sub(b"x", entry.statements[0])) is None


def _in_a_row(entries: Sequence[Entry]) -> bytes:
    """The texts in order, each setting repeated where it changes."""
    parts: list[bytes] = []
    settings: tuple[bytes, ...] = ()
    for entry in entries:
        parts.append(entry.text if entry.settings == settings else entry.alone)
        settings = entry.settings
    return b"\n".join(parts)
