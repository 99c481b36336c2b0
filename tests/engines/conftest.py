from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.rig import Rig
from vya_backupd.testing.servers import PrivateServer


@pytest.fixture
async def rig(server: PrivateServer, tmp_path: Path) -> Rig:
    """A rig on each server that this machine has."""
    return await Rig(server, tmp_path).ready()


@pytest.fixture
async def postgresql_rig(postgresql: PrivateServer, tmp_path: Path) -> Rig:
    return await Rig(postgresql, tmp_path).ready()


@pytest.fixture
async def mysql_rig(mysql_family: PrivateServer, tmp_path: Path) -> Rig:
    return await Rig(mysql_family, tmp_path).ready()
