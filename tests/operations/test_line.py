"""Databases in line: looked at ahead, dumped in order and no more at once than allowed."""

from __future__ import annotations

import asyncio

import pytest

from vya_backupd.operations.line import Line


async def _nothing() -> None:
    return


async def _pass(line: Line, dumps: asyncio.Semaphore, number: int, said: list[str], gate: asyncio.Event) -> None:
    async with line.flight:
        async with line.looking:
            # The later ones are quicker to look at, and still do not overtake.
            for _ in range(9 - number):
                await asyncio.sleep(0)
            said.append(f"look {number}")
        async with line.turn(dumps, _nothing):
            said.append(f"dump {number}")
            await gate.wait()
        said.append(f"publish {number}")


@pytest.mark.parametrize("workers", [1, 3])
async def test_the_next_are_looked_at_and_wait_for_their_turn(workers: int) -> None:
    line, dumps, said, gate = Line(workers), asyncio.Semaphore(workers), list[str](), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(_pass(line, dumps, number, said, gate))
        while len([each for each in said if each.startswith("look")]) < workers + 2:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        dumped = [each for each in said if each.startswith("dump")]
        assert len(dumped) == workers
        assert len(said) == workers + len(dumped) + 2
        gate.set()
    order = [each for each in said if each.startswith("dump")]
    assert sorted(order) == [f"dump {number}" for number in range(8)]
    if workers == 1:
        assert order == sorted(order)


async def test_other_operations_dump_within_the_same_bound() -> None:
    dumps, gate = asyncio.Semaphore(1), asyncio.Event()
    said: list[str] = []
    async with asyncio.TaskGroup() as group:
        for number in range(2):
            group.create_task(_pass(Line(1), dumps, number, said, gate))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len([each for each in said if each.startswith("dump")]) == 1
        gate.set()
    assert len(said) == 6


async def _fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("begin")


async def test_a_failure_to_tell_the_beginning_is_the_block_s() -> None:
    with pytest.raises(ValueError, match="begin"):
        async with Line(1).turn(asyncio.Semaphore(1), _fails):
            await asyncio.sleep(0)


async def test_the_block_s_own_failure_comes_first() -> None:
    line = Line(1)
    with pytest.raises(KeyError):
        async with line.turn(asyncio.Semaphore(1), _fails):
            raise KeyError("dump")
    async with line.turn(asyncio.Semaphore(1), _nothing):
        pass  # the turn was given back
