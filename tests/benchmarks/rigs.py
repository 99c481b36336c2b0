"""One server with the benchmark's database: the daemon's own commands, run bare, and beside them what others use."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.control import operate
from tests.benchmarks.data import DATABASE
from tests.benchmarks.measure import Contender, Run, cpu_seconds
from tests.engines.rig import Rig
from vya_backupd.model.command import Command
from vya_backupd.process.spawn import PIPE_SIZE
from vya_backupd.testing.product import Product
from vya_backupd.testing.servers import PrivateServer

_ROWS_ALONE = ("--no-schemas", "--no-locks", "--trx-consistency-only", "--complete-insert")
"""What mydumper would have to be told as a source of rows; see docs/performance.md."""


class Bench:
    """The contenders on one server. ``folder`` takes what they write; every file goes after its run."""

    def __init__(self, server: PrivateServer, folder: Path) -> None:
        self.server = server
        self.folder = folder / server.spec.label
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rig = Rig(server, self.folder)

    async def ready(self) -> Bench:
        """Find the tools."""
        await self.rig.ready()
        return self

    @property
    def dump(self) -> Command:
        """The command that the daemon runs for a backup."""
        return self.rig.engine.dump_command(self.rig.instance, DATABASE, self.rig.tools, self.rig.facts)

    async def bare(self) -> Run:
        """The dump tool into nothing: the limit of one stream."""
        return await self.tool(self.dump, os.open(os.devnull, os.O_WRONLY))

    def through(self, *packer: str) -> Contender:
        """The dump tool into a packing program, into a file."""

        async def run() -> Run:
            target = self.folder / "piped.gz"
            with target.open("wb") as file:
                begun = time.perf_counter()
                with subprocess.Popen(packer, stdin=subprocess.PIPE, stdout=file, pipesize=PIPE_SIZE) as process:
                    assert process.stdin is not None
                    await self.tool(self.dump, os.dup(process.stdin.fileno()), process.stdin.close)
                    assert await asyncio.to_thread(process.wait) == 0
                seconds = time.perf_counter() - begun
            return self._taken(target, seconds)

        return run

    def archive(self, *options: str) -> Contender:
        """pg_dump in a format of its own."""

        async def run() -> Run:
            target = self.folder / "archive"
            argv = [part for part in self.dump.argv if part != "--format=plain"]
            command = replace(self.dump, argv=(argv[0], *options, f"--file={target}", *argv[1:]))
            run = await self.tool(command, None)
            return self._taken(target, run.seconds)

        return run

    def mydumper(self, *options: str) -> Contender:
        """mydumper with two threads."""

        async def run() -> Run:
            target, server = self.folder / "mydumper", self.server
            secret = self.folder / "mydumper.cnf"
            secret.touch(mode=0o600)
            secret.write_text(
                f"[mydumper]\nuser={server.admin_user}\npassword={server.admin_password}\nhost={server.host}\n"
                f"port={server.port}\n"
            )
            argv = ["mydumper", f"--defaults-file={secret}", "-t", "2", *options, "-B", DATABASE, "-o", str(target)]
            begun = time.perf_counter()
            done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, check=False)
            seconds = time.perf_counter() - begun
            secret.unlink()
            if done.returncode:
                raise RuntimeError(done.stderr.decode())
            return self._taken(target, seconds)

        return run

    def daemon(self, product: Product) -> Contender:
        """A backup through the running daemon, from the request to the answer that it is published."""

        async def run() -> Run:
            pid, before = product.process.pid, cpu_seconds(product.process.pid)
            begun = time.perf_counter()
            await asyncio.to_thread(
                operate,
                product.socket_path,
                "backup",
                instances=[self.server.spec.label],
                databases=[DATABASE],
                globals=False,
            )
            seconds, cpu = time.perf_counter() - begun, cpu_seconds(pid) - before
            size = product.files()[-1].stat().st_size
            shutil.rmtree(product.base_path / "testhost")
            return Run(seconds, size, cpu)

        return run

    async def kept(self, product: Product) -> Path:
        """The file of a backup that stays."""
        await asyncio.to_thread(operate, product.socket_path, "backup", databases=[DATABASE], globals=False)
        return product.files()[-1]

    def peers(self) -> dict[str, Contender]:
        """What one would run otherwise, as far as this machine has it."""
        found: dict[str, Contender] = {"dump | gzip -6": self.through("gzip", "-6")}
        if shutil.which("pigz"):
            found["dump | pigz -6"] = self.through("pigz", "-6")
        if self.server.kind == "postgresql":
            found["pg_dump -Fc"] = self.archive("--format=custom")
            found["pg_dump -Fd -j2"] = self.archive("--format=directory", "--jobs=2")
        elif self.server.kind == "mariadb" and shutil.which("mydumper"):
            found["mydumper -t2 -c"] = self.mydumper("-c")
            found["mydumper -t2, rows, into files"] = self.mydumper("-r", "20000", *_ROWS_ALONE)
        return found

    async def tool(self, command: Command, stdout: int | None = None, after: Callable[[], None] | None = None) -> Run:
        """Run a program to its good end. ``stdout`` is closed here, ``after`` called once it was handed over."""
        begun = time.perf_counter()
        async with self.rig.spawner.start(command, stdout=stdout) as process:
            if stdout is not None:
                os.close(stdout)
            if after is not None:
                after()
            ended = await process.wait()
        if not ended.ok:
            raise RuntimeError(ended.stderr)
        return Run(time.perf_counter() - begun)

    def _taken(self, target: Path, seconds: float) -> Run:
        """The run, after its result was weighed and thrown away."""
        if target.is_dir():
            size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
            shutil.rmtree(target)
        else:
            size = target.stat().st_size
            target.unlink()
        return Run(seconds, size)
