"""What we ask MySQL and MariaDB."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from vya_backupd.engines import mysql_rights
from vya_backupd.engines.globals import GlobalsTarget
from vya_backupd.engines.mysql_definers import PROPERTY, to_property
from vya_backupd.engines.mysql_globals import SYSTEM_ACCOUNTS, Account, quoted_account, script, with_certificate
from vya_backupd.engines.mysql_rights import Grants
from vya_backupd.engines.mysql_sql import quote
from vya_backupd.engines.tools import parse_numbers
from vya_backupd.errors import NotFoundError
from vya_backupd.model.instance import DatabaseFacts, EngineKind, ServerFacts
from vya_backupd.probe.connect import Row, Session
from vya_backupd.probe.postgresql import listed

_TRANSACTIONAL = frozenset({"INNODB", "ROCKSDB", "TOKUDB", "XTRADB", "NDBCLUSTER"})
_ROLE = re.compile(r"GRANT [`']")
_PROXY = re.compile(r"GRANT PROXY ON (?:``@``|''@''|''@'%'|``@`%`) TO .* WITH GRANT OPTION")
_SHORTEST_WRITE_TIMEOUT = 60
_UNRESOLVED = frozenset({1356, 1449, 1370, 1146, 1054, 1305})
"""Errors of views: something they name, or the account in whose name they run, is gone or has lost its rights."""
_HIDDEN = frozenset({1142, 1143})
"""Errors of rights: the account may not look at the view."""


async def server(session: Session) -> ServerFacts:
    """Vendor, version, rights of the account, and settings that endanger a dump."""
    found = await release(session)
    superuser = bool({"ALL PRIVILEGES", "SUPER"} & (await grants(session)).everywhere())
    warnings = []
    write_timeout = int(await session.value("SELECT @@global.net_write_timeout"))
    if found.vendor is EngineKind.MARIADB and write_timeout < _SHORTEST_WRITE_TIMEOUT:
        warnings.append(f"net_write_timeout is {write_timeout} s: a dump that waits longer for a slow disk is cut off")
    return replace(found, is_superuser=superuser, warnings=tuple(warnings))


async def release(session: Session) -> ServerFacts:
    """Whose server it is, and of which version; nothing of the account."""
    return (await _release(session))[0]


async def _release(session: Session) -> tuple[ServerFacts, str]:
    """The same, and the account that we are to the server."""
    text, comment, login = (await session.rows("SELECT VERSION(), @@version_comment, CURRENT_USER()"))[0]
    found = re.match(r"\d+(\.\d+)*", str(text))
    version = parse_numbers(found.group()) if found else (0,)
    return ServerFacts(_vendor(text, comment), version, f"{text} ({comment})", is_superuser=False), str(login)


def _vendor(version: object, comment: object) -> EngineKind:
    return EngineKind.MARIADB if "mariadb" in f"{version} {comment}".lower() else EngineKind.MYSQL


async def databases(session: Session) -> list[str]:
    """Every database that the account may see."""
    return [str(name) for (name,) in await session.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")]


async def sizes(session: Session) -> dict[str, int]:
    """Bytes of tables and indexes of each database, by the server's statistics."""
    rows = await session.rows(
        "SELECT TABLE_SCHEMA, SUM(COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0))"
        " FROM information_schema.TABLES GROUP BY TABLE_SCHEMA"
    )
    return {str(name): int(size or 0) for name, size in rows}


async def facts(session: Session, name: str) -> DatabaseFacts:
    """Everything about one database."""
    server, login = await _release(session)
    if server.vendor is EngineKind.MYSQL:
        # It would give sizes that are up to a day old.
        await session.run("SET SESSION information_schema_stats_expiry = 0")
    tables = await session.rows(
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0)"
        " FROM information_schema.TABLES WHERE TABLE_SCHEMA = :name",
        name=name,
    )
    content = await _content(session, name, server)
    views = [str(table) for table, kind, *_ in tables if kind == "VIEW"]
    base = frozenset(str(table) for table, kind, *_ in tables if kind not in ("VIEW", "SYSTEM VIEW"))
    definers = {str(row[0]) for kind in _STORED for row in content[kind]}
    definers |= {str(row[-1]) for row in await _view_definers(session, name, views)}
    unresolved = await _unresolved(session, name, views)
    left_out = [f"the server cannot resolve view {view!r}: only its text is in the backup" for view, _ in unresolved]
    return DatabaseFacts(
        name=name,
        unresolved_views=unresolved,
        size_bytes=sum(int(size) for *_, size in tables),
        tables=tuple(sorted(base)),
        views_count=len(views),
        procedures_count=len(content["ROUTINE"]),
        triggers_count=len(content["TRIGGER"]),
        events_count=len(content["EVENT"]),
        properties=_properties(name, server, content["SCHEMA"], definers),
        warnings=(*_warnings(tables), *left_out, *_short_floats(content["FLOAT"], base)),
        lacks=tuple(mysql_rights.lacks(server, await grants(session, login), name)),
    )


_STORED = ("ROUTINE", "TRIGGER", "EVENT")
_OWN_PROPERTY = {
    EngineKind.MYSQL: ((8, 0, 16), "encryption", "DEFAULT_ENCRYPTION"),
    EngineKind.MARIADB: ((10, 5), "comment", "SCHEMA_COMMENT"),
}
"""What each vendor's databases have beside character set and collation: since which release, our name, the column's."""


_CONTENT = """
    SELECT 'ROUTINE', CONVERT(DEFINER USING utf8mb4), '', ''
      FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = :name
    UNION ALL SELECT 'TRIGGER', CONVERT(DEFINER USING utf8mb4), '', ''
      FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = :name
    UNION ALL SELECT 'EVENT', CONVERT(DEFINER USING utf8mb4), '', ''
      FROM information_schema.EVENTS WHERE EVENT_SCHEMA = :name
    UNION ALL SELECT 'SCHEMA', CONVERT(DEFAULT_CHARACTER_SET_NAME USING utf8mb4),
                               CONVERT(DEFAULT_COLLATION_NAME USING utf8mb4), CONVERT({own} USING utf8mb4)
      FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = :name
    UNION ALL SELECT 'FLOAT', CONVERT(TABLE_NAME USING utf8mb4), CONVERT(COLUMN_NAME USING utf8mb4), ''
      FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = :name AND DATA_TYPE = 'float'
"""
"""Definers of stored programs, the database itself, and its FLOAT columns, in one question, since there may be very many
databases. The servers' lists differ in collation, which must not meet in one answer. A join of COLUMNS with TABLES would
make MariaDB look through all databases, and so would the schema of a trigger, which is always that of its table."""


async def _content(session: Session, name: str, server: ServerFacts) -> dict[str, list[Row]]:
    """What the servers' own lists have of a database, by kind."""
    since, _, column = _OWN_PROPERTY[server.vendor]
    own = column if server.version >= since else "''"
    found: dict[str, list[Row]] = {kind: [] for kind in (*_STORED, "SCHEMA", "FLOAT")}
    for kind, *row in await session.rows(_CONTENT.replace("{own}", own), name=name):
        found[str(kind)].append(tuple(row))
    return found


async def _view_definers(session: Session, name: str, views: Sequence[str]) -> list[Row]:
    """Asked only where there are views: MariaDB opens every table of the database for it."""
    if not views:
        return []
    sql = "SELECT DISTINCT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = :name"
    return await session.rows(sql, name=name)


def _properties(name: str, server: ServerFacts, found: Sequence[Row], definers: Iterable[str]) -> dict[str, str]:
    if not found:
        hint = "It may have been dropped or renamed meanwhile."
        raise NotFoundError(f"the server has no database {name!r} any more", code="unknown_database", hint=hint)
    _, key, _ = _OWN_PROPERTY[server.vendor]
    named = zip(("character_set", "collation", key, PROPERTY), (*found[0], to_property(definers)), strict=True)
    return {each: str(value) for each, value in named if value}


def _short_floats(found: Sequence[Row], tables: Collection[str]) -> list[str]:
    """FLOAT columns: servers print six digits of the up to nine that such a number has, for dump tools as for anybody."""
    columns = [f"{table}.{column}" for table, column, _ in found if str(table) in tables]
    return [f"FLOAT columns keep six digits in a dump, DOUBLE all of them: {listed(columns)}"] if columns else []


async def _unresolved(session: Session, name: str, views: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Views that the server itself cannot make sense of any more, with their text: dump tools stop at them."""
    from asyncmy import errors

    found = []
    for view in views:
        try:
            await session.run(f"SHOW CREATE TABLE {quote(name)}.{quote(view)}")
            await session.run(f"SHOW FIELDS FROM {quote(name)}.{quote(view)}")
        except errors.MySQLError as error:
            if error.args and error.args[0] in _HIDDEN:
                continue  # a lack of rights, which is told as such
            if not error.args or error.args[0] not in _UNRESOLVED:
                raise
            sql = "SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = :db AND TABLE_NAME = :view"
            rows = await session.rows(sql, db=name, view=view)
            found.append((view, str(rows[0][0]) if rows else ""))
    return tuple(found)


def _warnings(tables: Sequence[Row]) -> list[str]:
    loose = [str(name) for name, kind, engine, _ in tables if kind == "BASE TABLE" and is_loose(engine)]
    return [f"not transactional, may change while being dumped: {listed(loose)}"] if loose else []


def is_loose(engine: object) -> bool:
    """Whether a table of this storage engine may change while a transaction reads it."""
    return engine is not None and str(engine).upper() not in _TRANSACTIONAL


async def grants(session: Session, login: str | None = None) -> Grants:
    """What the account may do here, through roles that are active as well. ``login``: its name, where it is known."""
    login = login or str(await session.value("SELECT CURRENT_USER()"))
    lines = [str(line) for (line,) in await session.run("SHOW GRANTS")]
    if any(_ROLE.match(line) for line in lines):
        # MySQL leaves out what the roles give unless they are named; MariaDB knows no USING and tells it by itself.
        roles = str(await session.value("SELECT CURRENT_ROLE()") or "NONE")
        if "@" in roles:
            lines = [str(line) for (line,) in await session.run(f"SHOW GRANTS FOR CURRENT_USER() USING {roles}")]
    return Grants.parse(login, lines)


async def globals_script(session: Session, facts: ServerFacts) -> bytes:
    """Users, roles and grants as SQL.

    Raises:
        ServerError: ``insufficient_privilege`` when the account may not read them.
    """
    if facts.vendor is EngineKind.MARIADB:
        accounts = await _mariadb_accounts(session)
    else:
        accounts = await _mysql_accounts(session)
    return script(accounts, facts.vendor, facts.version_text)


async def _mysql_accounts(session: Session) -> list[Account]:
    # Without it password hashes come out as raw bytes, control characters and all.
    await session.run("SET SESSION print_identified_with_as_hex = ON")
    defaults: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for user, host, role, role_host in await session.rows(
        "SELECT USER, HOST, DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles ORDER BY 1, 2, 3, 4"
    ):
        defaults.setdefault((user, host), []).append((role, role_host))
    accounts = []
    for user, host in await session.rows("SELECT User, Host FROM mysql.user ORDER BY User, Host"):
        if user not in SYSTEM_ACCOUNTS:
            create, grants = await _told(session, user, host)
            accounts.append(Account(user, host, create, grants, tuple(defaults.get((user, host), ()))))
    return accounts


async def _mariadb_accounts(session: Session) -> list[Account]:
    rows = await session.rows("SELECT User, Host, is_role FROM mysql.user ORDER BY is_role DESC, User, Host")
    accounts = []
    for user, host, is_role in rows:
        if user in SYSTEM_ACCOUNTS or (is_role == "Y" and str(user).upper() == "PUBLIC"):
            continue
        if is_role == "Y":
            name = quoted_account(user, "")
            grants = [str(line) for (line,) in await session.run(f"SHOW GRANTS FOR {name}")]
            accounts.append(Account(user, "", None, tuple(grants)))
        else:
            accounts.append(Account(user, host, *await _told(session, user, host)))
    return accounts


async def _certificate(session: Session, user: str, host: str) -> dict[str, str]:
    """What an account's client certificate must say."""
    row = (
        await session.rows(
            "SELECT CAST(x509_subject AS CHAR), CAST(x509_issuer AS CHAR), CAST(ssl_cipher AS CHAR) FROM mysql.user"
            " WHERE User = :user AND Host = :host",
            user=user,
            host=host,
        )
    )[0]
    return {key: str(value) for key, value in zip(("SUBJECT", "ISSUER", "CIPHER"), row, strict=True) if value}


async def _told(session: Session, user: str, host: str) -> tuple[str, tuple[str, ...]]:
    """CREATE USER and grants of an account."""
    name = quoted_account(user, host)
    create = str((await session.run(f"SHOW CREATE USER {name}"))[0][0])
    create = with_certificate(create, await _certificate(session, user, host))
    grants = tuple(str(line) for (line,) in await session.run(f"SHOW GRANTS FOR {name}"))
    return create, grants


async def globals_target(session: Session) -> GlobalsTarget:
    """Accounts that exist, and who we are."""
    rows = await session.rows("SELECT User, Host FROM mysql.user")
    login = str(await session.value("SELECT CURRENT_USER()"))
    ours = [str(line) for (line,) in await session.run("SHOW GRANTS")]
    may_proxy = any(_PROXY.match(line) for line in ours)
    return GlobalsTarget(roles=frozenset(f"{user}@{host}" for user, host in rows), login=login, may_proxy=may_proxy)
