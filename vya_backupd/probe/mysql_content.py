"""Reads what a database of MySQL or MariaDB is made of, in the server's own words: the ground of a swap."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vya_backupd.engines.mysql_neutral import OwnName
from vya_backupd.engines.mysql_sql import literal, quote
from vya_backupd.engines.mysql_swap import ROUTINES, DatabaseContent, SequenceDefault, StoredObject
from vya_backupd.errors import ServerError
from vya_backupd.probe.connect import Session

_TRIGGERS = (  # by the schema of the table, which is the trigger's own: see ``mysql_family``
    "SELECT TRIGGER_NAME, 'TRIGGER' FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = :db"
    " ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER"
)
_ROUTINES = "SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = :db ORDER BY 1"
_EVENTS = "SELECT EVENT_NAME, 'EVENT' FROM information_schema.EVENTS WHERE EVENT_SCHEMA = :db ORDER BY 1"
_LISTS = {"TRIGGER": _TRIGGERS, **dict.fromkeys(ROUTINES, _ROUTINES), "EVENT": _EVENTS}


async def content(session: Session, name: str) -> DatabaseContent:
    """The content of the database that the session is connected to: so names inside it come without its own name.

    Raises:
        ServerError: ``insufficient_privilege`` when the account may not see a definition.
    """
    tables = await session.rows(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = :name ORDER BY 1", name=name
    )
    character_set, collation = await _charset(session, name)
    outsiders = await session.rows(
        "SELECT DISTINCT CONSTRAINT_SCHEMA, TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS"
        " WHERE UNIQUE_CONSTRAINT_SCHEMA = :name AND CONSTRAINT_SCHEMA <> :name ORDER BY 1, 2",
        name=name,
    )
    return DatabaseContent(
        name=name,
        tables=tuple(str(table) for table, kind in tables if "VIEW" not in str(kind)),
        objects=(
            *[await _view(session, name, str(table)) for table, kind in tables if kind == "VIEW"],
            *await _stored(session, name),
        ),
        character_set=character_set,
        collation=collation,
        outsiders=tuple(f"{schema}.{table}" for schema, table in outsiders),
        defaults=await _defaults(session, name),
    )


async def tables_content(session: Session, name: str, tables: Collection[str]) -> DatabaseContent:
    """Some tables of a database with their triggers, as ``content`` gives all of it. Raises as that does."""
    character_set, collation = await _charset(session, name)
    rows = await session.rows(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = :db"
        " ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
        db=name,
    )
    triggers = [await _shown(session, "TRIGGER", str(trigger)) for trigger, table in rows if table in tables]
    return DatabaseContent(name, tuple(tables), tuple(triggers), character_set, collation)


async def _charset(session: Session, name: str) -> tuple[str, str]:
    row = (
        await session.rows(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
            " WHERE SCHEMA_NAME = :name",
            name=name,
        )
    )[0]
    return str(row[0]), str(row[1])


async def _defaults(session: Session, database: str) -> tuple[SequenceDefault, ...]:
    """Columns whose default asks a sequence of the database itself. MySQL has no sequences."""
    rows = await session.rows(
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = :db"
        " AND LOCATE('val(', COLUMN_DEFAULT) > 0 AND GENERATION_EXPRESSION IS NULL AND VERSION() LIKE '%MariaDB%'",
        db=database,
    )
    own = OwnName(database)
    found = [SequenceDefault(str(table), str(column), own.left_out(str(text))) for table, column, text in rows]
    return tuple(each for each, row in zip(found, rows, strict=True) if each.expression != str(row[2]))


async def _view(session: Session, database: str, name: str) -> StoredObject:
    row = (await session.run(f"SHOW CREATE VIEW {quote(name)}"))[0]
    columns = await session.rows(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = :db AND TABLE_NAME = :name"
        " ORDER BY ORDINAL_POSITION",
        db=database,
        name=name,
    )
    create = OwnName(database).left_out(str(row[1]))
    settings = _settings(create, str(row[2]), str(row[3]))
    return StoredObject("VIEW", name, create, settings, tuple(str(one) for (one,) in columns))


async def _stored(session: Session, database: str) -> list[StoredObject]:
    """Triggers, routines, events."""
    found: list[StoredObject] = []
    for kind, sql in _LISTS.items():
        names = [str(name) for name, of in await session.rows(sql, db=database) if of == kind]
        found += [await _shown(session, kind, name) for name in names]
    return found


async def _shown(session: Session, kind: str, name: str) -> StoredObject:
    row = (await session.run(f"SHOW CREATE {kind} {quote(name)}"))[0]
    at = 3 if kind == "EVENT" else 2
    if row[at] is None:
        raise ServerError(
            f"the account may not see the definition of {kind.lower()} {name}",
            code="insufficient_privilege",
            hint="Grant it SELECT on *.* (MySQL: or SHOW_ROUTINE).",
        )
    zone = str(row[2]) if kind == "EVENT" else None
    return StoredObject(kind, name, str(row[at]), _settings(str(row[at]), row[at + 1], row[at + 2], str(row[1]), zone))


def _settings(
    create: str, character_set: str, collation: str, mode: str | None = None, zone: str | None = None
) -> tuple[str, ...]:
    """The session that an object is to be made in.

    Its text travels as UTF-8; the character set that it was first typed in is kept where that makes the same bytes.
    """
    settings = []
    short = character_set in ("utf8", "utf8mb3") and max(create, default="") < "\U00010000"
    if create.isascii() or short:
        settings.append(f"SET SESSION character_set_client = {_words(character_set)}")
    if create.isascii() or short or collation.startswith("utf8mb4_"):
        settings.append(f"SET SESSION collation_connection = {_words(collation)}")
    if mode is not None:
        settings.append(f"SET SESSION sql_mode = {_words(mode)}")
    if zone is not None:
        settings.append(f"SET SESSION time_zone = {_words(zone)}")
    return tuple(settings)


def _words(text: str) -> str:
    plain: Sequence[str] = [character for character in text if character.isalnum() or character in "_,+:-/ "]
    return "'" + "".join(plain) + "'" if len(plain) == len(text) else literal(text)
