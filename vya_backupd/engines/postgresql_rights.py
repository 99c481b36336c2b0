"""What an account of PostgreSQL may not read in one database, and what that means for a dump of it.

pg_dump stops at a table that it may not read, and at one whose rows a policy hides from the account. What else it cannot
see it leaves out: subscriptions with a warning, the options of user mappings without a word.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vya_backupd.engines.doctor_facts import listed
from vya_backupd.engines.postgresql_sql import quote
from vya_backupd.model.instance import Lack
from vya_backupd.model.secret import mask_user

OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_DUMPED = """
    NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                   AND (e.extconfig IS NULL OR c.oid <> ALL (e.extconfig)))
"""
"""Of the tables of extensions, pg_dump reads those alone that hold settings."""
_READS_ALL_SINCE = 14
"""The major version that came with the role pg_read_all_data."""

ACCOUNT = """
    SELECT current_user::text, rolsuper, rolsuper OR rolbypassrls,
           current_setting('lo_compat_privileges')::bool,
           current_setting('server_version_num')::int / 10000
      FROM pg_catalog.pg_roles WHERE rolname = current_user
"""
UNREADABLE = f"""
    SELECT n.nspname, c.relname, pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND {OURS} AND {_DUMPED}
       AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                AND CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                    ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
"""  # noqa: S608 - constants of this module
SECURED = f"""
    SELECT n.nspname, c.relname
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relrowsecurity AND pg_catalog.row_security_active(c.oid) AND {OURS}
       AND {_DUMPED}
"""  # noqa: S608 - constants of this module
"""A policy of a partitioned table does not count: its rows are read from the partitions."""
OTHERS = """
    SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata l
             WHERE NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE')
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT'
                                AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))),
           (SELECT count(*) FROM pg_catalog.pg_subscription s
             WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())),
           (SELECT count(*) FROM pg_catalog.pg_user_mappings WHERE umoptions IS NULL)
"""


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

    def lack(self, text: str, statements: Callable[[str], Sequence[str]]) -> Lack:
        """A lack that stops dumps, with what makes statements for a quoted name."""
        return Lack(text, tuple(statements(self.quoted)), tuple(statements(quote(mask_user(self.name)))), stops=True)


@dataclass(frozen=True, slots=True)
class DatabaseRights:
    """What the account cannot read in one database: tables with whether their schema is open, and counts."""

    unreadable: Sequence[tuple[str, str, bool]]
    secured: Sequence[tuple[str, str]]
    large_objects: int = 0
    subscriptions: int = 0
    user_mappings: int = 0


def lacks(account: Account, rights: DatabaseRights) -> Iterator[Lack]:
    """What stops a dump of the database, and what would be missing in it."""
    if account.is_superuser:
        return
    if rights.unreadable:
        names = listed([f"{schema}.{name}" for schema, name, _ in rights.unreadable])
        yield account.lack(f"this account may not read {names}", functools.partial(_reading, account.major, rights))
    if rights.secured and not account.bypasses:
        names = listed([f"{schema}.{name}" for schema, name in rights.secured])
        text = f"row-level security hides rows of {names}: dumps of this account, without BYPASSRLS, stop there"
        yield account.lack(text, lambda name: [f"ALTER ROLE {name} BYPASSRLS;"])
    if rights.large_objects and not account.lo_compat:
        # The account may then write large objects, too; but no right on all of them lets it read alone.
        text = f"this account may not read large objects, {rights.large_objects} of them"
        yield account.lack(text, lambda name: [f"ALTER ROLE {name} SET lo_compat_privileges = on;"])
    for number, what in (
        (rights.subscriptions, "subscriptions are"),
        (rights.user_mappings, "options of user mappings, with their passwords, are"),
    ):
        if number:
            yield Lack(f"not in dumps of this account: {what} shown to a superuser alone ({number} of them)")


def _reading(major: int, rights: DatabaseRights, account: str) -> Sequence[str]:
    """Statements that let the role read everything, now and later where the server can express that."""
    if major >= _READS_ALL_SINCE:
        return [f"GRANT pg_read_all_data TO {account};"]
    schemas = sorted({schema for schema, _, _ in rights.unreadable})
    return [
        f"GRANT {what} SCHEMA {quote(schema)} TO {account};"
        for schema in schemas
        for what in ("USAGE ON", "SELECT ON ALL TABLES IN", "SELECT ON ALL SEQUENCES IN")
    ]
