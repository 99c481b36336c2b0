"""What the text of a dump that we did not write needs of a server, and what it would do beside its database.

It is read by the lexers that read our own dumps, from its beginning to its end, and nothing of it is kept but names. Rows,
comments and bodies that look like such a statement are none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from vya_backupd.engines.beyond import for_a_replica, of_whole_mysql, of_whole_postgresql
from vya_backupd.engines.mysql_definer_text import DefinerText
from vya_backupd.engines.mysql_globals import quoted_account
from vya_backupd.engines.postgresql_statement_text import Needs, StatementText
from vya_backupd.model.instance import EngineKind

_SHOWN = 120
_WORDS = 3
"""Words that are shown of a statement that may hold a password further on."""
_DATABASE = re.compile(rb"(?:CREATE|DROP)\s+DATABASE\b", re.IGNORECASE)
_DROPS = re.compile(rb"(?:DROP\s|ALTER\s[^;]*\sDROP\s)", re.IGNORECASE)
_IF_EXISTS = re.compile(rb"\bIF\s+EXISTS\b", re.IGNORECASE)
_CREATES = re.compile(rb"CREATE\s", re.IGNORECASE)
_GAP = rb"(?:\s|/\*[^*]*\*/)+"
_MYSQL_DATABASE = re.compile(
    rb"(?:/\*M?!\d*\s*)?(?:USE\s|(?:CREATE|DROP)" + _GAP + rb"(?:DATABASE|SCHEMA)\b)", re.IGNORECASE
)


@dataclass(slots=True)
class Found:
    """What was found: needs of PostgreSQL, definers (user, host) of MySQL and MariaDB.

    ``elsewhere`` is the first statement that makes, drops or chooses a database; ``drops`` the first that drops what an
    empty database does not have; ``beyond`` the first that changes the server, of which the database is only a part.
    ``left_out``: what is for replicas, and left out.
    """

    needs: Needs = field(default_factory=Needs)
    definers: set[tuple[str, str]] = field(default_factory=set)
    elsewhere: str = ""
    drops: str = ""
    beyond: str = ""
    left_out: dict[str, None] = field(default_factory=dict)


class Survey(Protocol):
    """Reads one text, piece by piece."""

    found: Found

    def feed(self, text: bytes) -> None:
        """Take the next piece."""

    def finish(self) -> None:
        """The text has ended."""


class PostgresqlSurvey:
    """A dump of pg_dump. ``unwanted`` statements need nothing, since they will be left out."""

    def __init__(self, unwanted: Callable[[bytes], bool]) -> None:
        self.found = Found()
        self._unwanted = unwanted
        self._has_created = False
        self._text = StatementText(self._look)

    def feed(self, text: bytes) -> None:
        """See ``Survey``."""
        self._text.feed(text)

    def finish(self) -> None:
        """See ``Survey``."""
        self._text.finish()

    def _look(self, statement: bytes) -> bool:
        if self._unwanted(statement):
            return False
        self.found.needs.take(statement)
        if _DATABASE.match(statement):
            self.found.elsewhere = self.found.elsewhere or _shown(statement)
        elif of_whole_postgresql(statement):
            self.found.beyond = self.found.beyond or _beginning(statement)
        elif _CREATES.match(statement):
            self._has_created = True
        elif not self._has_created and _DROPS.match(statement) and not _IF_EXISTS.search(statement):
            self.found.drops = self.found.drops or _shown(statement)
        return False


class MysqlSurvey:
    """A dump of mysqldump, mariadb-dump or phpMyAdmin."""

    def __init__(self) -> None:
        self.found = Found()
        self._text = DefinerText(self._define, self._begin)

    def feed(self, text: bytes) -> None:
        """See ``Survey``."""
        self._text.feed(text)

    def finish(self) -> None:
        """See ``Survey``."""
        self._text.finish()

    def _define(self, user: str, host: str) -> str:
        if host:
            self.found.definers.add((user, host))
        return quoted_account(user, host)

    def _begin(self, statement: bytes) -> bool:
        line = statement.partition(b"\n")[0]
        if _MYSQL_DATABASE.match(statement):
            self.found.elsewhere = self.found.elsewhere or _shown(line)
        elif words := for_a_replica(statement):
            self.found.left_out[words] = None
        elif of_whole_mysql(statement):
            self.found.beyond = self.found.beyond or _beginning(line)
        return False


def survey_for(kind: EngineKind, unwanted: Callable[[bytes], bool]) -> PostgresqlSurvey | MysqlSurvey:
    """A new survey for the text of a dump that goes onto this kind of server."""
    return PostgresqlSurvey(unwanted) if kind is EngineKind.POSTGRESQL else MysqlSurvey()


def _beginning(statement: bytes) -> str:
    return " ".join(_shown(statement).split()[:_WORDS])


def _shown(statement: bytes) -> str:
    text = " ".join(statement.decode("utf-8", "backslashreplace").split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
