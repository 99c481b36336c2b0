"""A probe that is cancelled ends as cancelled, wherever its driver is, and leaves no connection behind."""

from __future__ import annotations

import asyncio
import gc
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.engines.rig import instance_of
from tests.waiting import PATIENCE, soon
from vya_backupd.model.instance import EngineKind, Instance, Tls, TlsMode
from vya_backupd.model.secret import Secret
from vya_backupd.probe import Probe
from vya_backupd.probe.cancelling import cancellable
from vya_backupd.testing.servers import PrivateServer

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]

_GREETING = (
    b"\x0a9.7.0\0" + b"\x08\0\0\0" + b"12345678\0" + b"\xff\xff\x2d\x02\0\xff\xdf\x15" + b"\0" * 10 + b"123456789012\0"
    b"mysql_native_password\0"
)
_MYSQL = len(_GREETING).to_bytes(3, "little") + b"\0" + _GREETING


async def _says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


async def _greets_by_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_MYSQL[:20])


async def _greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_MYSQL)


async def _takes_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)
    writer.write(b"S")


@dataclass
class Listener:
    """What has come to a port that somebody listens at who is no server."""

    port: int
    arrived: int = 0
    gone: int = 0
    heard: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[Listener]:
    """Answers so, and then never again."""
    found = Listener(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.arrived += 1
        try:
            await answer(reader, writer)
            while said := await reader.read(4096):
                found.heard.append(said)
        except OSError:
            pass  # gone with a reset
        finally:
            found.gone += 1
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def _at(port: int, kind: EngineKind, mode: TlsMode) -> Instance:
    return Instance(
        id="silent",
        kind=kind,
        host="127.0.0.1",
        port=port,
        socket=None,
        username="u",
        password=Secret("p"),
        tls=Tls(mode),
    )


async def _cancelled(task: asyncio.Task[object]) -> bool:
    """Cancel once, and say whether that is how the task ended."""
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    assert done, "the cancellation was lost"
    return task.cancelled()


@pytest.mark.parametrize(
    ("kind", "mode", "answer", "speaks"),
    [
        (EngineKind.MYSQL, TlsMode.DISABLE, _says_nothing, False),
        (EngineKind.MYSQL, TlsMode.DISABLE, _greets_by_half, False),
        (EngineKind.MYSQL, TlsMode.DISABLE, _greets, True),
        (EngineKind.MARIADB, TlsMode.REQUIRE, _greets, True),
        (EngineKind.MYSQL, TlsMode.PREFER, _greets, True),
        (EngineKind.POSTGRESQL, TlsMode.DISABLE, _says_nothing, True),
        (EngineKind.POSTGRESQL, TlsMode.REQUIRE, _takes_tls, True),
    ],
)
async def test_a_server_that_stops_answering_holds_nobody(
    kind: EngineKind, mode: TlsMode, answer: Answer, speaks: bool
) -> None:
    async with listening(answer) as listener:
        task: asyncio.Task[object] = asyncio.create_task(Probe().server(_at(listener.port, kind, mode)))
        await soon(lambda: listener.heard if speaks else listener.arrived)
        assert await _cancelled(task)
        del task
        gc.collect()  # psycopg closes what it has begun when nobody holds it any more
        await soon(lambda: listener.gone == listener.arrived, "the connection stays open")


@pytest.mark.parametrize("mode", [TlsMode.DISABLE, TlsMode.PREFER])
async def test_a_cancellation_at_any_moment_is_one(server: PrivateServer, mode: TlsMode) -> None:
    """After each number of turns of the event loop; some meet an answer in the same turn."""
    for driver in ("asyncmy", "psycopg"):
        importlib.import_module(driver)
    instance, early = instance_of(server, tls=Tls(mode)), 0
    for turns in range(80):
        task: asyncio.Task[object] = asyncio.create_task(Probe().server(instance))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            early += 1
            await task
        else:
            assert await _cancelled(task), f"lost after {turns} turns"
    assert early < 80


async def test_an_answer_in_the_turn_of_the_cancellation_does_not_undo_it() -> None:
    answer = asyncio.get_running_loop().create_future()
    dismissed: list[object] = []
    task: asyncio.Task[object] = asyncio.create_task(cancellable(asyncio.wait_for(answer, PATIENCE), dismissed.append))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answer.set_result("opened")
    assert await _cancelled(task)
    assert dismissed in ([None], [None, "opened"])  # the second where the driver lost the cancellation


async def test_work_that_overhears_a_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vya_backupd.probe.cancelling.GRACE_SECONDS", 0.01)
    overheard = 0

    async def deaf() -> str:
        nonlocal overheard
        while overheard < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                overheard += 1
        return "opened after all"

    dismissed: list[object] = []
    task: asyncio.Task[object] = asyncio.create_task(cancellable(deaf(), dismissed.append))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await _cancelled(task)
    assert (overheard, dismissed[-1]) == (3, "opened after all")


async def test_results_and_failures_pass() -> None:
    async def fails() -> str:
        raise OSError("refused")

    assert await cancellable(asyncio.sleep(0, "result"), print) == "result"
    with pytest.raises(OSError, match="refused"):
        await cancellable(fails(), print)
