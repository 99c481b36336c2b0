"""SQL around a restore into MySQL or MariaDB: create, drop, look."""

# Every value goes through quote or literal: DDL takes no parameters.
# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vya_backupd.errors import UsageError
from vya_backupd.model.instance import EngineKind

_NAME = re.compile(r"[A-Za-z0-9_]+\Z")


def quote(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A string constant that means the same in every sql_mode: in hex."""
    if not text:
        return "''"
    return "_utf8mb4 0x" + text.encode("utf-8").hex()


def comment(text: str) -> str:
    """A string constant where hex is not allowed; right unless NO_BACKSLASH_ESCAPES is on."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def create_database(database: str, properties: Mapping[str, str], kind: EngineKind) -> list[str]:
    """CREATE DATABASE with the recorded character set, collation, and the vendor's own extra.

    ``properties``: character_set, collation; MariaDB comment; MySQL encryption (YES or NO).
    """
    clauses = [f"CREATE DATABASE {quote(database)}"]
    for key, clause in (("character_set", "CHARACTER SET"), ("collation", "COLLATE")):
        value = properties.get(key)
        if value:
            if not _NAME.match(value):
                raise UsageError(f"{value!r} is no name of a {key.replace('_', ' ')}")
            clauses.append(f"{clause} {value}")
    if kind is EngineKind.MARIADB and properties.get("comment"):
        clauses.append(f"COMMENT {comment(properties['comment'])}")
    if kind is EngineKind.MYSQL and properties.get("encryption") == "YES":
        clauses.append("ENCRYPTION 'Y'")
    return [" ".join(clauses)]


def drop_database(database: str) -> list[str]:
    """DROP DATABASE IF EXISTS."""
    return [f"DROP DATABASE IF EXISTS {quote(database)}"]


def exists(database: str) -> str:
    """1 or 0."""
    return f"SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {literal(database)}"


def object_count(database: str) -> str:
    """How many tables, views, sequences, routines and events a database has (triggers need tables)."""
    parts = (
        f"(SELECT COUNT(*) FROM information_schema.{table} WHERE {column} = {literal(database)})"
        for table, column in (("TABLES", "TABLE_SCHEMA"), ("ROUTINES", "ROUTINE_SCHEMA"), ("EVENTS", "EVENT_SCHEMA"))
    )
    return "SELECT " + " + ".join(parts)


def all_there(database: str, kind: str, names: Sequence[str]) -> str:
    """The condition that a database has all these objects of a kind, as DROP calls it; empty where there are none."""
    if not names:
        return ""
    noun = {"VIEW": "TABLE"}.get(kind, kind if kind in {"TABLE", "TRIGGER", "EVENT"} else "ROUTINE")
    listed = ", ".join(literal(name) for name in names)
    here = f"{noun}_SCHEMA = {literal(database)} AND {noun}_NAME IN ({listed})"
    only = f" AND ROUTINE_TYPE = '{kind}'" if noun == "ROUTINE" else ""
    return f"(SELECT COUNT(*) FROM information_schema.{noun}S WHERE {here}{only}) = {len(names)}"


def sessions(database: str, kind: EngineKind) -> str:
    """How many client sessions other than ours have chosen a database."""
    view = "performance_schema.processlist" if kind is EngineKind.MYSQL else "information_schema.PROCESSLIST"
    return f"SELECT COUNT(*) FROM {view} WHERE DB = {literal(database)} AND ID <> CONNECTION_ID()"


def condition(column: str, low: int | None, high: int | None) -> str:
    """That a number in a column is ``low`` or more and less than ``high``."""
    name = quote(column)
    parts = (f"{name} >= {low}" if low is not None else "", f"{name} < {high}" if high is not None else "")
    return " AND ".join(filter(None, parts))


def mark(database: str, table: str) -> str:
    """Put a table into a database that says: not everything is in it yet."""
    return f"CREATE TABLE {quote(database)}.{quote(table)} (restoring INT PRIMARY KEY)"


def unmark(database: str, table: str) -> str:
    """Take the table of ``mark`` away."""
    return f"DROP TABLE {quote(database)}.{quote(table)}"


def is_marked(database: str, table: str) -> str:
    """1 or 0."""
    here = f"TABLE_SCHEMA = {literal(database)} AND TABLE_NAME = {literal(table)}"
    return f"SELECT COUNT(*) FROM information_schema.TABLES WHERE {here}"


def tables_of(database: str) -> str:
    """Name and kind of each table, view and sequence of a database."""
    return f"SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(database)}"


def count_rows(database: str, table: str) -> str:
    """One row, one column: how many rows a table has."""
    return f"SELECT COUNT(*) FROM {quote(database)}.{quote(table)}"


def has_rows(database: str, table: str) -> str:
    """1 or 0."""
    return f"SELECT COUNT(*) FROM (SELECT 1 FROM {quote(database)}.{quote(table)} LIMIT 1) found"


def outside_references(database: str, tables: Sequence[str]) -> str:
    """Database and name of each table outside of these whose foreign keys point to one of them."""
    listed = ", ".join(literal(table) for table in tables)
    here = f"CONSTRAINT_SCHEMA = {literal(database)} AND TABLE_NAME IN ({listed})"
    return (
        "SELECT DISTINCT CONSTRAINT_SCHEMA, TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE UNIQUE_CONSTRAINT_SCHEMA = {literal(database)} AND REFERENCED_TABLE_NAME IN ({listed})"
        f" AND NOT ({here}) ORDER BY 1, 2"
    )
