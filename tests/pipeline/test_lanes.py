"""Lanes over real programs: what they execute, in which order, and how they end together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vya_backupd.errors import VyaError
from vya_backupd.pipeline.board import Batch, Board, Job
from vya_backupd.pipeline.client_session import ClientSession, SessionGoneError
from vya_backupd.pipeline.lanes import run_lanes
from vya_backupd.pipeline.stop import Stop

SHELL = ["sh", "-e"]


def mark(token: str) -> bytes:
    return f"echo {token}\n".encode()


@contextlib.contextmanager
def shells(stop: Stop, count: int) -> Iterator[list[ClientSession]]:
    """Sessions that are shells."""
    with contextlib.ExitStack() as stack:
        sessions = []
        for _ in range(count):
            client = stack.enter_context(subprocess.Popen(SHELL, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert client.stdin
            assert client.stdout
            stack.callback(client.kill)
            sessions.append(ClientSession(client.stdin.fileno(), client.stdout.fileno(), stop, mark))
        yield sessions


def batch(group: str, *texts: bytes, after: str = "") -> Batch:
    jobs = (Job("text", functools.partial(iter, (text,))) for text in texts)
    return Batch(group, jobs, len(texts), after=frozenset({after} if after else ()))


@pytest.mark.parametrize("quick", [False, True])
async def test_everything_is_executed_in_its_order(tmp_path: Path, *, quick: bool) -> None:
    out = tmp_path / "out"
    rows = [f'[ "$opened" ] && echo {number} >> {out}\n'.encode() for number in range(50)]
    stop = Stop()
    with shells(stop, 3) as sessions:
        end = batch("end", f"echo end >> {out}\n".encode(), after="rows")
        work = batch("rows", *rows)
        work.quick = quick
        await run_lanes(sessions, Board([end, work]), stop, b"opened=1\n")
    lines = out.read_text().split()
    assert lines[-1] == "end"
    assert sorted(lines[:-1], key=int) == [str(number) for number in range(50)]


async def test_what_a_client_prints_holds_nobody_up() -> None:
    stop = Stop()
    with shells(stop, 1) as sessions:
        chatter = b"head -c 3000000 /dev/zero\n"
        await run_lanes(sessions, Board([batch("a", chatter * 3 + b": " + b"x" * 3_000_000 + b"\n")]), stop)


async def test_the_first_failure_ends_all_and_names_its_session() -> None:
    stop = Stop()
    with shells(stop, 2) as sessions, pytest.raises(SessionGoneError) as caught:
        await run_lanes(sessions, Board([batch("a", b"exec sleep 600\n", b"exit 3\n")]), stop)
    assert caught.value.session in sessions


async def test_cancelling_ends_lanes_that_wait_for_a_client(tmp_path: Path) -> None:
    stop, begun = Stop(), tmp_path / "begun"
    with shells(stop, 2) as sessions:
        work = batch("a", f"touch {begun}; exec sleep 600\n".encode())
        task = asyncio.create_task(run_lanes(sessions, Board([work]), stop))
        while not begun.exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_jobs_that_wait_for_each_other_are_an_error() -> None:
    stop = Stop()
    with shells(stop, 2) as sessions, pytest.raises(VyaError, match="wait for each other"):
        await run_lanes(sessions, Board([batch("a", b":\n", after="a")]), stop)
