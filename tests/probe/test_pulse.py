"""A statement may take as long as the server works on it, and no longer."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.engines.rig import instance_of
from tests.faults.proxy import Disturbance, Kind, Proxy, Way
from vya_backupd.engines import conninfo
from vya_backupd.errors import ServerError
from vya_backupd.model.instance import EngineKind
from vya_backupd.probe import Probe, pulse
from vya_backupd.probe.connect import session
from vya_backupd.testing.servers import PrivateServer


def _sleep(server: PrivateServer, seconds: float) -> str:
    return f"SELECT {'pg_sleep' if server.kind == 'postgresql' else 'sleep'}({seconds})"


async def test_a_statement_that_the_server_works_on_is_waited_for(server: PrivateServer) -> None:
    began = time.monotonic()
    await Probe(lambda: 0.1).fetch(instance_of(server), _sleep(server, 0.7))
    assert time.monotonic() - began >= 0.7


async def test_an_answer_that_is_lost_on_its_way_is_not_waited_for(
    server: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "_GRACE", 0.1)
    await _lost(server, Kind.HANG)


async def test_a_server_that_says_nothing_at_all_is_given_up(
    any_postgresql: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "_GRACE", 0.1)
    monkeypatch.setattr(conninfo, "CONNECT_TIMEOUT", 1)
    await _lost(any_postgresql, Kind.BLACK_HOLE)


async def _lost(server: PrivateServer, kind: Kind) -> None:
    with Proxy(server.host, server.port) as proxy, pytest.raises(ServerError) as caught:
        await _asked_twice(server, proxy, kind)
    assert caught.value.code == "server_lost"
    assert caught.value.retryable


async def _asked_twice(server: PrivateServer, proxy: Proxy, kind: Kind) -> None:
    """The second time on a connection whose answers do not come through any more."""
    async with session(replace(instance_of(server), port=proxy.port), None, "asking", 0.3) as each:
        assert await each.run("SELECT 1") == [(1,)]
        proxy.disturb(Disturbance(kind, Way.FROM_SERVER))
        await each.run("SELECT 2")


def test_who_waits_for_us_does_not_work() -> None:
    rows = [
        (1, "a", "h", "one", "Query", 5, "altering table", None),
        (2, "a", "h", "one", "Sleep", 5, "", None),
        (3, "a", "h", "two", "Query", 5, "Sending to client", None),
        (5, "a", "h", "one", "Query", 0, "starting", pulse.MYSQL_ACTIVITY),
        (4, "event_scheduler", "h", None, "Daemon", 5, "Waiting on empty queue", None),
    ]
    assert pulse.working(EngineKind.MYSQL, rows) == [(1, "one")]
    assert pulse.working(EngineKind.POSTGRESQL, [(7, "one"), (8, None)]) == [(7, "one"), (8, "")]
