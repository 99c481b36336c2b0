"""Takes single tables out of pg_dump's text: the entries that make them, in the order of the dump.

With a table come its partitions, the sequences that its columns own, indexes, keys, triggers, rules, policies, rights
and comments. What it merely refers to does not: types, functions, other tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from vya_backupd.engines.cut_postgresql import Dialect, Entry, cut_entries, in_force, settings_behind, statements
from vya_backupd.engines.kinds_postgresql import IDENT, NAME, EntryKind, meaning
from vya_backupd.engines.rename_postgresql import Pair, literal_pair, pair

_ALTER = re.compile(rb"ALTER (?:FOREIGN )?TABLE (?:ONLY )?(" + NAME + rb")\s")
_SETVAL = re.compile(rb"SELECT pg_catalog\.setval\(\s*(E?'(?:[^']|'')*')")
_FUNCTION = re.compile(rb".*\sEXECUTE (?:FUNCTION|PROCEDURE) (" + IDENT + rb"\." + IDENT + rb")\(", re.DOTALL)
"""What a trigger runs; without a schema it is one of the server's own."""
_INHERITS = re.compile(rb".*\nINHERITS \((" + NAME + rb"(?:, " + NAME + rb")*)\)", re.DOTALL)
_ON_CONSTRAINT = b"COMMENT ON CONSTRAINT "
_ON_TRIGGER = b"COMMENT ON TRIGGER "
_SEQUENCE_KINDS = (EntryKind.OWNED_SEQUENCE, EntryKind.IDENTITY)


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of schema and post. Names are as in ``Entry``: ``schema.table``.

    ``dotted`` are the schemas of tables that have a dot in their names, the longest first.
    """

    schema: tuple[Entry, ...]
    post: tuple[Entry, ...]
    dialect: Dialect
    dotted: tuple[str, ...]

    @classmethod
    def of(cls, header: bytes, schema: bytes, post: bytes, before_post: bytes = b"") -> Listing:
        """What the sections of a dump say. ``before_post`` is the text before the post section: settings end it."""
        dialect = Dialect.of(header)
        settings = in_force((), [schema[a:b] for a, b in statements(schema, dialect)])
        settings = in_force(settings, settings_behind(before_post))
        entries = tuple(cut_entries(schema, dialect))
        return cls(entries, tuple(cut_entries(post, dialect, settings)), dialect, _dotted(entries, dialect))

    def named(self, kind: EntryKind) -> list[str]:
        """The names of everything of a kind."""
        return [each.name for each in self.schema if each.kind is kind]

    def sequences(self) -> list[str]:
        """The names of all sequences, those of columns among them."""
        kinds = (EntryKind.SEQUENCE, *_SEQUENCE_KINDS)
        return list(dict.fromkeys(each.name for each in self.schema if each.kind in kinds))

    def split(self, name: str) -> tuple[str, str]:
        """Schema and name of ``schema.name``: either may have a dot, so the schemas of the dump decide."""
        dotted = (schema for schema in self.dotted if name.startswith(f"{schema}."))
        schema = next(dotted, name.partition(".")[0])
        return schema, name[len(schema) + 1 :]

    def heirs(self, tables: Collection[str]) -> Iterator[tuple[str, str]]:
        """Tables that inherit from these and are none of them, each with the one that it inherits from."""
        for each in self.schema:
            if each.kind is EntryKind.TABLE and each.name not in tables:
                found = _INHERITS.match(each.statements[0])
                parents = re.findall(NAME, found.group(1)) if found else ()
                yield from ((each.name, plain) for plain in map(self.dialect.plain, parents) if plain in tables)

    def with_partitions(self, tables: Iterable[str]) -> list[str]:
        """The tables and all their partitions, parents first."""
        children: dict[str, list[str]] = {}
        for each in self.entries():
            if each.kind is EntryKind.PARTITION:
                children.setdefault(str(each.references), []).append(each.name)
        found = list(dict.fromkeys(tables))
        for name in found:
            found += [child for child in children.get(name, []) if child not in found]
        return found

    def entries(self) -> Iterator[Entry]:
        """All entries in the order of the dump."""
        yield from self.schema
        yield from self.post


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take.

    ``has_table``, ``has_publication`` and ``has_function`` say what exists at the target outside of the choice; None:
    there is no target, foreign keys and triggers are taken and publications are not.
    """

    tables: tuple[str, ...]
    indexes: bool = True
    has_table: Callable[[str], bool] | None = None
    has_publication: Callable[[str], bool] | None = None
    has_function: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Picked:
    """The choice.

    ``tables`` are all of them, partitions too. ``relations`` are names of everything that is made, by what it is called
    in the dump. ``left_out`` says what was not taken, and why, for people.
    """

    tables: tuple[str, ...]
    sequences: frozenset[str]
    pairs: dict[str, Pair]
    relations: frozenset[Pair]
    schema: tuple[Entry, ...]
    post: tuple[Entry, ...]
    left_out: tuple[str, ...]

    def positions(self, text: bytes, dialect: Dialect) -> bytes:
        """Of the positions of all sequences, those of the chosen ones."""
        return positions(text, dialect, self.sequences)


def positions(text: bytes, dialect: Dialect, sequences: Collection[str]) -> bytes:
    """Of the positions of all sequences, those of the named ones."""
    found = (text[a:b] for a, b in statements(text, dialect))
    return b"".join(each + b"\n\n" for each in found if _positioned(each, dialect) in sequences)


def _positioned(statement: bytes, dialect: Dialect) -> str | None:
    """The sequence whose position a statement sets."""
    found = _SETVAL.match(statement)
    if found is None:
        return None
    return b".".join(literal_pair(found.group(1))).decode(dialect.codec, "backslashreplace")


def _dotted(schema: Iterable[Entry], dialect: Dialect) -> tuple[str, ...]:
    tables = (each for each in schema if each.kind is EntryKind.TABLE and each.name.count(".") > 1)
    names = {_made(each)[0].decode(dialect.codec, "backslashreplace") for each in tables}
    return tuple(sorted((name for name in names if "." in name), key=len, reverse=True))


def script(entries: Iterable[Entry]) -> bytes:
    """Entries as a text of their own, with the settings that each needs."""
    parts: list[bytes] = []
    before: tuple[bytes, ...] = ()
    for each in entries:
        parts += [setting + b"\n\n" for setting in each.settings if setting not in before]
        parts.append(each.text + b"\n")
        before = each.settings
    return b"".join(parts)


def pick(listing: Listing, wanted: Wanted) -> Picked:
    """Choose the entries of these tables."""
    tables = listing.with_partitions(wanted.tables)
    chooser = _Chooser(listing, wanted, frozenset(tables))
    schema = tuple(each for each in listing.schema if chooser.takes(each))
    post = tuple(each for each in listing.post if chooser.takes(each))
    pairs = {each.name: _made(each) for each in schema if each.kind is EntryKind.TABLE}
    made = (
        EntryKind.TABLE,
        EntryKind.SEQUENCE,
        EntryKind.IDENTITY,
        EntryKind.INDEX,
        EntryKind.KEY,
        EntryKind.STATISTICS,
    )
    relations = frozenset(_made(each) for each in (*schema, *post) if each.kind in made)
    left_out = [
        *chooser.left_out,
        *(
            f"{heir} inherits from {parent} and does not come with it"
            for heir, parent in listing.heirs(frozenset(tables))
        ),
    ]
    return Picked(tuple(tables), chooser.sequences, pairs, relations, schema, post, tuple(left_out))


def _made(entry: Entry) -> Pair:
    """Schema and name of the relation that an entry makes. Indexes are where their table is."""
    _, names = meaning(entry.statements[0])
    schema, name = pair(names["name"])
    return (schema or pair(names["table"])[0]), name


class _Chooser:
    def __init__(self, listing: Listing, wanted: Wanted, tables: frozenset[str]) -> None:
        self._wanted = wanted
        self._tables = tables
        self._plain = listing.dialect.plain
        mine = [each for each in listing.entries() if each.table in tables]
        self.sequences = frozenset(each.name for each in mine if each.kind in _SEQUENCE_KINDS)
        self._indexes = _names(listing, mine, EntryKind.INDEX, EntryKind.KEY)
        self._others = frozenset(each.name for each in mine if each.kind is EntryKind.STATISTICS) | self.sequences
        self._gone: set[tuple[str | None, str]] = set()
        self._gone_triggers: set[tuple[str | None, str]] = set()
        self.left_out: list[str] = []

    def takes(self, each: Entry) -> bool:
        """Whether an entry is taken; what is left out for a reason is noted."""
        mine = each.table in self._tables
        match each.kind:
            case EntryKind.PARTITION:
                return self._takes_partition(each)
            case EntryKind.SEQUENCE:
                return each.name in self.sequences
            case EntryKind.INDEX | EntryKind.KEY:
                return mine and self._takes_index(each)
            case EntryKind.FOREIGN_KEY:
                return mine and self._takes_reference(each)
            case EntryKind.TRIGGER:
                return mine and self._takes_trigger(each)
            case EntryKind.INDEX_PARTITION:
                return self._wanted.indexes and {each.name, str(each.references)} <= self._indexes
            case EntryKind.PUBLICATION:
                return mine and self._takes_publication(each)
            case EntryKind.COMMENT | EntryKind.ACL | EntryKind.LABEL:
                return self._takes_remark(each)
            case EntryKind.VIEW | EntryKind.REFRESH:
                return False
            case EntryKind.OTHER:
                found = _ALTER.match(each.statements[0])
                return found is not None and self._plain(found.group(1)) in self._tables
        return mine

    def _takes_partition(self, each: Entry) -> bool:
        if each.references in self._tables:
            return True
        if each.table in self._tables:
            self.left_out.append(f"{each.table} is a partition of {each.references}; it becomes a table of its own")
        return False

    def _takes_index(self, each: Entry) -> bool:
        if not self._wanted.indexes:
            self._gone.add((each.table, each.name))
        return self._wanted.indexes

    def _takes_reference(self, each: Entry) -> bool:
        far, ask = str(each.references), self._wanted.has_table
        there = far in self._tables or ask is None or ask(far)
        if there and self._wanted.indexes:
            return True
        self._gone.add((each.table, each.name))
        if not there:
            self.left_out.append(f"foreign key {each.name} of {each.table} is left out: there is no table {far}")
        return False

    def _takes_trigger(self, each: Entry) -> bool:
        found, ask = _FUNCTION.match(each.statements[0]), self._wanted.has_function
        if found is None or ask is None or ask(self._plain(found.group(1))):
            return True
        self._gone_triggers.add((each.table, each.name))
        function = self._plain(found.group(1))
        self.left_out.append(f"trigger {each.name} of {each.table} is left out: there is no function {function}")
        return False

    def _takes_remark(self, each: Entry) -> bool:
        """Comments, rights and labels: of a table and what is in it, of a sequence, an index, statistics."""
        if each.table is not None:
            return each.table in self._tables and not self._is_of_gone(each)
        return each.name in self._others or (self._wanted.indexes and each.name in self._indexes)

    def _is_of_gone(self, remark: Entry) -> bool:
        """Whether a comment is on a constraint or a trigger that was left out."""
        gone = {_ON_CONSTRAINT: self._gone, _ON_TRIGGER: self._gone_triggers}
        return any(
            remark.statements[0].startswith(words) and (remark.table, remark.name) in those
            for words, those in gone.items()
        )

    def _takes_publication(self, each: Entry) -> bool:
        ask = self._wanted.has_publication
        if ask is None or ask(each.name):
            return ask is not None
        self.left_out.append(f"{each.table} is not added to publication {each.name}, which is not there")
        return False


def _names(listing: Listing, entries: Collection[Entry], *kinds: EntryKind) -> frozenset[str]:
    made = (_made(each) for each in entries if each.kind in kinds)
    return frozenset(b".".join(name).decode(listing.dialect.codec, "backslashreplace") for name in made)
