"""Several sessions of MySQL and MariaDB bring back the same database as one does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.compare_mysql import assert_same, load_schema
from tests.operations.feeding_rig import FeedingRig, feeding_rig
from vya_backupd.operations import feeding_mysql_jobs
from vya_backupd.operations.feeding_mysql import MysqlFeeder
from vya_backupd.operations.feeding_serial import SerialFeeder
from vya_backupd.testing.servers import PrivateServer


@pytest.fixture
async def rig(
    mysql_family: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FeedingRig]:
    monkeypatch.setattr(feeding_mysql_jobs, "_LATE_KEYS_FROM", 1)
    async with feeding_rig(mysql_family, tmp_path) as each:
        yield each


async def test_everything_that_a_database_can_hold_comes_back(rig: FeedingRig, fresh_name: str) -> None:
    load_schema(rig.server, fresh_name, "mysql_common.sql", f"{rig.server.kind}.sql")
    file = await rig.packed(fresh_name)
    serial, parallel = f"{fresh_name} serial", f"{fresh_name} parallel"
    await rig.restored(SerialFeeder(), file, serial)
    fed = await rig.restored(MysqlFeeder(3), file, parallel)
    assert fed.sessions == 3
    assert_same(rig.server, serial, rig.server, parallel)
    assert_same(rig.server, fresh_name, rig.server, parallel)
    await rig.drop(fresh_name, f"{fresh_name} other", serial, parallel)
