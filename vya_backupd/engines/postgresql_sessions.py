"""Several sessions of psql that restore one database between them."""

from __future__ import annotations

from dataclasses import replace

from vya_backupd.engines.postgresql_sql import literal
from vya_backupd.model.command import Command

FREE_SESSIONS = """
    SELECT least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database),
        CASE WHEN r.rolsuper OR r.rolconnlimit < 0 THEN 64 ELSE r.rolconnlimit
            - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user) END)
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"""
"""One row, one column: how many more sessions the account may open, beside the one that asks."""
_SILENT = "--output=/dev/null"


def answering(command: Command) -> Command:
    """The client's command, printing the rows of queries to standard output."""
    return replace(command, argv=(*(part for part in command.argv if part != _SILENT), "--tuples-only"))


def mark(token: str) -> bytes:
    r"""A statement that prints a line with the token. It is SQL: ``\restrict`` has switched psql's own commands off."""
    return f"SELECT '{token}';\n".encode("ascii")


def end_sessions(database: str) -> str:
    """End what the server still does for clients of ours that are gone: an index would be built to its end."""
    return (
        "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity"  # noqa: S608 - a literal
        f" WHERE datname = {literal(database)} AND application_name = 'vya-backupd'"
        " AND pid <> pg_catalog.pg_backend_pid()"
    )
