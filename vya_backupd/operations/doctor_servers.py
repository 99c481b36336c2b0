"""The doctor at a server: does it let us in, with what rights, to what; and have we the tools for it?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vya_backupd.engines import doctor_facts
from vya_backupd.engines.registry import engine_for
from vya_backupd.errors import VyaError
from vya_backupd.model.finding import Finding, broken, doubtful, fine
from vya_backupd.model.instance import EngineKind, Instance, ServerFacts
from vya_backupd.operations.doctor import Answer, Check, examine, of_error
from vya_backupd.operations.doctor_vendors import Vendor, vendor_of
from vya_backupd.operations.site import Site

INSTANCE_SECONDS = 120.0
"""How long the examination of one server may take; what was not reached until then is said."""
_DATABASES_SECONDS = 80.0
_AT_ONCE = 3
"""Databases of one server that are looked at side by side."""
_TOLD_BY_ENGINES = "not transactional"


def checks(site: Site, instances: Sequence[Instance]) -> list[Check]:
    """One check for each instance, which is many in itself."""
    return [
        Check("login", ServerExamination(site, each).run, each.id, INSTANCE_SECONDS)
        for each in instances
        if each.enabled
    ]


class ServerExamination:
    """One server, from the login inward."""

    def __init__(self, site: Site, instance: Instance) -> None:
        self._site = site
        self._instance = instance

    async def run(self) -> list[Finding]:
        """Everything about the server. Without a login there is nothing more to look at.

        Raises:
            VyaError: it cannot be logged in to.
        """
        server = await self._site.probe.server(self._instance)
        found = [fine("login", f"logged in to {server.version_text.split(' on ')[0]}")]
        if server.vendor is not self._instance.kind:
            text = f"this is a server of {server.vendor}, and the credentials file says {self._instance.kind}"
            return [*found, broken("login", text, f'Set "type" to "{server.vendor}".')]
        found += [doubtful("settings", warning) for warning in server.warnings]
        seen = await self._site.probe.all_databases(self._instance)
        covered = [name for name in seen if self._instance.covers(name)]
        vendor = vendor_of(self._site, self._instance)
        parts: list[tuple[str, Answer]] = [
            ("tools", lambda: self._tools(server)),
            ("tls", lambda: self._line(vendor)),
            ("databases", lambda: self._coverage(seen)),
            ("rights", lambda: vendor.rights(server, covered)),
            ("settings", vendor.settings),
            ("content", lambda: self._databases(covered, vendor)),
        ]
        found += await examine([Check(name, run, self._instance.id, _DATABASES_SECONDS + 20) for name, run in parts])
        return found

    async def _tools(self, server: ServerFacts) -> list[Finding]:
        """Whether there are programs for this server, and how they fit."""
        release = ".".join(map(str, server.version[:2]))
        found = engine_for(server.vendor).find_tools(server, await self._site.tools.installed_tools())
        findings = []
        length = 1 if server.vendor is EngineKind.POSTGRESQL else 2
        for tool in (found.dump, found.client):
            if tool.version[:length] < server.version[:length]:
                text = f"{tool.label} is older than the server ({release}): what is new there may be missing in dumps"
                findings.append(doubtful("tools", text, f"Install the programs of {server.vendor} {release}."))
        if server.vendor is EngineKind.POSTGRESQL and found.globals_dump is None:
            text = f"no pg_dumpall for PostgreSQL {release}: roles cannot be backed up"
            findings.append(broken("tools", text, f"Install postgresql-client-{server.version[0]}."))
        return findings or [fine("tools", f"{found.dump.label} and {found.client.label} fit the server ({release})")]

    async def _line(self, vendor: Vendor) -> list[Finding]:
        """TLS and clock."""
        line = await vendor.line()
        return [doctor_facts.connection(self._instance, line), doctor_facts.clock(line, self._site.now())]

    async def _coverage(self, seen: Sequence[str]) -> list[Finding]:
        return doctor_facts.coverage(self._instance, seen)

    async def _databases(self, covered: Sequence[str], vendor: Vendor) -> list[Finding]:
        """A look into each database, as long as there is time."""
        covered = await vendor.open_to_us(covered)
        limit, unseen, found = asyncio.Semaphore(_AT_ONCE), set(covered), list[Finding]()

        async def look(name: str) -> None:
            async with limit:
                try:
                    found.extend(await self._database(name, vendor))
                except VyaError as error:
                    found.append(of_error("content", error.at(self._instance.id, name)))
                unseen.discard(name)

        tasks = [asyncio.create_task(look(name), name=f"doctor {self._instance.id}") for name in covered]
        try:
            async with asyncio.timeout(_DATABASES_SECONDS):
                await asyncio.gather(*tasks)
        except TimeoutError:
            text = f"{len(unseen)} of {len(covered)} databases were not looked into within {_DATABASES_SECONDS:g} s"
            found.append(doubtful("content", text, "Try again when the server is less busy."))
        finally:
            for task in tasks:
                task.cancel()
        return found or ([fine("content", f"nothing doubtful in {len(covered)} databases")] if covered else [])

    async def _database(self, name: str, vendor: Vendor) -> list[Finding]:
        facts = await self._site.probe.database(self._instance, name)
        warnings = [each for each in facts.warnings if not each.startswith(_TOLD_BY_ENGINES)]
        found = await vendor.database(facts)
        return [*found, *(doubtful("content", warning, database=name) for warning in warnings)]
