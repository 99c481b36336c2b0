"""The exchange of two databases on MySQL and MariaDB, which cannot rename a database.

All tables change places in *one* RENAME TABLE, which happens wholly or not at all. It refuses tables with triggers, and
does not move views, routines and events; so these are dropped before it and made anew after it, each from the server's
own words. The order is such that going back step by step works as well:

    events off → views emptied, then dropped → routines dropped → triggers dropped → defaults off → RENAME TABLE
    → defaults → routines → triggers → views as placeholders, then for good → events

Views refer to one another; a placeholder with the right columns lets every order do. The objects of the original are
kept in the plan's undo alone: write the plan down before its first step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vya_backupd.engines.mysql_events import enabled
from vya_backupd.engines.mysql_sql import all_there, literal, object_count, quote
from vya_backupd.engines.swap import SwapPlan, SwapStep
from vya_backupd.errors import TargetError

ROUTINES = ("PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A view, trigger, routine or event: its kind as DROP wants it, its CREATE, the session settings it was made under.

    ``columns`` are a view's.
    """

    kind: str
    name: str
    create: str
    session: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SequenceDefault:
    """A column whose default asks a sequence of the same database (MariaDB); the expression without its name."""

    table: str
    column: str
    expression: str


@dataclass(frozen=True, slots=True)
class DatabaseContent:
    """What a database is made of. ``outsiders``: tables elsewhere whose foreign keys point into it."""

    name: str
    tables: tuple[str, ...]
    objects: tuple[StoredObject, ...]
    character_set: str
    collation: str
    outsiders: tuple[str, ...] = ()
    defaults: tuple[SequenceDefault, ...] = ()

    def of(self, *kinds: str) -> list[StoredObject]:
        """Its objects of these kinds, in the order of the kinds."""
        return [each for kind in kinds for each in self.objects if each.kind == kind]


def swap(
    original: DatabaseContent, restored: DatabaseContent, aside: str, enable_events: Collection[str] = ()
) -> SwapPlan:
    """The plan. ``enable_events`` are events to be on afterwards though they are off in the restored database.

    Raises:
        TargetError: ``swap_refused`` when foreign keys of other databases point into the original.
    """
    if original.outsiders:
        raise TargetError(
            f"foreign keys of {', '.join(original.outsiders)} point into it: they would follow the old tables",
            code="swap_refused",
            hint="Drop those foreign keys first, or restore under another name.",
            database=original.name,
        )
    steps = [
        SwapStep(f"create {aside}", f"CREATE DATABASE {quote(aside)} {_charset(original)}"),
        *_leave(original),
        *(_drop(restored.name, trigger) for trigger in restored.of("TRIGGER")),
        *_without_defaults(restored),
        *_rename(original, restored, aside),
        *_with_defaults(original.name, restored),
        *_enter(original, restored, enable_events),
    ]
    cleanup = tuple(f"DROP DATABASE IF EXISTS {quote(name)}" for name in (restored.name, aside))
    return SwapPlan(aside, tuple(steps), cleanup, tidy=_tidy(original, restored, aside))


def exchange_tables(
    original: DatabaseContent, restored: DatabaseContent, aside: str, names: Mapping[str, str]
) -> SwapPlan:
    """Single tables, with their triggers, from ``restored`` to their places in ``original``, by the names that they get.

    ``original`` knows no more than the tables that give way. Triggers of a table that gets another name stay behind:
    their own text names the table.
    """
    followers = replace(restored, objects=tuple(restored.of("TRIGGER")) if _keep_names(names) else ())
    moves = [(original.name, table, aside, table) for table in original.tables]
    moves += [(restored.name, table, original.name, names[table]) for table in restored.tables]
    steps = [
        # Also where nothing gives way: while it is there, everybody sees that the exchange is not over.
        SwapStep(f"create {aside}", f"CREATE DATABASE {quote(aside)} {_charset(original)}"),
        *(_drop(original.name, trigger) for trigger in reversed(original.of("TRIGGER"))),
        *(_drop(restored.name, trigger) for trigger in restored.of("TRIGGER")),
        SwapStep("exchange tables", _renamed(moves), _renamed([move[2:] + move[:2] for move in reversed(moves)])),
        *(_create(original.name, trigger) for trigger in followers.of("TRIGGER")),
    ]
    cleanup = tuple(f"DROP DATABASE IF EXISTS {quote(name)}" for name in (restored.name, aside))
    return SwapPlan(aside, tuple(steps), cleanup, tidy=_tidy(original, restored, aside))


def _tidy(original: DatabaseContent, restored: DatabaseContent, aside: str) -> tuple[str, ...]:
    """Drop ``aside`` when nothing is in it, the restored tables stand where they came from, and all of the original does.

    An empty database alone would say nothing: it is empty before the tables move, too, when triggers and views are gone.
    """
    kinds = ("VIEW", *ROUTINES, "TRIGGER", "EVENT")
    wanted = [(kind, [each.name for each in original.of(kind)]) for kind in kinds]
    checks = [
        f"({object_count(aside)}) = 0",
        all_there(restored.name, "TABLE", restored.tables),
        *(all_there(original.name, kind, names) for kind, names in wanted),
    ]
    drop = literal(f"DROP DATABASE {quote(aside)}")
    return (
        f"SET @vya_tidy = IF({' AND '.join(filter(None, checks))}, {drop}, 'DO 0')",
        "PREPARE vya_tidy FROM @vya_tidy",
        "EXECUTE vya_tidy",
        "DEALLOCATE PREPARE vya_tidy",
    )


def _keep_names(names: Mapping[str, str]) -> bool:
    return all(old == new for old, new in names.items())


def _leave(original: DatabaseContent) -> Iterator[SwapStep]:
    name = original.name
    yield from (_drop(name, event) for event in original.of("EVENT"))
    for view in original.of("VIEW"):
        yield SwapStep(f"empty view {view.name}", _placeholder(name, view), _again(view), name, view.session)
    for view in original.of("VIEW"):
        gone = f"DROP VIEW {quote(name)}.{quote(view.name)}"
        yield SwapStep(f"drop view {view.name}", gone, _placeholder(name, view), name)
    yield from (_drop(name, routine) for routine in reversed(original.of(*ROUTINES)))
    # Going back makes the first one dropped last: triggers of one event run in the order of their making.
    yield from (_drop(name, trigger) for trigger in reversed(original.of("TRIGGER")))


def _without_defaults(restored: DatabaseContent) -> Iterator[SwapStep]:
    """A default names its sequence with the database, and a table with a sequence that is gone cannot be opened."""
    for each in restored.defaults:
        column = f"{quote(restored.name)}.{quote(each.table)} ALTER COLUMN {quote(each.column)}"
        yield SwapStep(f"detach {each.table}.{each.column}", f"ALTER TABLE {column} DROP DEFAULT")


def _with_defaults(name: str, restored: DatabaseContent) -> Iterator[SwapStep]:
    # There is no undo: going back, the table leaves the name, and where it never came the original's would be hit.
    for each in restored.defaults:
        column = f"{quote(name)}.{quote(each.table)} ALTER COLUMN {quote(each.column)}"
        what = f"attach {each.table}.{each.column}"
        yield SwapStep(what, f"ALTER TABLE {column} SET DEFAULT ({each.expression})", database=name)


def _rename(original: DatabaseContent, restored: DatabaseContent, aside: str) -> Iterator[SwapStep]:
    moves = [(original.name, table, aside) for table in original.tables]
    moves += [(restored.name, table, original.name) for table in restored.tables]
    if moves:
        back = [(new, table, old) for old, table, new in reversed(moves)]
        yield SwapStep("exchange all tables", _moved(moves), _moved(back))


def _moved(moves: Sequence[tuple[str, str, str]]) -> str:
    return _renamed([(old, table, new, table) for old, table, new in moves])


def _renamed(moves: Sequence[tuple[str, str, str, str]]) -> str:
    parts = (f"{quote(a)}.{quote(old)} TO {quote(b)}.{quote(new)}" for a, old, b, new in moves)
    return "RENAME TABLE " + ", ".join(parts)


def _enter(original: DatabaseContent, restored: DatabaseContent, enable_events: Collection[str]) -> Iterator[SwapStep]:
    name = original.name
    if _charset(original) != _charset(restored):
        now, before = (f"ALTER DATABASE {quote(name)} {_charset(each)}" for each in (restored, original))
        yield SwapStep(f"set the character set of {name}", now, before)
    yield from (_create(name, routine) for routine in restored.of(*ROUTINES))
    yield from (_create(name, trigger) for trigger in restored.of("TRIGGER"))
    for view in restored.of("VIEW"):
        gone = f"DROP VIEW {quote(name)}.{quote(view.name)}"
        yield SwapStep(f"prepare view {view.name}", _placeholder(name, view), gone, name)
    for view in restored.of("VIEW"):
        yield SwapStep(f"create view {view.name}", _again(view), _placeholder(name, view), name, view.session)
    for event in restored.of("EVENT"):
        # ALTER EVENT would make us its owner.
        wanted = replace(event, create=enabled(event.create)) if event.name in enable_events else event
        yield _create(name, wanted)


def _drop(database: str, each: StoredObject) -> SwapStep:
    gone = f"DROP {each.kind} {quote(database)}.{quote(each.name)}"
    return SwapStep(f"drop {each.kind.lower()} {each.name}", gone, each.create, database, each.session)


def _create(database: str, each: StoredObject) -> SwapStep:
    gone = f"DROP {each.kind} {quote(database)}.{quote(each.name)}"
    return SwapStep(f"create {each.kind.lower()} {each.name}", each.create, gone, database, each.session)


def _placeholder(database: str, view: StoredObject) -> str:
    columns = ", ".join(f"1 AS {quote(column)}" for column in view.columns) or "1"
    return f"CREATE OR REPLACE VIEW {quote(database)}.{quote(view.name)} AS SELECT {columns}"


def _again(view: StoredObject) -> str:
    return "CREATE OR REPLACE " + view.create.removeprefix("CREATE ")


def _charset(content: DatabaseContent) -> str:
    return f"CHARACTER SET {content.character_set} COLLATE {content.collation}"
