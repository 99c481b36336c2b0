"""Restore through the daemon against ``zcat | client``, one session each."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

from tests.benchmarks.control import operate
from tests.benchmarks.data import DATABASE
from tests.benchmarks.measure import Run, Series, compare
from tests.benchmarks.rigs import Bench
from vya_backupd.testing.product import Product

_COPY = "bench_copy"


async def restoring(bench: Bench, product: Product, file: Path, rounds: int) -> dict[str, Series]:
    """The backup in ``file``, into an empty database."""
    label, rig = bench.server.spec.label, bench.rig

    async def ours() -> Run:
        bench.server.drop_database(_COPY)
        begun = time.perf_counter()
        await asyncio.to_thread(
            operate,
            product.socket_path,
            "restore",
            instance=label,
            database=DATABASE,
            latest=True,
            target_database=_COPY,
        )
        return Run(time.perf_counter() - begun)

    async def piped() -> Run:
        bench.server.drop_database(_COPY)
        bench.server.create_database(_COPY)
        begun = time.perf_counter()
        command = rig.engine.client_command(rig.instance, _COPY, rig.tools, rig.facts)
        with subprocess.Popen(["zcat", str(file)], stdout=subprocess.PIPE) as zcat:
            source = os.dup(zcat.stdout.fileno()) if zcat.stdout else -1
            null = os.open(os.devnull, os.O_WRONLY)
            async with rig.spawner.start(command, stdin=source, stdout=null) as client:
                os.close(source)
                os.close(null)
                ended = await client.wait()
        if not ended.ok:
            raise RuntimeError(ended.stderr)
        return Run(time.perf_counter() - begun)

    found = await compare({"zcat | client": piped, "restore": ours}, rounds)
    bench.server.drop_database(_COPY)
    return found
