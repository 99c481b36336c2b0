"""Holding back commits: that it works, that it ends, and that it is not tried at a bad moment. On real servers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest

from tests.engines.rig import Rig
from tests.waiting import soon
from vya_backupd.errors import ServerError
from vya_backupd.probe import mysql_lock
from vya_backupd.probe.mysql_lock import oldest_statement


class Writer:
    """A statement of somebody else, which runs in a thread of its own."""

    def __init__(self, rig: Rig, database: str, statement: str) -> None:
        self._thread = threading.Thread(target=self._run, args=(rig, database, statement))
        self._thread.start()

    def _run(self, rig: Rig, database: str, statement: str) -> None:
        with contextlib.suppress(ServerError):  # it may be killed
            rig.server.sql(statement, database)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()


async def waiting(rig: Rig) -> bool:
    """Whether some statement waits for what we hold."""
    rows = await rig.probe.fetch(rig.instance, "SHOW PROCESSLIST")
    return any(str(row[7]).startswith("UPDATE") and "lock" in str(row[6]).lower() for row in rows)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to give up."""
    for limit in ("_ANSWER", "_GIVE_UP", "_PATIENCE"):
        monkeypatch.setattr(mysql_lock, limit, 100)


@pytest.fixture
async def database(mysql_rig: Rig, fresh_name: str) -> AsyncIterator[str]:
    await mysql_rig.create(fresh_name, "CREATE TABLE t (a int PRIMARY KEY, b int)", "INSERT INTO t VALUES (1, 1)")
    yield fresh_name
    await mysql_rig.drop(fresh_name)


async def test_nothing_is_committed_until_the_end(
    mysql_rig: Rig, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_lock, "LONGEST", 100)
    rig = mysql_rig
    async with rig.probe.commits_held(rig.instance, rig.facts) as still:
        writer = Writer(rig, database, "UPDATE t SET b = 2")
        while not await waiting(rig):
            await asyncio.sleep(0.01)
        assert not writer.done
        assert await rig.probe.number(rig.instance, "SELECT b FROM t", database) == 1
        assert 90 < still.left < 100
        assert 0 < await still.end() < 100
        await soon(lambda: writer.done)
    assert await rig.probe.number(rig.instance, "SELECT b FROM t", database) == 2


async def test_the_server_itself_lets_go_of_who_is_not_heard_of_and_this_is_noticed(
    mysql_rig: Rig, database: str
) -> None:
    rig = mysql_rig

    async def forget_for_a_while() -> None:
        async with rig.probe.commits_held(rig.instance, rig.facts) as still:
            writer = Writer(rig, database, "UPDATE t SET b = 3")
            await soon(lambda: writer.done)
            await still.end()

    with pytest.raises(ServerError) as refused:
        await forget_for_a_while()
    assert refused.value.code == "server_lost"


async def test_it_is_not_tried_while_a_statement_is_running_for_long(
    mysql_rig: Rig, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_lock, "_PATIENCE", 0)
    rig = mysql_rig
    mark = f"'{database}'"
    sleeper = Writer(rig, database, f"SELECT {mark}, SLEEP(1000)")
    try:
        while (found := await _sleeping(rig, mark)) is None or found[1] < 2:
            await asyncio.sleep(0.05)
        with pytest.raises(ServerError, match="has been running for"):
            async with rig.probe.commits_held(rig.instance, rig.facts):
                pass
    finally:
        number, _ = await _sleeping(rig, mark) or (0, 0)
        await rig.probe.execute(rig.instance, [f"KILL QUERY {number}"])
        await soon(lambda: sleeper.done)


async def _sleeping(rig: Rig, mark: str) -> tuple[int, int] | None:
    rows = await rig.probe.fetch(rig.instance, "SHOW PROCESSLIST")
    return next(((int(row[0]), int(row[5])) for row in rows if f"SELECT {mark}" in str(row[7])), None)


def test_whose_statements_count() -> None:
    rows = [
        (1, "me", "h", None, "Query", 9, "", "SHOW PROCESSLIST"),
        (2, "you", "h", "d", "Sleep", 500, "", None),
        (3, "system user", "", None, "Query", 700, "", "an applied event"),
        (4, "you", "h", "d", "Binlog Dump GTID", 900, "", None),
        (5, "event_scheduler", "h", None, "Daemon", 900, "", None),
        (6, "you", "h", "d", "Query", None, "", "starting"),
    ]
    assert oldest_statement(rows, 1) == 0
    assert oldest_statement([*rows, (7, "you", "h", "d", "Execute", 4, "", "x", 0.0)], 1) == 4
    assert oldest_statement(rows, 99) == 9
