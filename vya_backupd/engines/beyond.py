"""Statements of foreign dumps that reach beyond their database: replication, settings, accounts of the whole server.

A restore of one database changes nothing of the kind. What dump tools write for whoever makes a replica of the file
(mysqldump --source-data, --dump-replica, GTIDs) is left out, and said; whatever else is refused before anything runs.
This keeps accidents out, and is no fence against attacks: that is the account that the restore logs in with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_GAP = rb"(?:\s|/\*[^!M*][^*]*\*/|/\*M?!\d*)+"
_START = rb"(?:/\*M?!\d*\s*)?"
_SET_GLOBAL = rb"(?:GLOBAL" + _GAP + rb"|@@GLOBAL\s*\.\s*)"
_FOR_A_REPLICA = re.compile(
    _START + rb"(?:"
    rb"SET" + _GAP + _SET_GLOBAL + rb"(?P<setting>gtid_purged|gtid_slave_pos)\b"
    rb"|(?P<change>CHANGE" + _GAP + rb"(?:MASTER|REPLICATION" + _GAP + rb"SOURCE))\b"
    rb"|(?P<run>(?:START|STOP)" + _GAP + rb"(?:ALL" + _GAP + rb")?(?:SLAVE|REPLICA)S?)\b"
    rb")",
    re.IGNORECASE,
)
_UNLOGGED = re.compile(_START + rb"SET" + _GAP + rb"@@SESSION\s*\.\s*SQL_LOG_BIN\s*=", re.IGNORECASE)
"""Would keep all of the dump from the replicas, and giving it back wants a right that nobody needs otherwise."""
_WHOLE_SERVER = re.compile(
    _START + rb"(?:"
    rb"SET" + _GAP + rb"(?:[^;]*,\s*)?(?:(?:GLOBAL|PERSIST|PERSIST_ONLY)" + _GAP + rb"|@@(?:GLOBAL|PERSIST|PERSIST_ONLY)\s*\.)"
    rb"|SET" + _GAP + rb"(?:PASSWORD|DEFAULT" + _GAP + rb"ROLE)\b"
    rb"|(?:CREATE|ALTER|DROP|RENAME)" + _GAP + rb"(?:OR" + _GAP + rb"REPLACE" + _GAP + rb")?(?:USER|ROLE|SERVER)\b"
    rb"|(?:GRANT|REVOKE)\s"
    rb"|RESET" + _GAP + rb"(?:MASTER|SLAVE|REPLICA|BINARY|PERSIST)\b"
    rb"|PURGE" + _GAP + rb"(?:BINARY|MASTER)\b"
    rb"|CHANGE" + _GAP + rb"REPLICATION" + _GAP + rb"FILTER\b"
    rb"|(?:START|STOP)" + _GAP + rb"GROUP_REPLICATION\b"
    rb"|(?:INSTALL|UNINSTALL)" + _GAP + rb"(?:PLUGIN|COMPONENT|SONAME)\b"
    rb"|ALTER" + _GAP + rb"INSTANCE\b"
    rb"|(?:SHUTDOWN|RESTART|KILL|CLONE)\b"
    rb")",
    re.IGNORECASE,
)  # fmt: skip
_WHOLE_CLUSTER = re.compile(
    rb"(?:(?:CREATE|DROP)\s+(?:(?:ROLE|GROUP|TABLESPACE)\b|USER\s+(?!\s|MAPPING\b))"
    rb"|ALTER\s+(?:(?:SYSTEM|GROUP|TABLESPACE)\b|USER\s+(?!\s|MAPPING\b))"
    rb"|ALTER\s+ROLE\s+(?!(?:[^;\"]|\"[^\"]*\")*\sIN\s+DATABASE\s)"
    rb"|(?:GRANT|REVOKE)\s(?![^;]*\sON\s)"
    rb"|COPY\s[^;]*\s(?:FROM|TO)\s+PROGRAM\b)",
    re.IGNORECASE,
)


def for_a_replica(statement: bytes) -> str | None:
    """What is left out of a dump of MySQL or MariaDB, in the few words that hold no address and no password.

    Empty where nobody has to be told; None: it stays.
    """
    if _UNLOGGED.match(statement):
        return ""
    found = _FOR_A_REPLICA.match(statement)
    if found is None:
        return None
    words = f"SET GLOBAL {_text(found['setting'])}" if found["setting"] else _text(found["change"] or found["run"])
    return words.upper()


def left_out(words: Iterable[str]) -> tuple[str, ...]:
    """What an operator is told of it: a note, or none."""
    shown = ", ".join(words)
    return (f"what the dump has for replicas is left out ({shown}): they go on as they are",) if shown else ()


def of_whole_mysql(statement: bytes) -> bool:
    """Whether a statement changes a server of MySQL or MariaDB, of which a database is only a part."""
    return for_a_replica(statement) is None and _WHOLE_SERVER.match(statement) is not None


def of_whole_postgresql(statement: bytes) -> bool:
    """The same of PostgreSQL; or one that starts a program on the server's machine."""
    return _WHOLE_CLUSTER.match(statement) is not None


def _text(found: bytes) -> str:
    return " ".join(re.sub(rb"/\*M?!\d*|/\*.*?\*/", b" ", found).decode("utf-8", "backslashreplace").split())
