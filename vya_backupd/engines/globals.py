"""Users, roles and grants of an instance: the records that travel between engines and those who ask and run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GlobalsTarget:
    """The server that globals are restored onto.

    ``roles``: names that exist (MySQL and MariaDB: as ``user@host``; a MariaDB role has an empty host).
    ``login``: the account that we are logged in as, in the same form; its password and rights stay what they are.
    ``bootstrap``: PostgreSQL's role number 10, which owns the cluster. ``may_proxy``: whether we may let accounts act
    for others (MySQL and MariaDB give that right apart from all others).
    """

    roles: frozenset[str] = frozenset()
    tablespaces: frozenset[str] = frozenset()
    login: str = ""
    bootstrap: str = ""
    may_proxy: bool = True


@dataclass(frozen=True, slots=True)
class GlobalsScript:
    """SQL for the client, and sentences for the operator about what was left out and why.

    ``text`` runs before databases are restored, ``after`` when they are (MySQL and MariaDB grant rights on a single
    table or routine only when it exists).
    """

    text: bytes
    notes: tuple[str, ...] = ()
    after: bytes = b""
