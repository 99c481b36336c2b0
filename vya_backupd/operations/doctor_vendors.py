"""What the doctor asks of the two families of servers, each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from vya_backupd.engines import mysql_doctor, mysql_rights, postgresql_doctor, postgresql_rights
from vya_backupd.engines.doctor_facts import Line, lack
from vya_backupd.model.finding import Finding
from vya_backupd.model.instance import DatabaseFacts, EngineKind, Instance, ServerFacts
from vya_backupd.operations.site import Site


class Vendor(Protocol):
    """Questions to one server. All raise ``ServerError`` as the probe does."""

    async def line(self) -> Line:
        """The connection."""

    async def open_to_us(self, databases: Sequence[str]) -> Sequence[str]:
        """Those that the account may connect to."""

    async def rights(self, server: ServerFacts, covered: Sequence[str]) -> Sequence[Finding]:
        """What the account may do on the server as a whole."""

    async def settings(self) -> Sequence[Finding]:
        """What of the server's settings touches dumps."""

    async def database(self, facts: DatabaseFacts) -> Sequence[Finding]:
        """What there is to say of one database beyond the probe's own warnings."""


def vendor_of(site: Site, instance: Instance) -> Vendor:
    """The way to ask this instance."""
    return (PostgresqlVendor if instance.kind is EngineKind.POSTGRESQL else MysqlVendor)(site, instance)


class PostgresqlVendor:
    """Asks PostgreSQL."""

    def __init__(self, site: Site, instance: Instance) -> None:
        self._site = site
        self._instance = instance

    async def line(self) -> Line:
        """See ``Vendor``."""
        ((tls, at),) = await self._site.probe.fetch(self._instance, postgresql_doctor.LINE)
        return Line(str(tls), at)

    async def open_to_us(self, databases: Sequence[str]) -> Sequence[str]:
        """See ``Vendor``."""
        closed = await self._closed()
        return [name for name in databases if name not in closed]

    async def _closed(self) -> set[str]:
        return {str(name) for (name,) in await self._site.probe.fetch(self._instance, postgresql_doctor.CLOSED)}

    async def rights(self, server: ServerFacts, covered: Sequence[str]) -> Sequence[Finding]:
        """See ``Vendor``."""
        del server
        ((*account,),) = await self._site.probe.fetch(self._instance, postgresql_rights.ACCOUNT)
        closed = await self._closed()
        return list(
            postgresql_doctor.account_findings(
                postgresql_rights.Account(*account),
                [name for name in covered if name in closed],
                include_globals=self._site.config.backup.include_globals,
            )
        )

    async def settings(self) -> Sequence[Finding]:
        """See ``Vendor``."""
        ((*settings,),) = await self._site.probe.fetch(self._instance, postgresql_doctor.SETTINGS)
        return list(postgresql_doctor.settings_findings(postgresql_doctor.ServerSettings(*settings)))

    async def database(self, facts: DatabaseFacts) -> Sequence[Finding]:
        """See ``Vendor``."""
        ask = postgresql_doctor
        queries = [ask.SETTINGS, ask.LOCKED]
        settings, locked = await self._site.probe.answers(self._instance, queries, facts.name)
        lock = ask.lock_finding(ask.ServerSettings(*settings[0]), facts.name, int(locked[0][0]))
        return [*(lack(each, facts.name) for each in facts.lacks), *([lock] if lock else [])]


class MysqlVendor:
    """Asks MySQL and MariaDB."""

    def __init__(self, site: Site, instance: Instance) -> None:
        self._site = site
        self._instance = instance

    async def line(self) -> Line:
        """See ``Vendor``."""
        queries = [mysql_doctor.LINE, mysql_doctor.CLOCK]
        ((_, tls),), ((seconds,),) = await self._site.probe.answers(self._instance, queries)
        return Line(str(tls), datetime.fromtimestamp(float(seconds), UTC))

    async def open_to_us(self, databases: Sequence[str]) -> Sequence[str]:
        """See ``Vendor``: who sees a database may enter it."""
        return databases

    async def rights(self, server: ServerFacts, covered: Sequence[str]) -> Sequence[Finding]:
        """See ``Vendor``."""
        grants = await self._site.probe.grants(self._instance)
        wanted = self._site.config.backup.include_globals
        found = mysql_rights.findings(self._instance, server, grants, covered, include_globals=wanted)
        if self._site.config.backup.parallel_per_database != 1:
            found += mysql_rights.findings_of_sessions(grants)
        return found

    async def settings(self) -> Sequence[Finding]:
        """See ``Vendor``. Tables that no transaction holds still are told here, for all databases at once."""
        rows, loose = await self._site.probe.answers(self._instance, [mysql_doctor.VARIABLES, mysql_doctor.LOOSE])
        tables: dict[str, list[str]] = {}
        for database, table in loose:
            if self._instance.covers(str(database)):
                tables.setdefault(str(database), []).append(str(table))
        variables = mysql_doctor.Variables({str(name): str(value) for name, value in rows})
        return [
            *mysql_doctor.settings_findings(self._instance.kind, variables),
            *(mysql_doctor.loose_tables(database, names) for database, names in sorted(tables.items())),
        ]

    async def database(self, facts: DatabaseFacts) -> Sequence[Finding]:
        """See ``Vendor``. Rights are told for the whole server."""
        del facts
        return ()
