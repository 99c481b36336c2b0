"""A real server, our probe, and its tools through our spawner: what the tests of engines and probe stand on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vya_backupd.engines.base import Engine
from vya_backupd.engines.postgresql_guard import RestrictLines
from vya_backupd.engines.registry import engine_for
from vya_backupd.engines.tools import ToolRole, Toolset
from vya_backupd.model.instance import EngineKind, Instance, ServerFacts
from vya_backupd.model.secret import Secret
from vya_backupd.probe import Probe
from vya_backupd.process import Completed, Spawner, ToolFinder, ToolSearch
from vya_backupd.testing.servers import PrivateServer

ROLES = {
    "dump": ToolRole.DUMP,
    "client": ToolRole.CLIENT,
    "pg_dump": ToolRole.DUMP,
    "psql": ToolRole.CLIENT,
    "pg_dumpall": ToolRole.GLOBALS,
}

ODD_NAMES = (
    "with space",
    "-leading --dash",
    'quo\'te "double" `tick`',
    "unicode ü 数据",
    "dbname=x per%cent :colon {brace} $dollar$",
    "x" * 60,
)
"""Names that a database may have; MySQL has no four-byte characters in names, so none of those."""


def instance_of(server: PrivateServer, **changes: Any) -> Instance:
    """The server as an instance of ours, over TCP, as its administrator."""
    instance = Instance(
        id="it-1",
        kind=EngineKind(server.kind),
        host=server.host,
        port=server.port,
        socket=None,
        username=server.admin_user,
        password=Secret(server.admin_password),
    )
    return replace(instance, **changes)


class Rig:
    """Everything needed to dump and restore one server by hand."""

    def __init__(self, server: PrivateServer, folder: Path) -> None:
        self.server = server
        self.instance = instance_of(server)
        self.engine: Engine = engine_for(self.instance.kind)
        self.probe = Probe()
        self.spawner = Spawner(folder / "run")
        self.facts: ServerFacts
        self.tools: Toolset

    async def ready(self) -> Rig:
        programs = {Path(path): ROLES[name] for name, path in self.server.tools.items() if name in ROLES}
        finder = ToolFinder(self.spawner, ToolSearch(programs=programs))
        self.facts = await self.probe.server(self.instance)
        self.tools = self.engine.find_tools(self.facts, await finder.installed_tools())
        return self

    async def create(self, name: str, *statements: str, properties: dict[str, str] | None = None) -> None:
        await self.probe.execute(self.instance, self.engine.drop_database_sql(name, self.facts))
        await self.probe.execute(self.instance, self.engine.create_database_sql(name, properties or {}, self.facts))
        await self.probe.execute(self.instance, statements, name)

    async def drop(self, *names: str) -> None:
        for name in names:
            await self.probe.execute(self.instance, self.engine.drop_database_sql(name, self.facts))

    async def dump(self, name: str, instance: Instance | None = None) -> Completed:
        return await self.spawner.run(self.engine.dump_command(instance or self.instance, name, self.tools, self.facts))

    async def feed(self, name: str | None, sql: bytes, instance: Instance | None = None) -> Completed:
        command = self.engine.client_command(instance or self.instance, name, self.tools, self.facts)
        lines = RestrictLines()  # as whoever restores a dump does: the client is in restricted mode already
        return await self.spawner.run(command, lines.feed(sql) + lines.finish())
