"""A visit asks over one connection while questions follow each other, and over another one when that is gone."""

from __future__ import annotations

import asyncio

import pytest

from tests.engines.rig import Rig
from vya_backupd.errors import NotFoundError, ServerError
from vya_backupd.model.instance import EngineKind
from vya_backupd.probe import visit
from vya_backupd.probe.connect import Session, session


class _Words:
    """The same questions in both dialects."""

    def __init__(self, rig: Rig) -> None:
        is_postgresql = rig.instance.kind is EngineKind.POSTGRESQL
        self.number = "SELECT pg_backend_pid()" if is_postgresql else "SELECT CONNECTION_ID()"
        self.kill = "SELECT pg_terminate_backend({})" if is_postgresql else "KILL {}"
        self.others = (
            "SELECT pid FROM pg_stat_activity WHERE pid = {}"
            if is_postgresql
            else "SELECT ID FROM information_schema.PROCESSLIST WHERE ID = {}"
        )

    async def ask(self, talk: Session) -> int:
        return int(await talk.value(self.number))


async def _gone(rig: Rig, words: _Words, number: int) -> None:
    async with asyncio.timeout(30):
        while await rig.probe.fetch(rig.instance, words.others.format(number)):
            await asyncio.sleep(0.01)


async def test_questions_share_a_connection_that_ends_with_the_visit(rig: Rig, fresh_name: str) -> None:
    await rig.create(fresh_name)
    words = _Words(rig)
    async with rig.probe.visit(rig.instance, fresh_name) as each:
        first = await each.ask("asking", words.ask)
        async with each.rest():
            pass
        assert await each.ask("asking", words.ask) == first
        with pytest.raises(ServerError):
            await each.ask("asking", lambda talk: talk.run("SELEKT"))
        await _gone(rig, words, first)
        second = await each.ask("asking", words.ask)
        assert second != first
    await _gone(rig, words, second)
    await rig.drop(fresh_name)


async def test_a_connection_that_somebody_ended_is_made_anew(rig: Rig, fresh_name: str) -> None:
    await rig.create(fresh_name)
    words = _Words(rig)
    async with rig.probe.visit(rig.instance, fresh_name) as each:
        first = await each.ask("asking", words.ask)
        await rig.probe.fetch(rig.instance, words.kill.format(first))
        await _gone(rig, words, first)
        assert await each.ask("asking", words.ask) != first
    await rig.drop(fresh_name)


async def test_a_long_rest_is_not_waited_for_with_a_connection(
    rig: Rig, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "KEPT_SECONDS", 0.01)
    await rig.create(fresh_name)
    words = _Words(rig)
    async with rig.probe.visit(rig.instance, fresh_name) as each:
        first = await each.ask("asking", words.ask)
        async with each.rest():
            await _gone(rig, words, first)
            await rig.drop(fresh_name)
        with pytest.raises(NotFoundError):
            await each.ask("asking", words.ask)


async def test_a_talk_lasts_as_long_as_there_are_answers(rig: Rig) -> None:
    """Between two questions the server works on nothing: that answers have come since the last look is as good."""
    async with session(rig.instance, None, "asking") as each:
        await each.talk(lambda talk: talk.run("SELECT 1"))
        assert await each._lives()
        assert not await each._lives(), "no answer has come since, and the server waits for us"
