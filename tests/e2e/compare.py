"""Are two databases the same? The servers' own dump tools and checksums of rows decide, none of our code.

``dump`` is the whole definition and content as the server's tool writes it, without what differs from run to run.
``rows`` does not depend on the order in which rows lie on disk.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess

from vya_backupd.testing.servers import PrivateServer

_PER_RUN = re.compile(r"^\\(un)?restrict |^-- (Dump completed|Host:|Started on|Completed on)")
_ROLE_SETTING = re.compile(r"^ALTER ROLE .* IN DATABASE ")
_MYSQL_OPTIONS = ("--routines", "--events", "--triggers", "--single-transaction", "--hex-blob", "--skip-dump-date")


def dump(server: PrivateServer, database: str, *options: str) -> list[str]:
    """Lines of the server's own dump of one database. Of PostgreSQL, name ``--create`` for its properties."""
    tool = "pg_dump" if server.kind == "postgresql" else "dump"
    given = [*options, f"--dbname=dbname='{_escaped(database)}'"]
    if server.kind != "postgresql":
        given = [*_MYSQL_OPTIONS, *(_newer_options(server)), *options, "--", database]
    return _lines(server, tool, given)


def globals_dump(server: PrivateServer) -> list[str]:
    """Roles, memberships, settings and tablespaces of a PostgreSQL server; the admin's own rights left out."""
    lines = _lines(server, "pg_dumpall", ["--globals-only"])
    # Older tools name the folder of a tablespace inside the data directory, which has a number for a name.
    lines = [re.sub(r"LOCATION 'pg_tblspc/\d+'", "LOCATION ''", line) for line in lines]
    return [line for line in lines if not line.startswith(f"ALTER ROLE {server.admin_user} WITH ")]


def rows(server: PrivateServer, database: str) -> dict[str, tuple[str, ...]]:
    """Of each table (and materialized view, and large object): how many rows, and a checksum of all of them."""
    if server.kind == "postgresql":
        return _postgresql_rows(server, database)
    names = server.sql(
        "select table_name from information_schema.tables"
        f" where table_schema = '{database}' and table_type = 'BASE TABLE'"
    )
    quoted = [server.quote_name(name) for (name,) in names]
    return {name: server.sql(f"checksum table {name} extended", database)[0][1:] for name in quoted}


def assert_equal(one: list[str], other: list[str]) -> None:
    """The same lines; else the failure shows those that differ."""
    found = list(difflib.unified_diff(one, other, "original", "restored", lineterm="", n=2))
    assert not found, "\n".join(found[:200])


def assert_same(one: PrivateServer, first: str, other: PrivateServer, second: str) -> None:
    """Same definitions, same properties under the other name, same rows."""
    options = ["--create"] if one.kind == "postgresql" else []
    original = [line.replace(first, second) for line in dump(one, first, *options)]
    assert_equal(original, dump(other, second, *options))
    assert_same_rows(one, first, other, second)


def assert_same_rows(one: PrivateServer, first: str, other: PrivateServer, second: str) -> None:
    """The same tables with the same rows; else the failure names the tables."""
    original, restored = rows(one, first), rows(other, second)
    assert original, f"{first} has no tables: that compares nothing"
    different = {name for name in original.keys() | restored.keys() if original.get(name) != restored.get(name)}
    assert not different, different


def _postgresql_rows(server: PrivateServer, database: str) -> dict[str, tuple[str, ...]]:
    names = server.sql(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind in ('r', 'm') and c.relpersistence <> 't' and c.relispopulated"
        " and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'",
        database,
    )
    # Names in values of type regclass are written as seen from the search path, which may be the database's own.
    queries = ["set search_path = pg_catalog"]
    queries += [
        f'select {_literal(name)}, count(*), sum(hashtextextended("~ row"::text, 0)::numeric)'
        f' from only {name} as "~ row"'
        for (name,) in names
    ]
    queries.append("select 'lo ' || oid, length(lo_get(oid)), md5(lo_get(oid)) from pg_largeobject_metadata")
    return {row[0]: row[1:] for row in server.sql(";\n".join(queries), database)}


def _lines(server: PrivateServer, tool: str, options: list[str]) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    if server.kind == "postgresql":
        environment |= {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.admin_user}
        environment |= {"PGPASSWORD": server.admin_password, "PGCLIENTENCODING": "UTF8"}
        command = [str(server.tools[tool]), *options]
    else:
        environment["MYSQL_PWD"] = server.admin_password
        place = [f"--host={server.host}", f"--port={server.port}", f"--user={server.admin_user}"]
        command = [str(server.tools[tool]), "--no-defaults", *place, *options]
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    text = done.stdout.decode("utf-8", "surrogateescape")
    return _with_settings_sorted([line for line in text.split("\n") if not _PER_RUN.match(line)])


def _with_settings_sorted(lines: list[str]) -> list[str]:
    """pg_dump lists the settings of roles in one database in the order of the roles' numbers, which no dump keeps."""
    settings = sorted(line for line in lines if _ROLE_SETTING.match(line))
    places = (at for at, line in enumerate(lines) if _ROLE_SETTING.match(line))
    result = list(lines)
    for at, line in zip(places, settings, strict=True):
        result[at] = line
    return result


def _newer_options(server: PrivateServer) -> list[str]:
    return ["--set-gtid-purged=OFF", "--column-statistics=0"] if server.kind == "mysql" else []


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
