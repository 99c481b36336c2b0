"""A site without servers and store: configuration, a real catalog, and a clock that a test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vya_backupd.catalog import Catalog
from vya_backupd.config.schema import Config
from vya_backupd.model.instance import EngineKind, Instance
from vya_backupd.model.secret import Secret
from vya_backupd.observe.counting import counts_of
from vya_backupd.operations.site import Settings, Site

NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)


class Clock:
    """The time, until somebody turns it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def instance(name: str = "pg", *databases: str, exclude: tuple[str, ...] = ()) -> Instance:
    """Covers everything, or the named databases."""
    where: dict[str, Any] = {"host": "h", "port": 5432, "socket": None, "username": "u", "password": Secret("p")}
    return Instance(name, EngineKind.POSTGRESQL, **where, databases=databases or ("*",), exclude=exclude)


@asynccontextmanager
async def small_site(
    folder: Path, instances: list[Instance], config: Mapping[str, Any], clock: Clock
) -> AsyncIterator[Site]:
    """The site of one daemon's life; a second one on the same folder is its restart."""
    catalog = Catalog(f"sqlite+aiosqlite:///{folder}/catalog.db", counting=counts_of)
    await catalog.open()
    settings = Settings(Config.model_validate(config), {each.id: each for each in instances})
    absent: Any = None
    parts = dict.fromkeys(("store", "spawner", "tools", "probe", "pool", "naming", "dumps", "decode_manifest"), absent)
    try:
        yield Site(settings=settings, catalog=catalog, now=clock, **parts)
    finally:
        await catalog.close()
