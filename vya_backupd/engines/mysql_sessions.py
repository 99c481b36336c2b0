"""What the sessions of one restore say to MySQL or MariaDB beside the text of the dump."""

# Every value goes through literal: these statements take no parameters.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vya_backupd.engines.mysql_sql import literal
from vya_backupd.model.command import Command
from vya_backupd.model.instance import EngineKind

_LOCK_WAIT = 3600
"""Seconds. The first transaction into an empty table may hold the whole table (MariaDB), for as long as a large row
takes; nobody but our own sessions is in the database."""

NO_LOG = b"SET SESSION sql_log_bin=0;\n"
"""Keeps a session out of the binary log: its replicas lack what it writes. Needs a right of its own."""
_MARIADB = (
    # Rows of a dump satisfied the constraints where they come from, or were let in all the same; on MariaDB, a JSON
    # column is a constraint that parses every document.
    b"/*M!100201 SET SESSION check_constraint_checks=0 */;\n"
    # Tools restore these variables behind a table's rows, which other sessions may have begun.
    b"SET @OLD_AUTOCOMMIT=@@autocommit;\n"
    b"/*M!101100 SET @old_system_versioning_insert_history=@@session.system_versioning_insert_history */;\n"
)


def opening(kind: EngineKind, *, binlog: bool = True) -> bytes:
    """What a session is given behind the dump's header. ``binlog`` False: nothing of it reaches the binary log."""
    settings = b"SET SESSION innodb_lock_wait_timeout=%d;\n" % _LOCK_WAIT
    if kind is EngineKind.MARIADB:
        settings += _MARIADB
    return settings if binlog else NO_LOG + settings


def mark(token: str) -> bytes:
    """A statement whose answer holds the token."""
    return b"SELECT '%s';\n" % token.encode("ascii")


def answering(command: Command) -> Command:
    """The client's command (``client_command``), which then prints an answer as soon as it has it."""
    program, options, *rest = command.argv
    return replace(command, argv=(program, options, "--unbuffered", "--skip-column-names", *rest))


def transaction(texts: Iterator[bytes]) -> Iterator[bytes]:
    """The texts as one transaction: one flush of the log for several statements."""
    yield b"START TRANSACTION;\n"
    yield from texts
    yield b"COMMIT;\n"


def statement(text: bytes) -> bytes:
    """A statement as the client wants it."""
    return text + b";\n"


def own_sessions(database: str, kind: EngineKind) -> str:
    """The numbers of the other sessions that our own account has in a database."""
    view = "performance_schema.processlist" if kind is EngineKind.MYSQL else "information_schema.PROCESSLIST"
    own = "USER = SUBSTRING_INDEX(USER(), '@', 1) AND ID <> CONNECTION_ID()"
    return f"SELECT ID FROM {view} WHERE DB = {literal(database)} AND {own}"


def end_session(number: int) -> str:
    """End a session and what it does just now. One that has ended by itself is an error to the server."""
    return f"KILL {number}"
