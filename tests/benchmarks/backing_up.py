"""One database backed up: by several sessions and by one stream, beside the bare dump tool and its peers."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.measure import Series, compare
from tests.benchmarks.rigs import Bench
from vya_backupd.testing.product import Product, instance


async def backing_up(
    bench: Bench, product: Product, folder: Path, rounds: int, *, peers: bool = True
) -> dict[str, Series]:
    """``product`` decides by itself how many sessions read; a second installation in ``folder`` has one stream."""
    entry = instance(bench.server, bench.server.spec.label)
    config = {"backup": {"parallel_per_database": 1}}
    with Product(folder, [entry], servers=[bench.server], config=config) as single:
        contenders = {
            "bare": bench.bare,
            "backup": bench.daemon(product),
            "backup, one stream": bench.daemon(single),
            **(bench.peers() if peers else {}),
        }
        for name in ("backup", "backup, one stream"):
            await contenders[name]()  # each backup but the first knows what the last one has learned
        return await compare(contenders, rounds)
