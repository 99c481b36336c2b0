from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vya_backupd.catalog import Catalog


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'state' / 'catalog.db'}"


@pytest.fixture
async def catalog(url: str) -> AsyncIterator[Catalog]:
    catalog = Catalog(url)
    await catalog.open()
    yield catalog
    await catalog.close()
