"""How large the tables of a MySQL or MariaDB database are, and where the values of their keys lie."""

from __future__ import annotations

import bisect

from vya_backupd.engines.mysql_sql import quote
from vya_backupd.model.instance import EngineKind
from vya_backupd.policy.dump_plan_mysql import Key, Span, Table, zoomed
from vya_backupd.probe.connect import Session
from vya_backupd.probe.mysql_family import is_loose

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_CELLS = 64
"""Parts of a key's values that are looked at in one round: a question each."""
_ENOUGH = 16
"""Spans with values in them that say enough of how rows are spread."""
_ROUNDS = 4


async def tables(session: Session, database: str, vendor: EngineKind) -> list[Table]:
    """Everything that rows are dumped of, sequences included (MariaDB), which are small."""
    if vendor is EngineKind.MYSQL:
        # It would give figures that are up to a day old.
        await session.run("SET SESSION information_schema_stats_expiry = 0")
    rows = await session.rows(
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, COALESCE(DATA_LENGTH, 0) FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = :name AND TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW')",
        name=database,
    )
    return [
        Table(str(name), int(size), holds_still=kind != "SEQUENCE" and not is_loose(engine))
        for name, kind, engine, size in rows
    ]


async def key(session: Session, database: str, table: str) -> Key | None:
    """What a table can be cut by; None where its primary key does not begin with an integer."""
    column = await _integer_key(session, database, table)
    if column is None:
        return None
    place, name = f"{quote(database)}.{quote(table)}", quote(column)
    ends = await session.run(f"SELECT MIN({name}), MAX({name}) FROM {place}")  # noqa: S608 - quoted
    if ends[0][0] is None:
        return None
    spans = [(int(ends[0][0]), int(ends[0][1]))]
    for _ in range(_ROUNDS):
        parts = zoomed(spans, _CELLS)
        spans = await _occupied(session, f"SELECT MIN({name}) FROM {place} WHERE {name} >= ", parts)  # noqa: S608
        if len(spans) >= _ENOUGH or len(spans) == len(parts):
            break
    return Key(column, tuple(spans)) if spans else None


async def _integer_key(session: Session, database: str, table: str) -> str | None:
    rows = await session.rows(
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = :db"
        " AND TABLE_NAME = :table AND INDEX_NAME = 'PRIMARY' AND SEQ_IN_INDEX = 1",
        db=database,
        table=table,
    )
    # Names may differ in case alone, which is the same to this question.
    columns = [str(column) for found, column in rows if found == table]
    if len(columns) != 1 or "\n" in columns[0]:
        return None
    kinds = await session.rows(
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = :db"
        " AND TABLE_NAME = :table",
        db=database,
        table=table,
    )
    for found, column, kind in kinds:
        if found == table and str(column) == columns[0] and str(kind).lower() in _INTEGERS:
            return columns[0]
    return None


async def _occupied(session: Session, first_from: str, parts: list[Span]) -> list[Span]:
    """Those of the parts that have values, each from its first value on."""
    ends = [last for _, last in parts]
    found: list[Span] = []
    number = 0
    while number < len(parts):
        ((value,),) = await session.run(f"{first_from}{parts[number][0]}")
        if value is None:
            break
        number = bisect.bisect_left(ends, int(value), number)
        if number < len(parts):
            found.append((max(int(value), parts[number][0]), parts[number][1]))
        number += 1
    return found
