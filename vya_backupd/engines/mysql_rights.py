"""What an account of MySQL or MariaDB may do, read from SHOW GRANTS, and what a backup account lacks.

The two vendors print the same form. A right on everything counts on each database; one on a pattern of names where the
pattern fits. Rights on single tables or columns count for nothing here: a backup account reads whole databases.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from vya_backupd.engines.doctor_facts import SEE
from vya_backupd.engines.mysql_globals import quoted_account
from vya_backupd.engines.mysql_sql import quote
from vya_backupd.model.finding import Finding, Level, broken, doubtful, fine
from vya_backupd.model.instance import EngineKind, Instance, Lack, ServerFacts
from vya_backupd.model.secret import mask_user

NEEDED = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
"""Rights on a database without which objects are left out of a dump, most of them silently."""
_SHOW_ROUTINE_SINCE = (8, 0, 20)
_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?P<on>\S.*?) TO ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Grants:
    """Everything granted: (rights, on what) pairs. ``account`` is (user, host), as the server knows it."""

    account: tuple[str, str]
    held: tuple[tuple[frozenset[str], str], ...]

    @staticmethod
    def parse(login: str, lines: Sequence[str]) -> Grants:
        """From CURRENT_USER() and the lines of SHOW GRANTS."""
        user, _, host = login.rpartition("@")
        found = [match for match in map(_GRANT.match, lines) if match]
        held = ((frozenset(right.strip() for right in match["rights"].split(",")), match["on"]) for match in found)
        return Grants((user, host), tuple(held))

    @property
    def name(self) -> str:
        """The account as it stands in statements."""
        return quoted_account(*self.account)

    def everywhere(self) -> frozenset[str]:
        """Rights on everything."""
        return frozenset().union(*(rights for rights, on in self.held if on == "*.*"))

    def on(self, database: str) -> frozenset[str]:
        """Rights on a whole database."""
        fitting = (rights for rights, on in self.held if on == "*.*" or pattern_fits(on, database))
        return frozenset().union(*fitting)

    def may(self, right: str, database: str | None = None) -> bool:
        """Whether a right is held on a database, or without one on everything."""
        held = self.everywhere() if database is None else self.on(database)
        return right in held or "ALL PRIVILEGES" in held

    def may_read_routines(self, kind: EngineKind) -> bool:
        """Whether the bodies of all routines are to be seen."""
        if kind is EngineKind.MYSQL:
            return self.may("SELECT") or self.may("SHOW_ROUTINE")
        return self.may("SELECT", "mysql") or any(
            "SELECT" in rights for rights, on in self.held if on == "`mysql`.`proc`"
        )


def lacking_to_hold_commits(grants: Grants) -> list[str]:
    """Rights on everything that an account lacks to dump one database in several sessions."""
    flush = "RELOAD" if not grants.may("FLUSH_TABLES") else ""
    return [right for right in ("PROCESS", flush) if right and not grants.may(right)]


def pattern_fits(on: str, name: str) -> bool:
    """Whether a grant on all of a database pattern covers a database; ``%`` and ``_`` are wildcards there, backslashes escape."""
    found = re.match(r"`((?:[^`]|``)*)`\.\*$", on)
    if found is None:
        return False
    parts = re.findall(r"\\.|%|_|.", found.group(1).replace("``", "`"), re.DOTALL)
    wild = {"%": ".*", "_": "."}
    pattern = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(pattern, name, re.DOTALL) is not None


def findings(
    instance: Instance, server: ServerFacts, grants: Grants, covered: Sequence[str], *, include_globals: bool
) -> list[Finding]:
    """What the account lacks, with the statements that give it."""
    everything = _everything(instance, grants)
    found = list(
        _on_all(grants, covered, everything) if "*" in instance.databases else _on_named(instance, grants, covered)
    )
    reads_all = everything if "SELECT" in everything else ""
    if (covered or everything or _named(instance)) and not grants.may_read_routines(server.vendor):
        text = "this account cannot see the bodies of procedures and functions: they would be missing in dumps"
        found.append(broken("rights", text, SEE, sql=(reads_all or _routines(server, grants),)))
    if include_globals and not grants.may("SELECT", "mysql"):
        grant = reads_all or f"GRANT SELECT ON `mysql`.* TO {grants.name};"
        text = "this account may not read users and grants: the globals of this instance cannot be backed up"
        found.append(broken("globals", text, SEE, sql=(grant,)))
    return found or [fine("rights", "the account may read everything that is backed up")]


def lacks(server: ServerFacts, grants: Grants, database: str) -> Iterator[Lack]:
    """What would be missing in a dump of the database, most of it without a word, or stop it."""
    if missing := [right for right in NEEDED if not grants.may(right, database)]:
        text = f"this account lacks {', '.join(missing)} on {database}: what it cannot see is not in a backup"
        yield _lack(grants, text, lambda each: f"GRANT {', '.join(missing)} ON {_escaped(database)}.* TO {each.name};")
    if not grants.may_read_routines(server.vendor):
        text = "this account cannot see the bodies of procedures and functions: those are not in a backup"
        yield _lack(grants, text, functools.partial(_routines, server))


def _lack(grants: Grants, text: str, statement: Callable[[Grants], str]) -> Lack:
    user, host = grants.account
    masked = replace(grants, account=(mask_user(user), host))
    return Lack(text, (statement(grants),), (statement(masked),))


def accounts_lack(grants: Grants) -> Lack:
    """What an account lacks that may not read users and grants."""
    text = "this account may not read users and grants"
    return _lack(grants, text, lambda each: f"GRANT SELECT ON `mysql`.* TO {each.name};")


def findings_of_sessions(grants: Grants) -> Iterator[Finding]:
    """What an account lacks to dump a database in several sessions: no fault, since it is backed up all the same."""
    if lacking := ", ".join(lacking_to_hold_commits(grants)):
        text = f"large databases are dumped in one stream: to dump them in several, this account lacks {lacking}"
        yield Finding("rights", Level.OK, text, sql=(f"GRANT {lacking} ON *.* TO {grants.name};",))


def _everything(instance: Instance, grants: Grants) -> str:
    """The statement that gives what is missing on all databases; empty when nothing is, or not all are ours."""
    missing = [right for right in NEEDED if not grants.may(right)]
    return f"GRANT {', '.join(missing)} ON *.* TO {grants.name};" if missing and "*" in instance.databases else ""


def _on_all(grants: Grants, covered: Sequence[str], everything: str) -> Iterator[Finding]:
    """All databases are ours: rights on some of them are not enough, since the others are not even seen."""
    if not everything:
        return
    if covered and all(grants.may(right, name) for name in covered for right in NEEDED):
        text = "all databases are to be backed up, but this account has its rights on some of them only"
        yield doubtful(
            "rights", text, "Databases that it cannot see are missed silently. See the SQL.", sql=(everything,)
        )
    else:
        rights = everything.removeprefix("GRANT ").partition(" ON ")[0]
        text = f"this account lacks {rights}: what it cannot see is not in a backup"
        yield broken("rights", text, SEE, sql=(everything,))


def _on_named(instance: Instance, grants: Grants, covered: Sequence[str]) -> Iterator[Finding]:
    """Rights on each database of ours, those included that are named and not to be seen: perhaps for want of rights."""
    for name in sorted({*covered, *_named(instance)}):
        if missing := [right for right in NEEDED if not grants.may(right, name)]:
            grant = f"GRANT {', '.join(missing)} ON {_escaped(name)}.* TO {grants.name};"
            text = f"this account lacks {', '.join(missing)}: what it cannot see is not in a backup"
            yield broken("rights", text, SEE, name, (grant,))


def _named(instance: Instance) -> set[str]:
    """Databases that are ours by their names, whether or not they are to be seen."""
    return {name for name in instance.databases if not set(name) & set("*?[") and instance.covers(name)}


def _routines(server: ServerFacts, grants: Grants) -> str:
    if server.vendor is EngineKind.MARIADB:
        return f"GRANT SELECT ON `mysql`.`proc` TO {grants.name};"
    right = "SHOW_ROUTINE" if server.version >= _SHOW_ROUTINE_SINCE else "SELECT"
    return f"GRANT {right} ON *.* TO {grants.name};"


def _escaped(name: str) -> str:
    """A database's name where GRANT would take a pattern."""
    return quote(name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
