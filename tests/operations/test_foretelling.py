"""What a dump has learned waits in the catalog for the next one of the same database, and only for that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vya_backupd.catalog import Catalog
from vya_backupd.dumpfile.codec import LADDER
from vya_backupd.dumpfile.foretold import Foretold, Packing
from vya_backupd.operations.dump_run import DumpRun

_LEARNED = Foretold(6, {"public.t": Packing(50_000_000, {next(iter(LADDER)): 0.9}, 0.5, 0.5, 1.0185)})


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = Catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.db")
    await opened.open()
    yield opened
    await opened.close()


def _run(catalog: Catalog, database: str, size_bytes: int) -> DumpRun:
    """As far as foretelling looks at it."""
    job = SimpleNamespace(instance=SimpleNamespace(id="one"), database=database)
    found = SimpleNamespace(before=SimpleNamespace(size_bytes=size_bytes))
    parts = cast("tuple[Any, ...]", (SimpleNamespace(catalog=catalog), job, found, None, -1, lambda *_: None, None))
    return DumpRun(*parts)


async def test_the_next_dump_is_told(catalog: Catalog) -> None:
    assert await _run(catalog, "shop", 1000)._foretold() is None
    await _run(catalog, "shop", 1000)._tell_next(_LEARNED)
    told = await _run(catalog, "shop", 960)._foretold()
    assert told == Foretold(6, _LEARNED.objects, 1000)
    assert await _run(catalog, "other", 1000)._foretold() is None


async def test_a_database_that_has_shrunk_is_told_nothing(catalog: Catalog) -> None:
    await _run(catalog, "shop", 1000)._tell_next(_LEARNED)
    assert await _run(catalog, "shop", 900)._foretold() is None


async def test_a_catalog_that_fails_keeps_nobody_from_dumping(catalog: Catalog) -> None:
    await catalog.close()
    await _run(catalog, "shop", 1000)._tell_next(_LEARNED)
    assert await _run(catalog, "shop", 1000)._foretold() is None
