"""Many tiny databases: what a backup costs beside the dump itself, against a loop of ``dump | gzip``."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time

from tests.benchmarks.control import operate
from tests.benchmarks.measure import Contender, Run, Series, compare, cpu_seconds
from tests.benchmarks.rigs import Bench
from vya_backupd.testing.product import Product


def make_small(bench: Bench, amount: int) -> list[str]:
    """So many databases with a table of ten rows each."""
    names = [f"small_{number:03}" for number in range(amount)]
    for name in names:
        bench.server.drop_database(name)
        bench.server.create_database(name)
        bench.server.sql(
            "CREATE TABLE t (a int PRIMARY KEY, b varchar(20)); INSERT INTO t VALUES (1,'x'),(2,'y'),(3,'z')", name
        )
    return names


async def small(bench: Bench, product: Product, names: list[str], rounds: int) -> dict[str, Series]:
    """All of them through the daemon and by a loop, one after the other and two at once, in seconds for one database."""

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

    def loop(workers: int) -> Contender:
        async def run() -> Run:
            begun = time.perf_counter()
            await asyncio.gather(*(_loop(bench, names[first::workers]) for first in range(workers)))
            return Run((time.perf_counter() - begun) / len(names))

        return run

    return await compare(
        {"dump | gzip, in a loop": loop(1), "backup": ours(1), "two loops": loop(2), "backup, two workers": ours(2)},
        rounds,
    )


async def _loop(bench: Bench, names: list[str]) -> None:
    """What a shell script would do."""
    for name in names:
        command = bench.rig.engine.dump_command(bench.rig.instance, name, bench.rig.tools, bench.rig.facts)
        target = bench.folder / f"{name}.gz"
        with target.open("wb") as file, subprocess.Popen(["gzip"], stdin=subprocess.PIPE, stdout=file) as gzip:
            async with bench.rig.spawner.start(command, stdout=gzip.stdin.fileno() if gzip.stdin else None) as tool:
                if gzip.stdin:
                    gzip.stdin.close()
                await tool.wait()
            await asyncio.to_thread(gzip.wait)
        target.unlink()
