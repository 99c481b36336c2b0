"""SQL around a restore into PostgreSQL: create, drop, look, exchange."""

# Every value goes through quote or literal: DDL takes no parameters.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping

from vya_backupd.engines.swap import SwapPlan, SwapStep
from vya_backupd.errors import UsageError
from vya_backupd.model.instance import ServerFacts

ROLES = "SELECT rolname::text FROM pg_catalog.pg_roles"
EXTENSIONS = "SELECT name::text, default_version::text FROM pg_catalog.pg_available_extensions"
TABLESPACES = "SELECT spcname::text FROM pg_catalog.pg_tablespace"
MAINTENANCE = "postgres"
"""The database to be connected to while others are created and renamed."""

_PROVIDERS = frozenset({"libc", "icu", "builtin"})
_FIRST_USER_OID = 16384
"""Objects below this number came with the server (FirstNormalObjectId, src/include/access/transam.h)."""


def quote(name: str) -> str:
    """An identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant that means the same whatever standard_conforming_strings is."""
    escaped = text.replace("'", "''")
    if "\\" in text:
        return " E'" + escaped.replace("\\", "\\\\") + "'"
    return f"'{escaped}'"


def create_database(database: str, properties: Mapping[str, str], server: ServerFacts) -> list[str]:
    """CREATE DATABASE from template0 with recorded encoding, provider, locale and, where it exists, tablespace.

    ``properties``: encoding, lc_collate, lc_ctype, locale_provider (libc, icu, builtin), locale, icu_rules,
    tablespace. What the server is too old for is left out; what it cannot do otherwise it refuses itself.
    """
    clauses = ["TEMPLATE = template0"]
    for key, clause in (("encoding", "ENCODING"), ("lc_collate", "LC_COLLATE"), ("lc_ctype", "LC_CTYPE")):
        if properties.get(key):
            clauses.append(f"{clause} = {literal(properties[key])}")
    clauses += _provider(properties, server.version[0])
    if properties.get("tablespace", "pg_default") != "pg_default":
        clauses.append(f"TABLESPACE = {quote(properties['tablespace'])}")
    return [f"CREATE DATABASE {quote(database)} WITH {' '.join(clauses)}"]


def _provider(properties: Mapping[str, str], major: int) -> list[str]:
    provider = properties.get("locale_provider", "")
    if not provider or major < 15:
        return []
    if provider not in _PROVIDERS:  # it stands in no quotes, and the file may be anybody's
        raise UsageError(f"{provider!r} is no locale provider that is known")
    clauses = [f"LOCALE_PROVIDER = {provider}"]
    locale_clause = {"icu": "ICU_LOCALE", "builtin": "BUILTIN_LOCALE"}.get(provider)
    if locale_clause and properties.get("locale"):
        clauses.append(f"{locale_clause} = {literal(properties['locale'])}")
    if provider == "icu" and properties.get("icu_rules") and major >= 16:
        clauses.append(f"ICU_RULES = {literal(properties['icu_rules'])}")
    return clauses


def drop_database(database: str) -> list[str]:
    """DROP DATABASE, also of one that is marked as a template."""
    name = quote(database)
    block = (
        "DO $do$ BEGIN IF EXISTS (SELECT 1 FROM pg_catalog.pg_database"
        f" WHERE datname = {literal(database)} AND datistemplate) THEN"
        f" EXECUTE {literal(f'ALTER DATABASE {name} IS_TEMPLATE false')}; END IF; END $do$"
    )
    return [block.replace("$do$", _tag(database)), f"DROP DATABASE IF EXISTS {name}"]


def _tag(text: str) -> str:
    """A dollar quote that does not occur in the text."""
    number = 0
    while f"$do{number}$" in text:
        number += 1
    return f"$do{number}$"


def exists(database: str) -> str:
    """1 or 0."""
    return f"SELECT count(*) FROM pg_catalog.pg_database WHERE datname = {literal(database)}"


def closed(database: str) -> str:
    """1 when it is there and allows no connections, else 0."""
    return f"{exists(database)} AND NOT datallowconn"


def object_count() -> str:
    """How many objects of users the current database has."""
    catalogs = (
        "pg_class", "pg_proc", "pg_type", "pg_namespace", "pg_extension", "pg_largeobject_metadata", "pg_operator",
        "pg_cast", "pg_collation", "pg_event_trigger", "pg_publication", "pg_foreign_data_wrapper", "pg_ts_config",
    )  # fmt: skip
    parts = (f"(SELECT count(*) FROM pg_catalog.{name} WHERE oid >= {_FIRST_USER_OID})" for name in catalogs)
    return "SELECT " + " + ".join(parts)


def obstacles(database: str) -> str:
    """One row for each thing in the database that DROP DATABASE would stumble over: what it is, and its name."""
    name = literal(database)
    inside = f"(SELECT oid FROM pg_catalog.pg_database WHERE datname = {name})"
    return (
        f"SELECT 'subscription', subname::text FROM pg_catalog.pg_subscription WHERE subdbid = {inside}"
        f" UNION ALL SELECT 'replication slot', slot_name::text FROM pg_catalog.pg_replication_slots"
        f" WHERE database = {name}"
        f" UNION ALL SELECT 'prepared transaction', gid FROM pg_catalog.pg_prepared_xacts WHERE database = {name}"
    )


def detach_subscriptions() -> str:
    """Remove the subscriptions of the current database, which keep it from being dropped; nothing is said to others."""
    return (
        "DO $do$ DECLARE s name; BEGIN FOR s IN SELECT subname FROM pg_catalog.pg_subscription"
        " WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) LOOP"
        " EXECUTE pg_catalog.format('ALTER SUBSCRIPTION %I DISABLE', s);"
        " EXECUTE pg_catalog.format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', s);"
        " EXECUTE pg_catalog.format('DROP SUBSCRIPTION %I', s); END LOOP; END $do$"
    )


def sessions(database: str) -> str:
    """How many client sessions other than ours are connected to a database."""
    return (
        "SELECT count(*) FROM pg_catalog.pg_stat_activity"
        f" WHERE datname = {literal(database)} AND pid <> pg_catalog.pg_backend_pid()"
    )


def disconnect(database: str) -> str:
    """End all other sessions of a database."""
    return (
        "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity"
        f" WHERE datname = {literal(database)} AND pid <> pg_catalog.pg_backend_pid()"
    )


def swap(original: str, restored: str, aside: str, *, end_sessions: bool) -> SwapPlan:
    """Exchange by two renames, while nobody can connect to either database.

    The restored database is closed, too: somebody who connected to it in between would hold the second rename up.
    """
    steps: list[SwapStep] = []
    for name in (original, restored):
        steps.append(SwapStep(f"close {name}", allow(name, "false"), allow(name, "true")))
        if end_sessions or name == restored:
            steps.append(SwapStep(f"end the sessions of {name}", disconnect(name)))
    steps += [_rename(original, aside), _rename(restored, original)]
    steps.append(SwapStep(f"open {original}", allow(original, "true"), allow(original, "false")))
    return SwapPlan(aside, tuple(steps), tuple(drop_database(aside)), way_back(original, restored, aside))


def way_back(original: str, restored: str, aside: str) -> str:
    """One statement that gives the original its name again, after an exchange that ended anywhere."""

    def stands(name: str) -> str:
        return f"EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {literal(name)})"

    rename = "ALTER DATABASE {} RENAME TO {};"
    tag = _tag(original + restored + aside)
    return (
        f"DO {tag} BEGIN IF {stands(aside)} THEN"
        f" IF {stands(original)} THEN {rename.format(quote(original), quote(restored))} END IF;"
        f" {rename.format(quote(aside), quote(original))} END IF;"
        f" {allow(original, 'true')}; END {tag}"
    )


def allow(name: str, answer: str) -> str:
    """Whether the database lets anybody in: ``true`` or ``false``."""
    return f"ALTER DATABASE {quote(name)} WITH ALLOW_CONNECTIONS {answer}"


def _rename(old: str, new: str) -> SwapStep:
    def rename(one: str, other: str) -> str:
        return f"ALTER DATABASE {quote(one)} RENAME TO {quote(other)}"

    return SwapStep(f"rename {old} to {new}", rename(old, new), rename(new, old))
