"""Many tiny databases: what a backup costs beside the dump itself, against a loop of ``dump | gzip``."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time

from tests.benchmarks.control import operate
from tests.benchmarks.measure import Run, Series, compare, cpu_seconds
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
    """All of them through the daemon, one after the other, and by a loop, in seconds for one database."""

    async def ours() -> Run:
        begun, cpu = time.perf_counter(), cpu_seconds(product.process.pid)
        await asyncio.to_thread(
            operate,
            product.socket_path,
            "backup",
            instances=[bench.server.spec.label],
            databases=names,
            globals=False,
        )
        seconds, cpu = time.perf_counter() - begun, cpu_seconds(product.process.pid) - cpu
        shutil.rmtree(product.base_path / "testhost")
        return Run(seconds / len(names), 0, cpu / len(names))

    async def loop() -> Run:
        begun = time.perf_counter()
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
        return Run((time.perf_counter() - begun) / len(names))

    return await compare({"dump | gzip, in a loop": loop, "backup": ours}, rounds)
