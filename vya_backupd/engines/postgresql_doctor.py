"""What the doctor asks of a PostgreSQL server, and what it makes of the answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vya_backupd.engines.doctor_facts import SEE, listed
from vya_backupd.engines.postgresql_sql import quote
from vya_backupd.model.finding import Finding, broken, doubtful, fine

_OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_MEMBERSHIP = """
    NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                 AND d.objid = c.oid AND d.deptype = 'e')
"""
_FULL = 0.75
"""Of the lock table, what one dump may fill: others need locks, too."""
_READS_ALL_SINCE = 14
"""The major version that came with the role pg_read_all_data."""

LINE = """
    SELECT coalesce((SELECT version FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid() AND ssl), ''),
           pg_catalog.clock_timestamp()
"""
ACCOUNT = """
    SELECT current_user::text, rolsuper, rolsuper OR rolbypassrls,
           current_setting('lo_compat_privileges')::bool,
           current_setting('server_version_num')::int / 10000
      FROM pg_catalog.pg_roles WHERE rolname = current_user
"""
SETTINGS = """
    SELECT current_setting('max_locks_per_transaction')::int
           * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int),
           current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int,
           pg_catalog.pg_is_in_recovery(), current_setting('hot_standby_feedback')::bool,
           (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'max_standby_streaming_delay'),
           coalesce((SELECT string_agg(name || ' ' || current_setting(name), ', ' ORDER BY name)
                       FROM pg_catalog.pg_settings WHERE reset_val <> '0' AND name IN
                       ('idle_in_transaction_session_timeout', 'transaction_timeout', 'lock_timeout')), '')
"""
CLOSED = """
    SELECT datname FROM pg_catalog.pg_database
     WHERE datallowconn AND NOT pg_catalog.has_database_privilege(oid, 'CONNECT')
"""
UNREADABLE = f"""
    SELECT n.nspname, c.relname, pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND {_OURS} AND {_MEMBERSHIP}
       AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                AND CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                    ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
"""  # noqa: S608 - constants of this module
SECURED = f"""
    SELECT n.nspname, c.relname
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND {_OURS}
       AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE'))
"""  # noqa: S608 - constants of this module
LARGE_OBJECTS = """
    SELECT count(*) FROM pg_catalog.pg_largeobject_metadata l
     WHERE NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE')
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT'
                        AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
"""
LOCKED = f"""
    SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f') AND {_OURS}
"""  # noqa: S608 - constants of this module
"""How many relations a dump of the current database holds a lock on, at most."""


@dataclass(frozen=True, slots=True)
class Account:
    """The role that backs up. ``bypasses``: row-level security does not apply to it."""

    name: str
    is_superuser: bool
    bypasses: bool
    lo_compat: bool
    major: int

    @property
    def quoted(self) -> str:
        """As it stands in statements."""
        return quote(self.name)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the server is set to.

    ``lock_room``: entries of the lock table; ``sessions``: what multiplies max_locks_per_transaction. ``timeouts``: those
    that are set, as text. ``standby_delay``: milliseconds until a replica cancels who is in its way; -1 never.
    """

    lock_room: int
    sessions: int
    is_replica: bool
    feedback: bool
    standby_delay: int
    timeouts: str


@dataclass(frozen=True, slots=True)
class DatabaseRights:
    """What the account cannot read in one database, and how much a dump of it locks."""

    unreadable: Sequence[tuple[str, str, bool]]
    secured: Sequence[tuple[str, str]]
    large_objects: int
    locked: int


def account_findings(account: Account, closed: Sequence[str], *, include_globals: bool) -> Iterator[Finding]:
    """What the role may do on the server. ``closed``: databases of ours that let it not in."""
    for name in closed:
        grant = f"GRANT CONNECT ON DATABASE {quote(name)} TO {account.quoted};"
        yield broken("rights", "this account may not connect", SEE, name, (grant,))
    if account.is_superuser:
        yield fine("rights", "the account is a superuser")
    elif include_globals:
        yield doubtful(
            "globals",
            "the account may not read password hashes: roles are backed up without passwords",
            "Restored roles get new passwords then. Only a superuser reads hashes.",
        )


def rights_findings(account: Account, database: str, rights: DatabaseRights) -> list[Finding]:
    """What would be missing in a dump of the database, or stop it."""
    found = []
    if rights.unreadable:
        names = listed([f"{schema}.{name}" for schema, name, _ in rights.unreadable])
        found.append(broken("rights", f"this account may not read {names}", SEE, database, _reading(account, rights)))
    if rights.secured and not account.bypasses:
        names = listed([f"{schema}.{name}" for schema, name in rights.secured])
        bypass = f"ALTER ROLE {account.quoted} BYPASSRLS;"
        text = f"row-level security hides rows of {names}: dumps of this account stop there"
        found.append(broken("rights", text, SEE, database, (bypass,)))
    if rights.large_objects and not (account.is_superuser or account.lo_compat):
        text = f"this account may not read large objects, {rights.large_objects} of them"
        allow = f"ALTER ROLE {account.quoted} SET lo_compat_privileges = on;"
        hint = f"{SEE} The account may then write large objects, too."
        found.append(broken("rights", text, hint, database, (allow,)))
    return found


def _reading(account: Account, rights: DatabaseRights) -> tuple[str, ...]:
    """Statements that let the role read everything, now and later where the server can express that."""
    if account.major >= _READS_ALL_SINCE:
        return (f"GRANT pg_read_all_data TO {account.quoted};",)
    schemas = sorted({schema for schema, _, _ in rights.unreadable})
    return tuple(
        f"GRANT {what} SCHEMA {quote(schema)} TO {account.quoted};"
        for schema in schemas
        for what in ("USAGE ON", "SELECT ON ALL TABLES IN", "SELECT ON ALL SEQUENCES IN")
    )


def lock_finding(settings: ServerSettings, database: str, locked: int) -> Finding | None:
    """Whether the server can hold the locks of a dump; None when there is ample room."""
    if locked <= settings.lock_room * _FULL:
        return None
    wanted = math.ceil(2 * locked / settings.sessions)
    text = f"a dump locks up to {locked:,} relations at once, the server has room for {settings.lock_room:,} locks"
    hint = f"Set max_locks_per_transaction to {wanted} or more, and restart the server."
    return (broken if locked > settings.lock_room else doubtful)("locks", text, hint, database)


def settings_findings(settings: ServerSettings) -> Iterator[Finding]:
    """What of the server's settings touches dumps."""
    if settings.timeouts:
        yield fine("settings", f"dumps switch these off for themselves: {settings.timeouts}")
    if settings.is_replica and not settings.feedback and settings.standby_delay >= 0:
        yield doubtful(
            "settings",
            f"this is a replica that cancels dumps after {settings.standby_delay / 1000:g} s when they hold up replay",
            "Set hot_standby_feedback = on, or a larger max_standby_streaming_delay.",
        )
    elif not settings.timeouts:
        yield fine("settings", f"no time limits; room for {settings.lock_room:,} locks")
