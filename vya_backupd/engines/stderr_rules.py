"""The rules by which ``stderr.classify`` reads each vendor's tools and servers. Texts are those of the C locale."""

from __future__ import annotations

from vya_backupd.engines.stderr import (
    HINT_BUSY,
    HINT_CHANGED,
    HINT_CONNECT,
    HINT_LOCK,
    HINT_LOGIN,
    HINT_LOST,
    HINT_RIGHT,
    HINT_TLS,
    rule,
)

_STANDBY = " A standby does so, too, when a dump holds up its changes: set hot_standby_feedback or max_standby_streaming_delay there."
"""Between two statements of a dump, a standby's reason often does not get through to the tool."""

POSTGRESQL_RULES = (
    # pg_dump asks for a list of everything first; what was dropped or renamed since is told by one of these.
    rule(
        r"\bpg_dump: (?:error|detail): .*ERROR: +(?:(?:relation|column|type|schema|sequence|function) .* does not exist"
        r"|could not open relation with OID|cache lookup failed|tuple concurrently)",
        "tables_changed",
        HINT_CHANGED,
        retryable=True,
    ),
    # pg_dump catches SIGTERM and SIGINT, says this, and ends with status 1.
    rule(r"\bpg_\w+: terminated by user", "tool_killed", "Somebody sent the tool a signal.", retryable=True),
    rule(
        r"password authentication failed|no password supplied|FATAL: +role \".*\" (does not exist|is not permitted to log in)"
        r"|(peer|ident|gss|ldap|pam|cert|certificate|radius) authentication failed|no pg_hba\.conf entry"
        r"|pg_hba\.conf rejects connection",
        "login_refused",
        HINT_LOGIN,
    ),
    rule(
        r"certificate verify failed|server does not support SSL|SSL error|SSL connection is required"
        r"|root certificate file .* does not exist|could not load|server certificate for .* does not match host name"
        r"|tls alert|private key file|requires a valid client certificate|SSL support is not compiled in"
        r"|channel binding check failed",  # the server's own certificate was not the one that the client saw
        "tls_failed",
        HINT_TLS,
    ),
    rule(
        r"ERROR: +role \".*\" does not exist",
        "restore_failed",
        "Restore the users of the backed-up server first (restore --globals), create that role, or do without:"
        " --no-owner, --no-privileges.",
    ),
    rule(
        r"extension \".*\" is not available|could not open extension control file",
        "restore_failed",
        "Install the extension's package on the server, or leave it out with --skip-extension NAME.",
    ),
    rule(
        r"invalid command \\(?:un)?restrict",
        "restore_failed",
        "This psql is older than the pg_dump that wrote the dump: install the newest minor release of its package.",
    ),
    rule(
        r"directory \".*\" (does not exist|already in use as a tablespace)|could not set permissions on directory"
        r"|tablespace \".*\" does not exist|invalid value for parameter \"default_tablespace\"",
        "restore_failed",
        "Make the tablespace's folder on the server, owned by its account, create the tablespace elsewhere by hand, or do"
        " without: --no-tablespaces.",
    ),
    rule(r"database \".*\" does not exist", "unknown_database", "It may have been dropped or renamed meanwhile."),
    rule(
        r"too many clients|remaining connection slots|too many connections",
        "connection_refused",
        HINT_BUSY,
        retryable=True,
    ),
    rule(r"the database system is (starting up|not yet accepting)", "connection_refused", HINT_CONNECT, retryable=True),
    # Before the next: between two statements a standby ends the session, "terminating connection due to conflict with".
    rule(
        r"conflict with recovery",
        "server_error",
        "The standby cancelled the dump to apply changes: set hot_standby_feedback or max_standby_streaming_delay there.",
        retryable=True,
    ),
    rule(
        r"server closed the connection unexpectedly|terminating connection|the database system is (shutting down|in recovery)"
        r"|connection to server was lost|could not (receive|send) data|lost synchronization with server"
        r"|connection reset by peer|ssl connection has been closed",
        "server_lost",
        HINT_LOST + _STANDBY,
        retryable=True,
    ),
    rule(
        r"connection refused|could not translate host name|failed to resolve host|timeout expired|no route to host|network is unreachable"
        r"|connection timed out|is the server running|could not connect to server",
        "connection_refused",
        HINT_CONNECT,
        retryable=True,
    ),
    rule(
        r"due to lock timeout|could not obtain lock|statement timeout[^$]*LOCK TABLE",
        "lock_timeout",
        HINT_LOCK,
        retryable=True,
    ),
    rule(r"deadlock detected", "lock_timeout", HINT_LOCK, retryable=True),
    rule(
        r"row-level security polic",
        "insufficient_privilege",
        "Give the backup account BYPASSRLS: without it rows would be missing from the dump.",
    ),
    rule(
        r"permission denied|must be (superuser|owner)|only (superusers|roles with)",
        "insufficient_privilege",
        HINT_RIGHT,
    ),
    rule(
        r"max_locks_per_transaction",
        "server_error",
        "The database has more tables than the server can lock at once: raise max_locks_per_transaction.",
    ),
    rule(
        r"server version mismatch",
        "tool_missing",
        "The dump program is older than the server: install the server's own version, or name it under tools.postgresql.",
    ),
    rule(r"no space left on device|disk full", "server_error", "A disk of the server is full."),
)


def _numbers(*numbers: int, words: str = "") -> str:
    """A pattern for error numbers as MySQL's programs print them, and never for a line number; ``words`` beside."""
    either = "|".join(map(str, numbers))
    return rf"error:? (?:{either})\b|\((?:{either})\)" + (f"|{words}" if words else "")


MYSQL_RULES = (
    rule(
        _numbers(
            1045, 1698, 1862, 1820, 2059, 2061, 3118, 4151, 1251, 1130, words="access denied for user .*using password"
        ),
        "login_refused",
        HINT_LOGIN,
    ),
    rule(
        _numbers(2026, 3159, words="SSL connection error|certificate verif|require_secure_transport"),
        "tls_failed",
        HINT_TLS,
    ),
    rule(
        _numbers(1049, words="unknown database"), "unknown_database", "It may have been dropped or renamed meanwhile."
    ),
    rule(_numbers(1040, 1203, 1226, 1129), "connection_refused", HINT_BUSY, retryable=True),
    rule(
        _numbers(
            2006, 2013, 2055, 1053, 1927, 1317, 1152, 1158, 1159, 1160, 1161, 4031,
            words="lost connection|server has gone away",
        ),
        "server_lost",
        HINT_LOST,
        retryable=True,
    ),
    rule(_numbers(2001, 2002, 2003, 2005), "connection_refused", HINT_CONNECT, retryable=True),
    rule(_numbers(1205, 1213, 1207), "lock_timeout", HINT_LOCK, retryable=True),
    rule(
        _numbers(1412, words=r"table definition has changed|error in field count for table|dump: .*\b1146\b"),
        "tables_changed",
        HINT_CHANGED,
        retryable=True,
    ),
    rule(_numbers(3024, 1969, 1028), "server_error", "The server limits the time of statements.", retryable=True),
    rule(
        _numbers(1153, 2020, words="max_allowed_packet"),
        "server_error",
        "A value is larger than the server's max_allowed_packet: raise it there.",
    ),
    rule(
        r"SET_USER_ID|SET_ANY_DEFINER|ALLOW_NONEXISTENT_DEFINER|\bSET USER privilege",
        "insufficient_privilege",
        "What runs in the name of others takes a right of its own: grant it, or --definer strip makes it the restorer's.",
    ),
    rule(
        _numbers(1044, 1142, 1143, 1227, 1370, 1419, 1611, words="insufficient privileges|access denied"),
        "insufficient_privilege",
        HINT_RIGHT,
    ),
    rule(
        r"errno: 24\b|too many open files",
        "server_error",
        "The server has no more files to open: raise its open_files_limit (LimitNOFILE of its service), or lower"
        " table_open_cache.",
    ),
    rule(_numbers(1021, 1114, words="errno: 28"), "server_error", "A disk of the server is full."),
)  # fmt: skip
