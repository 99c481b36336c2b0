"""SQL around single tables of PostgreSQL: what is there, and how restored ones get their place.

Names are bytes in the encoding of the session that the text is for, as the dump has them.
"""

# Every value goes through quote or literal: DDL takes no parameters.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vya_backupd.engines.postgresql_sql import literal as text_literal
from vya_backupd.engines.rename_postgresql import Pair, literal, quoted

_USERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
RELATIONS = (
    "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relispartition FROM pg_catalog.pg_class c"
    f" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {_USERS}"
)
SCHEMAS = "SELECT nspname::text FROM pg_catalog.pg_namespace"
PUBLICATIONS = "SELECT pubname::text FROM pg_catalog.pg_publication"
FUNCTIONS = (
    "SELECT DISTINCT n.nspname || '.' || p.proname FROM pg_catalog.pg_proc p"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.prorettype = 'pg_catalog.trigger'::regtype"
)
"""Those that triggers can run."""
TRIGGERS = (
    "SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text FROM pg_catalog.pg_trigger t"
    " JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') ORDER BY 1, 2, 3"
)
"""Triggers that fire on rows of ours: schema, table, name, and in which state they are to be again."""
_WITH_PARTITIONS = (
    "ARRAY(SELECT pn.nspname || '.' || p.relname FROM pg_catalog.pg_class p"
    " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
    " WHERE p.oid IN (SELECT {0} UNION SELECT relid FROM pg_catalog.pg_partition_tree({0})))"
)
FOREIGN_KEYS = (
    "SELECT n.nspname::text, c.relname::text, k.conname::text, k.condeferrable,"
    f" {_WITH_PARTITIONS.format('k.conrelid')}, {_WITH_PARTITIONS.format('k.confrelid')}"
    " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT k.condeferred ORDER BY 1, 2, 3"
)
"""Foreign keys that are looked at with each statement: schema, table, name, whether they could wait; the tables that
refer and those that are referred to, with all their partitions."""
LOCK_WAIT = "60s"
"""How long the exchange waits for others who use the table."""


@dataclass(frozen=True, slots=True)
class Move:
    """A table from the schema in which it was made to its place."""

    made: Pair
    place: Pair


def has_rows(table: str) -> str:
    """A query: 1 when the table, which is named with its quotes, has rows; else 0."""
    return f"SELECT count(*) FROM (SELECT 1 FROM ONLY {table} LIMIT 1) found"


def dependents(tables: Sequence[str]) -> str:
    """What of others would be lost with these tables: views and rules that read them, foreign keys that point to them."""
    listed = ", ".join(f"{text_literal(table)}::regclass" for table in tables)
    mine = f"(SELECT unnest(ARRAY[{listed}]::oid[]))"
    return (
        "SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass::text FROM pg_catalog.pg_constraint"
        f" WHERE contype = 'f' AND confrelid IN {mine} AND conrelid NOT IN {mine} AND conparentid = 0"
        " UNION SELECT CASE c.relkind WHEN 'm' THEN 'materialized view ' WHEN 'v' THEN 'view ' ELSE 'rule on ' END"
        " || c.oid::regclass::text FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid"
        " JOIN pg_catalog.pg_class c ON c.oid = r.ev_class WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass"
        f" AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid IN {mine} AND c.oid NOT IN {mine} ORDER BY 1"
    )


def create_schema(name: bytes) -> bytes:
    """CREATE SCHEMA."""
    return b"CREATE SCHEMA " + quoted((b"", name)) + b";\n"


def count_rows(table: Pair, rows: int) -> bytes:
    """Fail unless the table has so many rows."""
    name = quoted(table)
    message = literal(
        name.replace(b"%", b"%%") + b" has % rows after the restore, " + str(rows).encode() + b" were backed up"
    )
    return _block(
        b"DECLARE n bigint; BEGIN SELECT count(*) INTO n FROM ONLY " + name + b"; IF n <> " + str(rows).encode()
        + b" THEN RAISE EXCEPTION " + message + b", n; END IF; END"
    )  # fmt: skip


def refuse_rows(table: Pair) -> bytes:
    """Fail when the table has rows by now."""
    name = quoted(table)
    message = literal(name.replace(b"%", b"%%") + b" has rows")
    return _block(
        b"BEGIN IF EXISTS (SELECT FROM ONLY " + name + b") THEN RAISE EXCEPTION " + message + b"; END IF; END"
    )


def lock(table: Pair) -> bytes:
    """Keep others from writing into the table until the end of the transaction."""
    wait = f"SET LOCAL lock_timeout = '{LOCK_WAIT}';\n".encode()
    return wait + b"LOCK TABLE ONLY " + quoted(table) + b" IN SHARE ROW EXCLUSIVE MODE;\n"


def disable_trigger(table: Pair, name: bytes) -> bytes:
    """Let a trigger not fire."""
    return b"ALTER TABLE ONLY " + quoted(table) + b" DISABLE TRIGGER " + quoted((b"", name)) + b";\n"


def enable_trigger(table: Pair, name: bytes, state: str) -> bytes:
    """Bring a trigger back into its state: ``O`` or ``A``."""
    how = b" ENABLE ALWAYS TRIGGER " if state == "A" else b" ENABLE TRIGGER "
    return b"ALTER TABLE ONLY " + quoted(table) + how + quoted((b"", name)) + b";\n"


def defer_key(table: Pair, name: bytes) -> bytes:
    """Let a foreign key be looked at when the transaction says so, not with each statement."""
    return (
        b"ALTER TABLE "
        + quoted(table)
        + b" ALTER CONSTRAINT "
        + quoted((b"", name))
        + b" DEFERRABLE INITIALLY DEFERRED;\n"
    )


def restore_key(table: Pair, name: bytes, *, deferrable: bool) -> bytes:
    """Bring a foreign key back to where it is looked at with each statement."""
    how = b" DEFERRABLE INITIALLY IMMEDIATE;\n" if deferrable else b" NOT DEFERRABLE;\n"
    return b"ALTER TABLE " + quoted(table) + b" ALTER CONSTRAINT " + quoted((b"", name)) + how


CHECK_KEYS = b"SET CONSTRAINTS ALL IMMEDIATE;\n"
"""Look at everything that waits, now."""


def exchange(moves: Sequence[Move], dropped: Sequence[Pair]) -> bytes:
    """Drop the former tables and move the restored ones to their places, under names that are free.

    Tables come under the name that is wanted. An index, sequence or statistics keeps its name where it is free; one that
    begins with the table's former name begins with its new one. What is still taken gets a number.
    """
    parts = [f"SET LOCAL lock_timeout = '{LOCK_WAIT}';\n".encode()]
    if dropped:
        parts.append(b"DROP TABLE IF EXISTS " + b", ".join(map(quoted, dropped)) + b";\n")
    schemas = {move.made[0]: move.place[0] for move in moves}
    for move in moves:
        if move.made[1] != move.place[1]:
            parts += [_free_names(move), _rename(move)]
    parts += [_free_names(Move((stage, b""), (place, b""))) for stage, place in schemas.items()]
    for move in moves:
        moved = quoted((move.made[0], move.place[1]))
        parts.append(b"ALTER TABLE " + moved + b" SET SCHEMA " + quoted((b"", move.place[0])) + b";\n")
    parts += [_move_statistics(stage, place) for stage, place in schemas.items()]
    parts += [b"DROP SCHEMA " + quoted((b"", stage)) + b";\n" for stage in schemas]
    return b"".join(parts)


def _rename(move: Move) -> bytes:
    return b"ALTER TABLE " + quoted(move.made) + b" RENAME TO " + quoted((b"", move.place[1])) + b";\n"


def _free_names(move: Move) -> bytes:
    """Names in the schema of making that are taken at the place, or follow the table's, are changed."""
    old, new = literal(move.made[1]), literal(move.place[1])
    begins = b"pg_catalog.starts_with(r.name, " + old + b" || '_')" if move.made[1] else b"false"
    return _block(
        b"DECLARE r record; base text; fresh text; turn int; BEGIN FOR r IN"
        b" SELECT c.relname::text AS name, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END AS what FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
        b" ON n.oid = c.relnamespace WHERE n.nspname = " + literal(move.made[0])
        + b" AND c.relkind IN ('i', 'I', 'S')"
        b" UNION ALL SELECT s.stxname::text, 'STATISTICS' FROM pg_catalog.pg_statistic_ext s"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE n.nspname = " + literal(move.made[0])
        + b" LOOP base := r.name; IF " + begins + b" THEN base := " + new
        + b" || pg_catalog.substr(r.name, pg_catalog.length(" + old + b") + 1); END IF;"
        b" IF pg_catalog.octet_length(base) > 58 THEN base := pg_catalog.left(base, 10) || '_' || pg_catalog.md5(base);"
        b" END IF; fresh := base; turn := 1; WHILE EXISTS (SELECT FROM pg_catalog.pg_class c"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = " + literal(move.place[0])
        + b" AND c.relname = fresh) OR EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE n.nspname = " + literal(move.place[0])
        + b" AND s.stxname = fresh AND r.what = 'STATISTICS')"
        b" LOOP turn := turn + 1; fresh := base || '_' || turn; END LOOP;"
        b" IF fresh <> r.name THEN EXECUTE pg_catalog.format('ALTER %s %I.%I RENAME TO %I', r.what, "
        + literal(move.made[0]) + b", r.name, fresh); END IF; END LOOP; END"
    )  # fmt: skip


def _move_statistics(stage: bytes, place: bytes) -> bytes:
    return _block(
        b"DECLARE s name; BEGIN FOR s IN SELECT x.stxname FROM pg_catalog.pg_statistic_ext x"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = x.stxnamespace WHERE n.nspname = " + literal(stage)
        + b" LOOP EXECUTE pg_catalog.format('ALTER STATISTICS %I.%I SET SCHEMA %I', "
        + literal(stage) + b", s, " + literal(place) + b"); END LOOP; END"
    )  # fmt: skip


def _block(body: bytes) -> bytes:
    number = 0
    while (tag := b"$do%d$" % number) in body:
        number += 1
    return b"DO " + tag + b" " + body + b" " + tag + b";\n"
