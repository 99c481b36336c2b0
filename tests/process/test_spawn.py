"""Children: their ends, their streams, their secrets, and that none of them outlives us."""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE, soon, until
from vya_backupd.errors import StorageError, ToolError
from vya_backupd.model.command import Command, SecretFile
from vya_backupd.model.secret import Secret
from vya_backupd.process import Spawner
from vya_backupd.process.folder import ChildFolder

CANARY = "c4nary-§-\"'\\ #pass"


@pytest.fixture
def spawner(tmp_path: Path) -> Spawner:
    return Spawner(tmp_path / "run")


def shell(script: str, **more: object) -> Command:
    return Command(("/bin/sh", "-c", script), name="sh", **more)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_run_gives_output_status_and_stderr(spawner: Spawner) -> None:
    done = await spawner.run(shell("cat; echo oops >&2; exit 3"), b"hello" * 100_000)
    assert done.stdout == b"hello" * 100_000
    assert (done.exit.returncode, done.exit.signal, done.exit.stderr, done.exit.ok) == (3, None, "oops\n", False)


async def test_a_signal_is_told_apart_from_a_status(spawner: Spawner) -> None:
    done = await spawner.run(shell("kill -SEGV $$"))
    assert (done.exit.signal, done.exit.stopped) == (signal.SIGSEGV, False)


async def test_input_is_empty_unless_given(spawner: Spawner) -> None:
    async with spawner.start(shell("cat; echo end")) as process:
        assert (await asyncio.wait_for(process.wait(), PATIENCE)).ok


async def test_stderr_is_kept_in_bounds_with_head_and_tail(spawner: Spawner) -> None:
    done = await spawner.run(shell("echo first >&2; head -c 20000000 /dev/zero | tr '\\0' x >&2; echo last >&2"))
    assert done.exit.stderr.startswith("first\n")
    assert done.exit.stderr.endswith("last\n")
    assert "left out" in done.exit.stderr
    assert len(done.exit.stderr) < 70_000


async def test_a_stopped_child_takes_its_whole_group_along(spawner: Spawner, tmp_path: Path) -> None:
    script = f"trap '' TERM; sh -c \"trap '' TERM; echo \\$\\$ > {tmp_path}/pid; while :; do sleep 0.1; done\""
    async with spawner.start(shell(script)) as process:
        await soon(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        grandchild = int((tmp_path / "pid").read_text())
        ended = await process.stop(grace=0.2)
    assert (ended.signal, ended.stopped) == (signal.SIGKILL, True)
    await soon(lambda: not alive(grandchild))


async def test_descendants_left_behind_by_a_leader_that_ends_are_killed(spawner: Spawner, tmp_path: Path) -> None:
    done = await spawner.run(shell(f"sleep 1000 >/dev/null 2>&1 & echo $! > {tmp_path}/pid"))
    assert done.exit.ok
    await soon(lambda: not alive(int((tmp_path / "pid").read_text())))


async def test_cancelling_the_task_ends_the_child(spawner: Spawner) -> None:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with spawner.start(shell("exec sleep 1000")) as process:
            started.set_result(process.pid)
            await process.wait()

    task = asyncio.create_task(work())
    pid = await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{pid}").exists(), "the child is not reaped"
    assert not list(spawner.runtime_dir.iterdir())


async def test_a_child_that_takes_too_long_is_ended(spawner: Spawner) -> None:
    with pytest.raises(ToolError) as raised:
        await spawner.run(shell("exec sleep 1000"), timeout=0.2)
    assert raised.value.code == "stalled"


async def test_a_disk_that_takes_no_secret_files_is_named_and_keeps_none(spawner: Spawner) -> None:
    command = Command(("cat", "{login}"), files=(SecretFile("{login}", Secret("x")),))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(StorageError, match=f"private files of cat in {spawner.runtime_dir}: File too large"):
            ChildFolder(spawner.runtime_dir, command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(spawner.runtime_dir.iterdir())
    spawner.runtime_dir.rmdir()
    with pytest.raises(StorageError, match="private files of cat"):
        await spawner.run(command)


async def test_a_missing_program_is_named(spawner: Spawner) -> None:
    with pytest.raises(ToolError) as raised:
        await spawner.run(Command(("/nowhere/pg_dump",)))
    assert raised.value.code == "tool_missing"
    assert "/nowhere/pg_dump" in raised.value.message
    assert not list(spawner.runtime_dir.iterdir())


async def test_pipes_carry_more_than_the_usual_and_are_closed(spawner: Spawner) -> None:
    gc.collect()  # what earlier tests left is not to go meanwhile
    before = len(os.listdir("/proc/self/fd"))
    async with spawner.start(shell("cat"), stdin="pipe", stdout="pipe") as process:
        assert process.stdin_fd is not None
        assert process.stdout_fd is not None
        os.write(process.stdin_fd, b"x" * 500_000)
        process.close_stdin()
        got = b""
        while chunk := await asyncio.to_thread(os.read, process.stdout_fd, 1 << 20):
            got += chunk
        assert (await process.wait()).ok
    assert len(got) == 500_000
    assert len(os.listdir("/proc/self/fd")) == before


async def test_the_environment_is_neutral(spawner: Spawner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "leak")
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=1")
    done = await spawner.run(shell("env", env={"PGTZ": "UTC"}))
    names = {line.split("=")[0] for line in done.stdout.decode().splitlines()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {
        "PATH", "LC_ALL", "TZ", "HOME", "XDG_CONFIG_HOME", "TMPDIR", "PGSYSCONFDIR", "MYSQL_HOME", "PGTZ",
    }  # fmt: skip


async def test_a_secret_is_in_a_private_file_and_nowhere_else(spawner: Spawner) -> None:
    secret = SecretFile("@pass@", Secret(CANARY))
    command = Command(
        ("/bin/sh", "-c", "stat -c %a $0 $(dirname $0) && cat $PASS && exec sleep 1000", "@pass@"),
        env={"PASS": "@pass@"},
        files=(secret,),
    )
    async with spawner.start(command, stdout="pipe") as process:
        assert process.stdout_fd is not None
        expected = b"600\n700\n" + CANARY.encode()
        got = b""
        while len(got) < len(expected):
            got += await asyncio.to_thread(os.read, process.stdout_fd, 4096)
        assert got == expected
        # Between the shell's last word and the program that takes its place there is a moment of neither.
        await soon(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"))
        shown = b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        assert b"PATH=" in shown
        for form in (CANARY.encode(), base64.b64encode(CANARY.encode()), b"c4nary"):
            assert form not in shown
    assert not list(spawner.runtime_dir.iterdir())


async def test_the_file_mode_does_not_depend_on_the_umask(spawner: Spawner) -> None:
    before = os.umask(0)
    try:
        done = await spawner.run(Command(("/usr/bin/stat", "-c", "%a", "@s@"), files=(SecretFile("@s@", Secret("x")),)))
    finally:
        os.umask(before)
    assert done.stdout == b"600\n"


def test_leftovers_are_swept_and_nothing_else(spawner: Spawner) -> None:
    (spawner.runtime_dir / "child-dead").mkdir()
    (spawner.runtime_dir / "child-dead" / "secret-0").write_text("x")
    (spawner.runtime_dir / "control.sock").touch()
    assert spawner.sweep() == 1
    assert [entry.name for entry in spawner.runtime_dir.iterdir()] == ["control.sock"]


OWNER = """
import asyncio, sys
from pathlib import Path
from vya_backupd.model.command import Command
from vya_backupd.process import Spawner

async def main() -> None:
    async with Spawner(Path(sys.argv[1])).start(Command(("/bin/sleep", "1000"))) as process:
        print(process.pid, flush=True)
        await process.wait()

asyncio.run(main())
"""


async def test_a_child_does_not_outlive_a_killed_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = int(await asyncio.to_thread(owner.stdout.readline))
    # The pid is that of setpriv until it became sleep: it must be past the request for the signal.
    await soon(lambda: Path(f"/proc/{child}/comm").read_bytes().strip() == b"sleep")
    assert alive(child)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    until(lambda: not alive(child), 3.0)
