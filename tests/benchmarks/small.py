"""Many tiny databases: what a backup costs beside the dump itself, against a shell script that loops over the tool."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from tests.benchmarks.control import operate
from tests.benchmarks.measure import Contender, Run, Series, compare, cpu_seconds
from tests.benchmarks.rigs import Bench
from vya_backupd.process.folder import ChildFolder
from vya_backupd.testing.product import Product


def make_small(bench: Bench, amount: int) -> list[str]:
    """So many databases with a table of three rows each."""
    names = [f"small_{number:03}" for number in range(amount)]
    for name in names:
        bench.server.drop_database(name)
        bench.server.create_database(name)
        bench.server.sql(
            "CREATE TABLE t (a int PRIMARY KEY, b varchar(20)); INSERT INTO t VALUES (1,'x'),(2,'y'),(3,'z')", name
        )
    return names


async def small(bench: Bench, product: Product, names: list[str], rounds: int) -> dict[str, Series]:
    """All of them through the daemon and by scripts, one after the other and two at once: seconds for one database."""

    def ours(workers: int) -> Contender:
        async def run() -> Run:
            begun, cpu = time.perf_counter(), cpu_seconds(product.process.pid)
            await asyncio.to_thread(
                operate,
                product.socket_path,
                "backup",
                instances=[bench.server.spec.label],
                databases=names,
                globals=False,
                parallel=workers > 1,
                workers=workers,
            )
            seconds, cpu = time.perf_counter() - begun, cpu_seconds(product.process.pid) - cpu
            shutil.rmtree(product.base_path / "testhost")
            return Run(seconds / len(names), 0, cpu / len(names))

        return run

    def loop(workers: int, packer: str = "") -> Contender:
        async def run() -> Run:
            begun = time.perf_counter()
            shares = [names[first::workers] for first in range(workers)]
            await asyncio.gather(*(asyncio.to_thread(_loop, bench, share, packer) for share in shares))
            seconds = time.perf_counter() - begun
            for file in bench.folder.glob("small_*.sql"):
                file.unlink()
            return Run(seconds / len(names))

        return run

    contenders = {
        "a loop of the tool": loop(1),
        "a loop of tool | gzip": loop(1, "| gzip"),
        "backup": ours(1),
        "two loops of the tool": loop(2),
        "backup, two workers": ours(2),
    }
    return await compare(contenders, rounds)


def _loop(bench: Bench, names: list[str], packer: str) -> None:
    """What a script does that somebody wrote for the purpose: the tool itself, its logins in a file, nothing else."""
    commands = {
        name: bench.rig.engine.dump_command(bench.rig.instance, name, bench.rig.tools, bench.rig.facts)
        for name in names
    }
    first = commands[names[0]]
    home = ChildFolder(bench.folder, first)
    lines = [f"{_words(home, command.argv)} {packer} > {_target(bench, name)}" for name, command in commands.items()]
    script = "set -e -o pipefail\n" + "\n".join(lines)
    try:
        subprocess.run(["bash", "-c", script], env=home.environment(first), check=True)
    finally:
        home.remove()


def _words(home: ChildFolder, argv: tuple[str, ...]) -> str:
    return shlex.join(home.resolve(argument) for argument in argv)


def _target(bench: Bench, name: str) -> Path:
    return bench.folder / f"{name}.sql"
