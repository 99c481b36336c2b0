from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import ServerPool
from vya_backupd.catalog import Catalog


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'state' / 'catalog.db'}"


@pytest.fixture
def postgresql_url(server_pool: ServerPool, fresh_name: str) -> Iterator[str]:
    server = server_pool.get("postgresql")
    server.create_database(fresh_name)
    url = sa.URL.create(
        "postgresql+psycopg", server.admin_user, server.admin_password, server.host, server.port, fresh_name
    )
    yield url.render_as_string(hide_password=False)
    server.drop_database(fresh_name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def catalog(url: str) -> AsyncIterator[Catalog]:
    catalog = Catalog(url)
    await catalog.open()
    yield catalog
    await catalog.close()


Damage = Callable[[Path], None]
