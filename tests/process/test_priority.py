"""Niceness and disk priority of children, as the kernel tells them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from vya_backupd.model.command import Command
from vya_backupd.process import Priority, Spawner

_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}
SLEEP = Command(("/bin/sleep", "1000"))
SHELL = Command(("/bin/sh", "-c", "sleep 1000 & echo $!; wait"))
IDLE, BEST_EFFORT = 3 << 13, 2 << 13


def niceness(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16])


def io_priority(pid: int) -> int:
    return int(ctypes.CDLL(None).syscall(_IOPRIO_GET[os.uname().machine], 1, pid))


@pytest.fixture
def mine() -> int:
    return niceness(os.getpid())


async def test_as_we_are_where_nothing_is_wanted(tmp_path: Path, mine: int) -> None:
    async with Spawner(tmp_path / "run").start(SLEEP) as process:
        assert (niceness(process.pid), io_priority(process.pid)) == (mine, io_priority(os.getpid()))


@pytest.mark.parametrize(("io", "value"), [("idle", IDLE), ("0", BEST_EFFORT), ("7", BEST_EFFORT | 7)])
async def test_given_right_after_the_start(tmp_path: Path, mine: int, io: str, value: int) -> None:
    async with Spawner(tmp_path / "run", Priority(4, io)).start(SLEEP) as process:
        assert (niceness(process.pid), io_priority(process.pid)) == (min(19, mine + 4), value)


async def test_never_beyond_the_last(tmp_path: Path) -> None:
    async with Spawner(tmp_path / "run", Priority(19)).start(SLEEP) as process:
        assert niceness(process.pid) == 19


async def test_given_to_all_that_run_and_their_children(tmp_path: Path, mine: int) -> None:
    spawner = Spawner(tmp_path / "run")
    async with spawner.start(SLEEP) as one, spawner.start(SHELL, stdout="pipe") as other:
        assert other.stdout_fd is not None
        grandchild = int(os.read(other.stdout_fd, 100))
        assert spawner.change_priority(Priority(5, "idle")) == 0
        for pid in (one.pid, other.pid, grandchild):
            assert (niceness(pid), io_priority(pid)) == (min(19, mine + 5), IDLE)
        async with spawner.start(SLEEP) as later:
            assert niceness(later.pid) == min(19, mine + 5)
    assert spawner.change_priority(Priority()) == 0


async def test_one_that_has_ended_needs_none(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path / "run", Priority(3, "idle"))
    async with spawner.start(Command(("/bin/true",))) as process:
        await process.wait()
        assert spawner.change_priority(Priority(9)) == 0
