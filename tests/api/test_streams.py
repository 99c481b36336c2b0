"""Answers that are bytes as they come: whole, refused, broken off, and no faster than they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.api.service import RecordedService
from tests.waiting import soon
from vya_backupd.api import lines
from vya_backupd.api.access import Access, Role
from vya_backupd.api.control import control_app
from vya_backupd.api.listen import Site, bind_unix
from vya_backupd.api.route import Asked, Stream
from vya_backupd.errors import IntegrityError, NotFoundError

_PIECE = b"x" * 100_000


class Tap:
    """A panel whose stream does what its request says, and counts."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = 0

    def routes(self) -> list[Stream]:
        return [Stream("POST", "/v1/tap", Role.OPERATOR, self._open)]

    async def _open(self, asked: Asked) -> AsyncGenerator[bytes]:
        try:
            if asked.body.get("unknown"):
                raise NotFoundError("no such table", code="unknown_table")
            for _ in range(int(asked.body["pieces"])):
                self.given += 1
                yield _PIECE
            if asked.body.get("breaks"):
                raise IntegrityError("damaged")
        finally:
            self.closed += 1


@pytest.fixture
async def tap(open_folder: Path) -> AsyncIterator[tuple[Tap, aiohttp.ClientSession]]:
    panel, path = Tap(), open_folder / "control.sock"
    site = Site(control_app(RecordedService(), Access((), ()), [panel]), bind_unix(path, group=None), max_connections=9)
    await site.start()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        yield panel, session
    await site.stop()


Tapped = tuple[Tap, aiohttp.ClientSession]
URL = "http://daemon/v1/tap"


async def test_a_whole_stream(tap: Tapped) -> None:
    async with tap[1].post(URL, json={"pieces": 30}) as answer:
        assert (answer.status, answer.content_type) == (200, "application/sql")
        assert await answer.read() == _PIECE * 30
    assert tap[0].closed == 1


async def test_an_empty_stream(tap: Tapped) -> None:
    async with tap[1].post(URL, json={"pieces": 0}) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_what_fails_at_once_is_an_ordinary_problem(tap: Tapped) -> None:
    async with tap[1].post(URL, json={"unknown": True}) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "unknown_table"


async def test_what_fails_later_breaks_off(tap: Tapped) -> None:
    with pytest.raises(aiohttp.ClientError):
        async with tap[1].post(URL, json={"pieces": 3, "breaks": True}) as answer:
            await answer.read()


async def test_nothing_runs_ahead_of_its_reader(tap: Tapped) -> None:
    panel, session = tap
    async with session.post(URL, json={"pieces": 1000}) as answer:
        await answer.content.readexactly(10)
        before = -1
        while panel.given != before:
            before = panel.given
            for _ in range(50):
                await asyncio.sleep(0)
        assert panel.given < 100
        answer.close()
    await soon(lambda: panel.closed == 1)


async def test_a_reader_that_pauses_for_too_long_is_let_go(tap: Tapped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PAUSE_SECONDS", 0.1)
    panel, session = tap
    async with session.post(URL, json={"pieces": 1000}) as answer:
        await answer.content.readexactly(10)
        await soon(lambda: panel.closed == 1)
    assert panel.given < 1000
