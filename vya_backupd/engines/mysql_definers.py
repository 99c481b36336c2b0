"""Definers: the accounts in whose name views, routines, triggers and events run, and what a restore must lend them.

A server takes a view whose definer it does not know. But it refuses a view upon that view, or upon a function of such a
definer, and so it does when the definer exists and has no rights on the database (a copy under another name). While a
dump is fed, unknown definers therefore exist as locked accounts, and known ones have rights on what is being made;
afterwards both are as they were.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vya_backupd.engines.mysql_globals import quoted_account
from vya_backupd.engines.mysql_rights import Grants
from vya_backupd.engines.mysql_sql import literal, quote
from vya_backupd.model.instance import EngineKind, ServerFacts

PROPERTY = "definers"
"""The key among a backup's properties: a JSON list of [user, host]."""
_SUPER_SETS_NO_DEFINERS_SINCE = (11, 0)
_QUOTED = re.compile(r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'", re.DOTALL)


def to_property(definers: Iterable[str]) -> str:
    """The property's value from the server's ``user@host``. MariaDB's roles, which have no host, are left out."""
    parts = sorted(tuple(each.rsplit("@", 1)) for each in definers if "@" in each)
    return json.dumps([[user, host] for user, host in parts if host], ensure_ascii=False) if parts else ""


def of_properties(properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """The definers that a backup names; none when it does not, or says something else there."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        return [(str(user), str(host)) for user, host in json.loads(properties.get(PROPERTY) or "[]")]
    return []


@dataclass(frozen=True, slots=True)
class Loan:
    """What one definer is lent, as statements, and how it is taken back."""

    account: str
    is_new: bool
    lend: tuple[str, ...]
    take_back: tuple[str, ...]


def granted_on(databases: Sequence[str]) -> str:
    """A query for the accounts that have rights of their own on any of these databases: (user, host, database)."""
    names = ", ".join(literal(name) for name in databases)
    return f"SELECT User, Host, REPLACE(Db, '\\\\', '') FROM mysql.db WHERE REPLACE(Db, '\\\\', '') IN ({names})"  # noqa: S608 - literals


def loans(
    definers: Iterable[tuple[str, str]],
    databases: Sequence[str],
    known: Collection[str],
    granted: Collection[tuple[str, str, str]],
    password: str,
) -> list[Loan]:
    """What to lend so that the definers can be named in these databases.

    ``known`` are accounts of the target (``user@host``); ``granted`` (user, host, database) what they have already:
    that is never touched. ``password`` is for locked accounts: nobody logs in with it.
    """
    made = []
    for user, host in definers:
        account, is_new = quoted_account(user, host), f"{user}@{host}" not in known
        wanted = [name for name in databases if (user, host, name) not in granted]
        on = [f"ALL PRIVILEGES ON {_pattern(name)}.*" for name in wanted]
        lend = [f"GRANT {each} TO {account}" for each in on]
        take_back = [f"REVOKE {each} FROM {account}" for each in on]
        if is_new:
            lend.insert(0, f"CREATE USER {account} IDENTIFIED BY '{password}' ACCOUNT LOCK")
            take_back = [f"DROP USER {account}"]
        made.append(Loan(account, is_new, tuple(lend), tuple(take_back)))
    return made


def is_locked(create_user: str) -> bool:
    """Whether an account is locked, by what SHOW CREATE USER says of it."""
    return "ACCOUNT LOCK" in _QUOTED.sub("", create_user)


def _pattern(database: str) -> str:
    """A database's name where GRANT reads a pattern."""
    escaped = "".join(f"\\{character}" if character in "\\%_" else character for character in database)
    return quote(escaped)


def may_set_definers(grants: Grants, server: ServerFacts) -> bool:
    """Whether the account may make views, routines, triggers and events in the name of another."""
    rights = ["SET USER"] if server.vendor is EngineKind.MARIADB else ["SUPER", "SET_USER_ID", "SET_ANY_DEFINER"]
    if server.vendor is EngineKind.MARIADB and server.version < _SUPER_SETS_NO_DEFINERS_SINCE:
        rights.append("SUPER")
    return any(map(grants.may, rights))


def right_to_set_definers(server: ServerFacts) -> str:
    """What to grant for that."""
    if server.vendor is EngineKind.MARIADB:
        return "SET USER" if server.version >= (10, 5, 2) else "SUPER"
    return "SET_ANY_DEFINER" if server.version >= (8, 2) else "SET_USER_ID" if server.version >= (8,) else "SUPER"
