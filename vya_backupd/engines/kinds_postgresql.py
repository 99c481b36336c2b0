"""What an entry of pg_dump's text is, told from its first statement."""

from __future__ import annotations

import enum
import re

IDENT = rb'(?:"[^"]*(?:""[^"]*)*"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
"""An identifier as the server quotes it."""
NAME = IDENT + rb"(?:\." + IDENT + rb")?"
"""A name, mostly with its schema."""


class EntryKind(enum.Enum):
    """What an entry makes or changes. ``KEY`` is a primary key, unique or exclusion constraint."""

    TABLE = "table"
    PARTITION = "attached partition of a table"
    SEQUENCE = "sequence"
    IDENTITY = "identity column"
    OWNED_SEQUENCE = "sequence that belongs to a column"
    DEFAULT = "default of a column"
    VIEW = "view"
    INDEX = "index"
    KEY = "key"
    CHECK = "check"
    FOREIGN_KEY = "foreign key"
    INDEX_PARTITION = "attached partition of an index"
    STATISTICS = "extended statistics"
    TRIGGER = "trigger"
    RULE = "rule"
    POLICY = "policy"
    PUBLICATION = "table of a publication"
    COMMENT = "comment"
    LABEL = "security label"
    ACL = "grant"
    REFRESH = "refresh of a materialized view"
    OTHER = "something else"


_COLUMNS = IDENT + rb"(?:, " + IDENT + rb")*"
_EVENT = rb"(?:INSERT|DELETE|TRUNCATE|UPDATE(?: OF " + _COLUMNS + rb")?)"
_ALTER = rb"ALTER (?:FOREIGN )?TABLE (?:ONLY )?(?P<table>" + NAME + rb")"
_ADD = _ALTER + rb"\s+ADD CONSTRAINT (?P<name>" + IDENT + rb") "
_T = rb"(?P<table>" + NAME + rb")"
_N = rb"(?P<name>" + NAME + rb")"
_I = rb"(?P<name>" + IDENT + rb")"

_PATTERNS: tuple[tuple[EntryKind, bytes], ...] = (
    (EntryKind.TABLE, rb"CREATE (?:UNLOGGED |FOREIGN )?TABLE (?P<table>(?P<name>" + NAME + rb"))"),
    (
        EntryKind.PARTITION,
        rb"ALTER TABLE (?:ONLY )?(?P<references>" + NAME + rb") ATTACH PARTITION (?P<table>(?P<name>" + NAME + rb")) ",
    ),
    (EntryKind.SEQUENCE, rb"CREATE (?:UNLOGGED )?SEQUENCE " + _N),
    (
        EntryKind.IDENTITY,
        _ALTER + rb" ALTER COLUMN " + IDENT + rb" ADD GENERATED [^(]*\(\s*SEQUENCE NAME " + _N,
    ),
    (EntryKind.OWNED_SEQUENCE, rb"ALTER SEQUENCE " + _N + rb" OWNED BY " + _T + rb"\." + IDENT + rb";"),
    (EntryKind.DEFAULT, _ALTER + rb" ALTER COLUMN (?P<name>" + IDENT + rb") SET DEFAULT "),
    (EntryKind.VIEW, rb"CREATE (?:OR REPLACE )?(?:MATERIALIZED )?VIEW " + _N),
    (EntryKind.INDEX, rb"CREATE (?:UNIQUE )?INDEX " + _I + rb" ON (?:ONLY )?" + _T + rb" USING "),
    (EntryKind.KEY, _ADD + rb"(?:PRIMARY KEY|UNIQUE|EXCLUDE) "),
    (EntryKind.FOREIGN_KEY, _ADD + rb"FOREIGN KEY \([^;]*?\) REFERENCES (?P<references>" + NAME + rb")[ (]"),
    (EntryKind.CHECK, _ADD + rb"(?:CHECK|NOT NULL) "),
    (EntryKind.CHECK, rb"ALTER DOMAIN " + NAME + rb"\s+ADD CONSTRAINT " + _I + rb" "),
    (EntryKind.INDEX_PARTITION, rb"ALTER INDEX (?P<references>" + NAME + rb") ATTACH PARTITION " + _N + rb";"),
    (EntryKind.STATISTICS, rb"CREATE STATISTICS " + _N + rb" [^;]*? FROM " + _T + rb";"),
    (
        EntryKind.TRIGGER,
        rb"CREATE (?:CONSTRAINT )?TRIGGER "
        + _I
        + rb" (?:BEFORE|AFTER|INSTEAD OF) "
        + _EVENT
        + rb"(?: OR "
        + _EVENT
        + rb")* ON "
        + _T
        + rb"\s",
    ),
    (EntryKind.RULE, rb"CREATE (?:OR REPLACE )?RULE " + _I + rb" AS\s+ON \w+ TO " + _T + rb"\s"),
    (EntryKind.POLICY, rb"CREATE POLICY " + _I + rb" ON " + _T + rb"\s?"),
    (EntryKind.POLICY, _ALTER + rb" (?:ENABLE|FORCE) ROW LEVEL SECURITY;"),
    (EntryKind.PUBLICATION, rb"ALTER PUBLICATION " + _I + rb" ADD TABLE (?:ONLY )?" + _T + rb"[ ;(]"),
    (EntryKind.REFRESH, rb"REFRESH MATERIALIZED VIEW (?:CONCURRENTLY )?" + _N),
    (EntryKind.COMMENT, rb"COMMENT ON COLUMN " + _T + rb"\.(?P<name>" + IDENT + rb") IS "),
    (
        EntryKind.COMMENT,
        rb"COMMENT ON (?:CONSTRAINT|TRIGGER|RULE|POLICY) " + _I + rb" ON (?!DOMAIN )" + _T + rb" IS ",
    ),
    (EntryKind.COMMENT, rb"COMMENT ON TABLE (?P<table>(?P<name>" + NAME + rb")) IS "),
    (EntryKind.COMMENT, rb"COMMENT ON (?:INDEX|SEQUENCE|STATISTICS|VIEW|MATERIALIZED VIEW) " + _N + rb" IS "),
    (EntryKind.COMMENT, rb"COMMENT ON "),
    (EntryKind.LABEL, rb"SECURITY LABEL FOR \S+ ON TABLE (?P<table>(?P<name>" + NAME + rb")) IS "),
    (EntryKind.LABEL, rb"SECURITY LABEL FOR \S+ ON COLUMN " + _T + rb"\.(?P<name>" + IDENT + rb") IS "),
    (EntryKind.LABEL, rb"SECURITY LABEL "),
    (EntryKind.ACL, rb"(?:GRANT|REVOKE) [^;\"']*? ON SEQUENCE " + _N + rb" (?:TO|FROM) "),
    (
        EntryKind.ACL,
        rb"(?:GRANT|REVOKE) (?:GRANT OPTION FOR )?[A-Z]+[^;]*? ON TABLE (?P<table>(?P<name>"
        + NAME
        + rb")) (?:TO|FROM) ",
    ),
    (EntryKind.ACL, rb"(?:GRANT|REVOKE) "),
)
_MEANINGS = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)


def meaning(statement: bytes) -> tuple[EntryKind, dict[str, bytes]]:
    """The kind of an entry that begins with this statement, and the names in it: ``table``, ``name``, ``references``."""
    for kind, pattern in _MEANINGS:
        if (found := pattern.match(statement)) is not None:
            names = {key: value for key, value in found.groupdict().items() if value is not None}
            return kind, names | _index_name(kind, names)
    return EntryKind.OTHER, {}


def _index_name(kind: EntryKind, names: dict[str, bytes]) -> dict[str, bytes]:
    """An index lies in the schema of its table, which CREATE INDEX does not repeat and everybody else does."""
    if kind is not EntryKind.INDEX:
        return {}
    parts = re.findall(IDENT, names["table"])
    return {"name": b".".join([*parts[:-1], names["name"]])}
