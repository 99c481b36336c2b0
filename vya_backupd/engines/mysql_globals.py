"""Users, roles and grants of MySQL and MariaDB as a script, and the script fitted to a server that has some of them.

The probe asks (``SHOW CREATE USER``, ``SHOW GRANTS``), this module composes. The script runs as it is on a server
without these accounts: ``zcat FILE | mysql``. Its parts, told apart by headings: roles and users, grants on everything
or on whole databases, roles granted, default roles, and last grants on single tables and routines, which the server
takes only once those exist.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.engines.globals import GlobalsScript, GlobalsTarget
from vya_backupd.engines.mysql_statements import outside_strings, statements, without_default_role
from vya_backupd.errors import DumpError
from vya_backupd.model.backup import SchemaInfo, Section
from vya_backupd.model.instance import EngineKind

END_MARKER = "-- Globals completed\n"
OBJECTS = "-- Grants on single objects: after the databases are restored\n"
SYSTEM_ACCOUNTS = frozenset({"mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"})
"""Accounts that a server makes for itself and that nobody logs in as."""

_NAME = r"(?:`(?:[^`]|``)*`|'(?:[^']|'')*')"
_ACCOUNT = rf"(?P<user>{_NAME})(?:@(?P<host>{_NAME}))?"
_CREATE = re.compile(rf"CREATE (?P<what>USER|ROLE)(?: IF NOT EXISTS)? {_ACCOUNT}", re.IGNORECASE)
_GRANTEE = re.compile(rf" (?:TO|FROM) {_ACCOUNT}(?: |$)")
_IDENTIFIED = re.compile(r" IDENTIFIED (?:BY PASSWORD|VIA) .*?(?= REQUIRE | WITH |\Z)", re.DOTALL)
_DEFAULT = re.compile(rf"SET DEFAULT ROLE .* (?:TO|FOR) {_ACCOUNT}$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Account:
    """One user or role, in the server's own words. ``host`` is empty for MariaDB's roles.

    ``create`` is None for roles of MariaDB, which have no password and no SHOW CREATE. ``default_roles``: (role,
    host) pairs.
    """

    user: str
    host: str
    create: str | None
    grants: tuple[str, ...]
    default_roles: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """How targets name it: ``user@host``."""
        return f"{self.user}@{self.host}"


def quoted_account(user: str, host: str) -> str:
    """An account in backticks; MariaDB's roles have no host."""
    name = "`" + user.replace("`", "``") + "`"
    return name if not host else f"{name}@`{host.replace('`', '``')}`"


def with_certificate(create_user: str, certificate: Mapping[str, str]) -> str:
    """CREATE USER as the server shows it, with quotes doubled in what it demands of a certificate: it forgets to."""
    for key, value in certificate.items():
        shown = f" {key} '{value}'"
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        create_user = create_user.replace(shown, f" {key} '{escaped}'", 1)
    return create_user


def script(accounts: Sequence[Account], kind: EngineKind, server_version: str) -> bytes:
    """The script, with header and end marker."""
    creates: list[str] = []
    defaults: list[str] = []
    grants: dict[str, list[str]] = {"wide": [], "role": [], "object": []}
    for account in accounts:
        creates.append(_create(account))
        for grant in account.grants:
            if grant.startswith("SET DEFAULT ROLE"):
                defaults.append(grant)
            elif _grantee(grant) == (account.user, account.host):  # MariaDB lists what roles of roles give, too
                grants[_reach(grant)].append(_without_password(grant))
        if account.default_roles:
            names = ", ".join(quoted_account(*role) for role in account.default_roles)
            defaults.append(f"SET DEFAULT ROLE {names} TO {quoted_account(account.user, account.host)}")
    version = " ".join(server_version.split())
    parts = [f"-- Users, roles and grants of a {kind.value} server {version}\n", "/*!40101 SET NAMES utf8mb4 */;\n\n"]
    for heading, lines in (
        ("-- Roles and users\n", creates),
        ("-- Grants on everything and on databases\n", grants["wide"]),
        ("-- Roles granted\n", grants["role"]),
        ("-- Default roles\n", defaults),
        (OBJECTS, grants["object"]),
    ):
        parts += [heading, *(f"{line};\n" for line in lines), "\n"]
    return ("".join(parts) + END_MARKER).encode("utf-8")


def _create(account: Account) -> str:
    name = quoted_account(account.user, account.host)
    if account.create is None:
        return f"CREATE ROLE IF NOT EXISTS {name}"
    text = without_default_role(account.create)
    return re.sub(r"\ACREATE USER ", "CREATE USER IF NOT EXISTS ", text)


def _without_password(grant: str) -> str:
    """A GRANT without the password that MariaDB repeats in it: set once more, it would not be expired any longer."""
    found = _IDENTIFIED.search(outside_strings(grant))
    return grant if found is None else grant[: found.start()] + grant[found.end() :]


def _grantee(grant: str) -> tuple[str, str] | None:
    """The account that a GRANT names last."""
    found = list(_GRANTEE.finditer(grant))
    return (_plain(found[-1]["user"]), _plain(found[-1]["host"])) if found else None


def _plain(name: str | None) -> str:
    """A quoted name without its quotes; nothing for None."""
    return name[1:-1].replace(name[0] * 2, name[0]) if name else ""


def _reach(grant: str) -> str:
    """``role``, ``object`` (a table, column or routine) or ``wide``."""
    text = re.sub(r"`(?:[^`]|``)*`", "`n`", outside_strings(grant))
    privileges = re.match(r"(?:GRANT|REVOKE) .*? ON (?P<on>.*?) (?:TO|FROM) ", text, re.DOTALL)
    if privileges is None:
        return "role"
    return "wide" if privileges["on"].endswith("*") or " PROXY " in text[:14] else "object"


def restore_script(text: bytes, target: GlobalsTarget) -> GlobalsScript:
    """The script for this target: what to run before the databases, and what after them."""
    first, _, rest = text.decode("utf-8").partition(OBJECTS)
    notes: list[str] = []
    before = [line for each in statements(first) for line in _fitted(each, target, notes)]
    after = [line for each in statements(rest) for line in _fitted(each, target, [])]
    return GlobalsScript(_joined(before), tuple(notes), _joined(after))


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(f"{line};\n" for line in lines).encode("utf-8")


def _fitted(statement: str, target: GlobalsTarget, notes: list[str]) -> list[str]:
    """A statement as it shall run here: nothing, itself, or with a second one that brings an account up to date."""
    created = _CREATE.match(statement)
    if created is not None:
        key = f"{_plain(created['user'])}@{_plain(created['host'])}"
        if key == target.login:
            notes.append(f"account {key} keeps the password and the rights that it has here: the restore uses it")
            return []
        if key in target.roles and created["what"].upper() == "USER":
            notes.append(f"account {key} existed and got the recorded password")
            altered = re.sub(r"\ACREATE USER(?: IF NOT EXISTS)? ", "ALTER USER ", statement)
            # MariaDB does not show what is usual; a lock that is set here would stay.
            return [altered if " ACCOUNT " in outside_strings(altered) else f"{altered} ACCOUNT UNLOCK"]
        return [statement]
    default = _DEFAULT.match(statement)
    grantee = _grantee(statement) if default is None else (_plain(default["user"]), _plain(default["host"]))
    key = "@".join(grantee or ("", ""))
    if key == target.login:
        return []
    if statement.startswith("GRANT PROXY ") and not target.may_proxy:
        notes.append(f"account {key} may not act for another here: the account that restores may not grant PROXY")
        return []
    return [statement]


class GlobalsScanner:
    """The scanner of this module's own text. It is small: nothing is cut before the end is seen."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.header_done = False
        self.end_marker_seen = False
        self.tables: set[str] = set()
        self.summary = SchemaInfo()

    def feed(self, chunk: bytes) -> list[RawSegment]:
        """Take a piece of the text."""
        self._parts.append(bytes(chunk))
        self.header_done = True
        return []

    def finish(self) -> list[RawSegment]:
        """The segments: header, statements, footer.

        Raises:
            DumpError: the text does not end with the end marker.
        """
        text = b"".join(self._parts)
        marker = END_MARKER.encode()
        if not text.endswith(b"\n" + marker):
            raise DumpError("the script of users and grants has no end marker")
        self.end_marker_seen = True
        self.summary = SchemaInfo(schema_hash=hashlib.sha256(text).hexdigest())
        start = text.index(b"\n\n") + 2
        pieces = (
            (Section.HEADER, text[:start]),
            (Section.SCHEMA, text[start : -len(marker)]),
            (Section.FOOTER, marker),
        )
        return [RawSegment(section, "", [piece], len(piece)) for section, piece in pieces if piece]
