"""A finding: what the doctor says of one thing that it looked at."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, replace
from typing import Any


class Level(enum.StrEnum):
    """How bad it is: as it should be, worth a look, or something does not work or will not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check. Without an ``instance`` it is about the installation itself.

    ``sql`` are statements for an administrator of the server that put it right; ``database`` is then where they run,
    if it matters.
    """

    check: str
    level: Level
    message: str
    hint: str = ""
    instance: str | None = None
    database: str | None = None
    sql: tuple[str, ...] = ()

    def at(self, instance: str) -> Finding:
        """The same, with its instance named."""
        return replace(self, instance=instance)

    def to_json(self) -> dict[str, Any]:
        """The wire form; ``sql`` only where there is some."""
        record = asdict(self) | {"level": str(self.level), "sql": list(self.sql)}
        return record if self.sql else {key: value for key, value in record.items() if key != "sql"}


def fine(check: str, message: str, database: str | None = None) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.OK, message, database=database)


def doubtful(
    check: str, message: str, hint: str = "", database: str | None = None, sql: tuple[str, ...] = ()
) -> Finding:
    """Something to look at."""
    return Finding(check, Level.WARN, message, hint, database=database, sql=sql)


def broken(check: str, message: str, hint: str = "", database: str | None = None, sql: tuple[str, ...] = ()) -> Finding:
    """Something to put right."""
    return Finding(check, Level.FAIL, message, hint, database=database, sql=sql)
