"""One table of 10 MB out of a backup, against the restore of all of it."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import Any

from tests.benchmarks.control import operate
from tests.benchmarks.data import DATABASE
from tests.benchmarks.measure import Contender, Run, Series, compare, cpu_seconds
from tests.benchmarks.rigs import Bench
from vya_backupd.testing.product import Product

_COPY = "bench_copy"
_TABLE = "ten_megabytes"
_ROWS = 50_000
"""Customers of some 200 bytes each."""


async def tables(bench: Bench, product: Product, rounds: int) -> dict[str, Series]:
    """Both restores into a database that they create; and the table into one that is there, as after a mishap with it."""
    server = bench.server
    server.sql(f"CREATE TABLE {_TABLE} AS SELECT * FROM customers ORDER BY id LIMIT {_ROWS}", DATABASE)
    server.sql(f"ALTER TABLE {_TABLE} ADD PRIMARY KEY (id)", DATABASE)
    try:
        await bench.kept(product)
        named = f"public.{_TABLE}" if server.kind == "postgresql" else _TABLE
        contenders = {
            "whole restore": _restore(bench, product),
            "one table": _restore(bench, product, tables=[named]),
            "one table, into a database that is there": _restore(bench, product, is_there=True, tables=[named]),
        }
        found = await compare(contenders, rounds)
    finally:
        server.sql(f"DROP TABLE {_TABLE}", DATABASE)
        server.drop_database(_COPY)
        shutil.rmtree(product.base_path / "testhost", ignore_errors=True)
    return found


def _restore(bench: Bench, product: Product, *, is_there: bool = False, **more: Any) -> Contender:
    async def run() -> Run:
        bench.server.drop_database(_COPY)
        if is_there:
            bench.server.create_database(_COPY)
        pid = product.process.pid
        request = {"instance": bench.server.spec.label, "database": DATABASE, "latest": True, "target_database": _COPY}
        begun, before = time.perf_counter(), cpu_seconds(pid)
        await asyncio.to_thread(operate, product.socket_path, "restore", **request, **more)
        return Run(time.perf_counter() - begun, cpu=cpu_seconds(pid) - before)

    return run
