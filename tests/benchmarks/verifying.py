"""Verify against the least that it could cost: inflating the same members, and ``gzip -t``; on one core and on two.

isal is called in two ways: by its one-shot function, as anybody would who is told the size of what comes out, and as
verification itself calls it, which is a good deal faster and so the harder measure.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isal import igzip_lib, isal_zlib

from tests.benchmarks.measure import Contender, Run, Series, compare
from vya_backupd.daemon.footprint import share_heaps
from vya_backupd.dumpfile.reader import members
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.pool import new_pool
from vya_backupd.pipeline.verify import verify


@contextmanager
def _cores(number: int) -> Iterator[None]:
    """This process, its threads to come, and its children on so many cores."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[-number:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _timed(work: Contender, cores: int = 1) -> Contender:
    async def run() -> Run:
        with _cores(cores):
            begun, cpu = time.perf_counter(), time.process_time()
            await work()
            return Run(time.perf_counter() - begun, cpu=time.process_time() - cpu)

    return run


async def verifying(path: Path, rounds: int) -> dict[str, Series]:
    """The file verified, its members inflated, and the file through ``gzip -t``. CPU seconds are this process's."""
    share_heaps()

    async def ours() -> Run:
        with new_pool() as pool:
            await verify(path, pool)
        return Run(0)

    async def bare() -> Run:
        with open_source(path) as source:
            for member in members(source.read_at, source.size):
                data = source.read_at(member.offset, member.label.member_size)
                machine = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
                machine.decompress(data, max_length=member.label.raw_size + 1)
        return Run(0)

    async def one_shot() -> Run:
        with open_source(path) as source:
            for member in members(source.read_at, source.size):
                data = source.read_at(member.offset, member.label.member_size)
                isal_zlib.decompress(data, wbits=31, bufsize=member.label.raw_size)
        return Run(0)

    async def gzip() -> Run:
        process = await asyncio.create_subprocess_exec("gzip", "-t", str(path))
        if await process.wait():
            raise RuntimeError(f"gzip -t {path} failed")
        return Run(0)

    contenders = {
        "bare inflate (isal)": _timed(bare),
        "bare inflate (isal, one-shot)": _timed(one_shot),
        "verify": _timed(ours),
        "verify, two cores": _timed(ours, 2),
        "gzip -t": _timed(gzip),
    }
    return await compare(contenders, rounds)
