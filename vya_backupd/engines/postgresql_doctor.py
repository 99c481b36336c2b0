"""What the doctor asks of a PostgreSQL server, and what it makes of the answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vya_backupd.engines.doctor_facts import SEE
from vya_backupd.engines.postgresql_rights import OURS, Account
from vya_backupd.engines.postgresql_sql import quote
from vya_backupd.model.finding import Finding, broken, doubtful, fine

_FULL = 0.75
"""Of the lock table, what one dump may fill: others need locks, too."""

LINE = """
    SELECT coalesce((SELECT version FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid() AND ssl), ''),
           pg_catalog.clock_timestamp()
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
LOCKED = f"""
    SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f') AND {OURS}
"""  # noqa: S608 - constants of this module
"""How many relations a dump of the current database holds a lock on, at most."""


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
