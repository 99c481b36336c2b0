"""Verify against the least that it could cost: inflating the same members, and ``gzip -t``. On one core."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from isal import igzip_lib

from tests.benchmarks.measure import Contender, Run, Series, compare
from vya_backupd.dumpfile.reader import members
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.verify import verify


@contextmanager
def _one_core() -> Iterator[None]:
    """This process, its threads to come, and its children on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _timed(work: Contender) -> Contender:
    async def run() -> Run:
        begun = time.perf_counter()
        await work()
        return Run(time.perf_counter() - begun)

    return run


async def verifying(path: Path, rounds: int) -> dict[str, Series]:
    """The file verified, its members inflated, and the file through ``gzip -t``."""

    async def ours() -> Run:
        with ThreadPoolExecutor(1) as pool:
            await verify(path, pool)
        return Run(0)

    async def bare() -> Run:
        with open_source(path) as source:
            for member in members(source.read_at, source.size):
                data = source.read_at(member.offset, member.label.member_size)
                machine = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
                machine.decompress(data, max_length=member.label.raw_size + 1)
        return Run(0)

    async def gzip() -> Run:
        process = await asyncio.create_subprocess_exec("gzip", "-t", str(path))
        if await process.wait():
            raise RuntimeError(f"gzip -t {path} failed")
        return Run(0)

    with _one_core():
        return await compare(
            {"bare inflate (isal)": _timed(bare), "verify": _timed(ours), "gzip -t": _timed(gzip)}, rounds
        )
