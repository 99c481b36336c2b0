"""What we ask PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vya_backupd.engines import postgresql_rights as rights
from vya_backupd.engines.globals import GlobalsTarget
from vya_backupd.model.instance import DatabaseFacts, EngineKind, Lack, ServerFacts
from vya_backupd.probe.connect import Row, Session

_OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_NO_EXTENSION = (
    "NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d"
    " WHERE d.classid = '{catalog}'::regclass AND d.objid = {oid} AND d.deptype = 'e')"
)
_RELATIONS = f"""
    SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relpersistence <> 't' AND {_OURS}
       AND {_NO_EXTENSION.format(catalog="pg_catalog.pg_class", oid="c.oid")}
"""  # noqa: S608 - constants of this module
_COUNTS = f"""
    SELECT (SELECT count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
             WHERE {_OURS} AND {_NO_EXTENSION.format(catalog="pg_catalog.pg_proc", oid="p.oid")}),
           (SELECT count(*) FROM pg_catalog.pg_trigger WHERE NOT tgisinternal),
           (SELECT count(*) FROM pg_catalog.pg_event_trigger),
           pg_catalog.pg_database_size(pg_catalog.current_database()), pg_catalog.pg_is_in_recovery()
"""  # noqa: S608 - constants of this module

_PLAIN = """
    SELECT datacl IS NULL AND NOT datistemplate AND datconnlimit = -1
           AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_db_role_setting WHERE setdatabase = d.oid)
           AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_shdescription
                            WHERE classoid = 'pg_catalog.pg_database'::regclass AND objoid = d.oid)
           AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_shseclabel
                            WHERE classoid = 'pg_catalog.pg_database'::regclass AND objoid = d.oid)
      FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database()
"""
"""Whether pg_dump --create would print anything of the database beyond its owner."""

_ROLES = """
    WITH here AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
    needed AS (
        SELECT refobjid AS role FROM pg_catalog.pg_shdepend, here
         WHERE refclassid = 'pg_catalog.pg_authid'::regclass
           AND (dbid = here.oid OR (classid = 'pg_catalog.pg_database'::regclass AND objid = here.oid))
        UNION SELECT setrole FROM pg_catalog.pg_db_role_setting, here WHERE setdatabase = here.oid
    )
    SELECT rolname FROM pg_catalog.pg_roles WHERE oid IN (SELECT role FROM needed) ORDER BY 1
"""
_EXTENSIONS = "SELECT extname, extversion FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
_RECORDED = "datcollversion"
"""The column with the version that the collation had when the database was made; since release 15."""
_LONGEST_LIST = 8000
"""Characters; a longer list is not recorded, since it travels in the header of the file, which has an end."""


async def server(session: Session) -> ServerFacts:
    """Version and rights of the account."""
    number, text, superuser = (
        await session.rows(
            "SELECT current_setting('server_version_num')::int, version(),"
            " (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)"
        )
    )[0]
    major, rest = divmod(int(number), 10_000)
    return ServerFacts(EngineKind.POSTGRESQL, (major, rest), str(text), bool(superuser))


async def databases(session: Session) -> list[str]:
    """Every database that can be connected to."""
    rows = await session.rows("SELECT datname FROM pg_catalog.pg_database WHERE datallowconn")
    return [str(name) for (name,) in rows]


async def sizes(session: Session) -> dict[str, int]:
    """Bytes of each database that the account may connect to."""
    rows = await session.rows(
        "SELECT datname, CASE WHEN pg_catalog.has_database_privilege(oid, 'CONNECT')"
        " THEN pg_catalog.pg_database_size(oid) ELSE 0 END FROM pg_catalog.pg_database WHERE datallowconn"
    )
    return {str(name): int(size) for name, size in rows}


async def facts(session: Session, name: str) -> DatabaseFacts:
    """Everything about the database that the session is connected to."""
    columns = _columns(session.server_version // 10_000)
    relations, counts, (described,), extensions, roles, account, ((plain,),) = await session.script(
        (_RELATIONS, _COUNTS, _description(columns), _EXTENSIONS, _ROLES, rights.ACCOUNT, _PLAIN)
    )
    procedures, triggers, events, size, is_standby = counts[0]
    *values, actual_collation = described
    properties = {key: str(value) for key, value in zip(columns, values, strict=True) if value is not None}
    return DatabaseFacts(
        name=name,
        size_bytes=int(size),
        tables=tuple(sorted(f"{schema}.{table}" for schema, table, kind, *_ in relations if kind in "rpf")),
        views_count=sum(kind in "vm" for _, _, kind, *_ in relations),
        procedures_count=int(procedures),
        triggers_count=int(triggers),
        events_count=int(events),
        properties=properties | _needs(extensions, roles),
        warnings=(
            *_standby_warning(relations, is_standby=bool(is_standby)),
            *_collation_warning(properties.get("collation_version"), actual_collation),
        ),
        lacks=await _lacks(session, rights.Account(*account[0])),
        is_plain=bool(plain),
    )


def _columns(major: int) -> dict[str, str]:
    """The properties of a database, each with what it is in the catalog of this release."""
    columns = {
        "encoding": "pg_catalog.pg_encoding_to_char(encoding)",
        "tablespace": "(SELECT spcname FROM pg_catalog.pg_tablespace t WHERE t.oid = dattablespace)",
        "owner": "pg_catalog.pg_get_userbyid(datdba)",
        "lc_collate": "datcollate",
        "lc_ctype": "datctype",
    }
    if major >= 15:
        columns["locale_provider"] = (
            "CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' WHEN 'c' THEN 'libc' END"
        )
        columns["locale"] = "datlocale" if major >= 17 else "daticulocale"
        columns["collation_version"] = _RECORDED
    if major >= 16:
        columns["icu_rules"] = "daticurules"
    return columns


def _description(columns: dict[str, str]) -> str:
    """Asks for these properties, and for the version that the collation has now."""
    actual = "NULL"
    if _RECORDED in columns.values():
        actual = f"CASE WHEN {_RECORDED} IS NOT NULL THEN pg_catalog.pg_database_collation_actual_version(oid) END"
    return (
        f"SELECT {', '.join(columns.values())}, {actual} FROM pg_catalog.pg_database"  # noqa: S608 - names of columns
        " WHERE datname = pg_catalog.current_database()"
    )


def _needs(extensions: Sequence[Row], roles: Sequence[Row]) -> dict[str, str]:
    """Roles and extensions that a server must have to take the database, as JSON; extensions with their versions."""
    versions = {str(name): str(version) for name, version in extensions}
    names = [str(name) for (name,) in roles]
    found = {"roles": names, "extensions": list(versions), "extension_versions": versions}
    needs = {key: json.dumps(value) for key, value in found.items()}
    return {key: text for key, text in needs.items() if len(text) <= _LONGEST_LIST}


async def _lacks(session: Session, account: rights.Account) -> tuple[Lack, ...]:
    """Rights that the account does not have here; nothing more is asked of a superuser."""
    if account.is_superuser:
        return ()
    unreadable, secured, (counts,) = await session.script((rights.UNREADABLE, rights.SECURED, rights.OTHERS))
    tables = [(str(schema), str(name), bool(usable)) for schema, name, usable in unreadable]
    hidden = [(str(schema), str(name)) for schema, name in secured]
    return tuple(rights.lacks(account, rights.DatabaseRights(tables, hidden, *map(int, counts))))


def _standby_warning(relations: Sequence[Row], *, is_standby: bool) -> list[str]:
    """Unlogged tables are on a standby without their rows, and pg_dump does not ask for them there."""
    unlogged = [
        f"{schema}.{name}" for schema, name, kind, persistence in relations if (kind, persistence) == ("r", "u")
    ]
    if not unlogged or not is_standby:
        return []
    return [f"this is a standby, which has no rows of unlogged tables: {listed(unlogged)}"]


def _collation_warning(recorded: str | None, actual: object) -> list[str]:
    if actual in (None, recorded):
        return []
    return [
        f"the collation was version {recorded} when the database was made and is {actual} now: indexes may be wrong"
    ]


def listed(names: Sequence[str], limit: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(sorted(names)[:limit]) + more


async def globals_target(session: Session) -> GlobalsTarget:
    """Roles and tablespaces that exist, and who we are."""
    roles = await session.rows("SELECT rolname FROM pg_catalog.pg_roles")
    spaces = await session.rows("SELECT spcname FROM pg_catalog.pg_tablespace")
    login, bootstrap = (
        await session.rows("SELECT current_user::text, (SELECT rolname::text FROM pg_catalog.pg_roles WHERE oid = 10)")
    )[0]
    return GlobalsTarget(
        frozenset(str(name) for (name,) in roles), frozenset(str(name) for (name,) in spaces), login, bootstrap
    )
