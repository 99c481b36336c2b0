"""Whether two databases of one private server hold the same: row by row, and by the server's own dump tool.

Rows are compared by key and digest, since a restore may lay them down in another order. The tool's dumps then compare
everything else: definitions, privileges, comments, large objects, order of columns.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.testing.servers import PrivateServer

_MOVING_LINES = re.compile(rb"^(\\(un)?restrict .*|-- Dumped (from|by) .*|-- Dump completed.*)\n", re.MULTILINE)
"""Lines of a dump that differ between two dumps of one database."""
_KEYED = {
    "postgresql": """
        SELECT format('%I.%I', n.nspname, c.relname),
               (SELECT string_agg(format('%I', a.attname), ', ' ORDER BY array_position(i.indkey::int2[], a.attnum))
                FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                WHERE i.indrelid = c.oid AND i.indisprimary), ''
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1""",
    "mysql": """
        SELECT concat('`', replace(t.TABLE_NAME, '`', '``'), '`'),
               (SELECT group_concat(concat('`', COLUMN_NAME, '`') ORDER BY ORDINAL_POSITION)
                FROM information_schema.KEY_COLUMN_USAGE k WHERE k.TABLE_SCHEMA = t.TABLE_SCHEMA
                AND k.TABLE_NAME = t.TABLE_NAME AND k.CONSTRAINT_NAME = 'PRIMARY'),
               (SELECT group_concat(concat('coalesce(hex(cast(`', COLUMN_NAME, '` AS binary)), \\'-\\')')
                                    ORDER BY ORDINAL_POSITION)
                FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME)
        FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = database() AND t.TABLE_TYPE = 'BASE TABLE' ORDER BY 1""",
}


@dataclass(frozen=True, slots=True)
class TableDifference:
    """One table on both sides: how many rows are the same, changed, or on one side only."""

    table: str
    same: int
    changed: int
    lost: int
    added: int

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return self.changed == self.lost == self.added == 0


def row_digests(server: PrivateServer, database: str) -> dict[str, dict[str, str]]:
    """For every table: key of each row → digest of the whole row. A table without a primary key has the rows as keys.

    Raises:
        ServerError: the server refused a query.
    """
    postgresql = server.kind == "postgresql"
    widen = "" if postgresql else "SET SESSION group_concat_max_len = 1000000; "
    tables = server.sql(widen + _KEYED["postgresql" if postgresql else "mysql"], database)
    return {table: _digests_of(server, database, table, key, columns) for table, key, columns in tables}


def _digests_of(server: PrivateServer, database: str, table: str, key: str, columns: str) -> dict[str, str]:
    if server.kind == "postgresql":
        named = f"concat_ws(',', {key})" if key != "NULL" else "t::text"
        query = f"SELECT {named}, md5(t::text) FROM ONLY {table} t"
    else:
        named = f"concat_ws(',', {key})" if key != "NULL" else f"sha2(concat_ws(',', {columns}), 256)"
        query = f"SELECT {named}, sha2(concat_ws(',', {columns}), 256) FROM {table} t"
    return {row[0]: row[1] for row in server.sql(query, database)}


def compare_rows(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[TableDifference]:
    """The differences of two answers of ``row_digests``, for each table of either."""
    return [
        _difference(table, before.get(table, {}), after.get(table, {}))
        for table in sorted(before.keys() | after.keys())
    ]


def _difference(table: str, before: dict[str, str], after: dict[str, str]) -> TableDifference:
    both = before.keys() & after.keys()
    same = sum(before[key] == after[key] for key in both)
    return TableDifference(table, same, len(both) - same, len(before) - len(both), len(after) - len(both))


def own_dump(server: PrivateServer, database: str, *, create: bool = False) -> bytes:
    """What the server's own tool dumps of a database, without the lines that no two dumps share.

    With ``create`` the database itself too: its name, and what is set on it.

    Raises:
        RuntimeError: the tool failed.
    """
    options = server.directory / "compare.cnf"
    options.touch(mode=0o600)
    try:
        if server.kind == "postgresql":
            dumped = _pg_dump(server, database, options, create=create)
        else:
            dumped = _mysqldump(server, database, options, create=create)
    finally:
        options.unlink()
    return _MOVING_LINES.sub(b"", dumped)


def _pg_dump(server: PrivateServer, database: str, passfile: Path, *, create: bool) -> bytes:
    passfile.write_text(f"*:*:*:*:{server.admin_password}\n")
    environment = dict(os.environ) | {
        "PGPASSFILE": str(passfile),
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.admin_user,
        "PGDATABASE": database,
    }
    return _output([str(server.tools["pg_dump"]), *(["--create"] if create else [])], environment)


def _mysqldump(server: PrivateServer, database: str, options: Path, *, create: bool) -> bytes:
    options.write_text(
        f'[client]\nuser={server.admin_user}\npassword="{server.admin_password}"\nsocket={server.socket}\n'
    )
    named = ["--databases", database] if create else ["--", database]
    what = ["--routines", "--events", "--triggers", "--hex-blob", "--skip-comments", "--order-by-primary"]
    return _output([str(server.tools["dump"]), f"--defaults-file={options}", *what, *named], dict(os.environ))


def _output(command: list[str], environment: dict[str, str]) -> bytes:
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        message = f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()}"
        raise RuntimeError(message)
    return done.stdout
