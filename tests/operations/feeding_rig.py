"""Files of ours made from real databases, and feeders that bring them back, without a daemon around them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from tests.dumpfile import samples
from tests.engines.rig import Rig
from tests.pipeline.conftest import Fed as Pipe
from vya_backupd.dumpfile.manifest import encode_manifest
from vya_backupd.operations.feeding import Fed, Feeder, Feeding
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source
from vya_backupd.operations.targets import Target
from vya_backupd.pipeline.dump import DumpTerms, Stream, dump
from vya_backupd.pipeline.pool import CodecPool, new_pool
from vya_backupd.pipeline.throttle import Throttle
from vya_backupd.testing.servers import PrivateServer


class FeedingRig(Rig):
    """A server with its tools. Segments are small, so that small databases have many."""

    def __init__(self, server: PrivateServer, folder: Path, pool: CodecPool) -> None:
        super().__init__(server, folder)
        self.folder = folder
        self.pool = pool
        self.told: list[tuple[str, int]] = []

    async def packed(
        self, database: str, segment_size: int = 4096, *, edit: Callable[[bytes], bytes] = bytes, name: str = "packed"
    ) -> Path:
        """A backup file of a database, with its manifest. ``edit`` may change the text of the dump."""
        path = self.folder / f"{name}.sql.gz"
        dumped = await self.dump(database)
        assert dumped.exit.ok, dumped.exit.stderr
        known = samples.facts(id=name, engine=self.instance.kind, database=database, properties={}, database_sql=())
        terms = DumpTerms(header=lambda: known, now=lambda: samples.MOMENT)
        scanner = self.engine.scanner(segment_size, database=database)
        text, sink = Pipe([edit(dumped.stdout)]), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            result = await dump([Stream(text.fd, scanner)], sink, self.pool, terms)
        finally:
            os.close(sink)
            text.close()
        path.with_name(f"{path.name}.metadata.json").write_bytes(encode_manifest(result.manifest(path.name)))
        return path

    async def restored(self, feeder: Feeder, path: Path, database: str, *, skip_binlog: bool = False) -> Fed:
        """Feed a file into a new database."""
        await self.create(database, properties={"character_set": "utf8mb4", "collation": "utf8mb4_bin"})
        limits = SimpleNamespace(throttle=lambda *_: Throttle(lambda: None))
        site = cast("Site", SimpleNamespace(spawner=self.spawner, pool=self.pool, probe=self.probe, limits=limits))
        target = Target(self.instance, self.facts, self.tools, self.engine, database, exists=False, objects=0)
        tell = lambda phase, raw: self.told.append((phase, raw))
        return await feeder.feed(Feeding(site, target, database, Source(path), tell, skip_binlog=skip_binlog))


@asynccontextmanager
async def feeding_rig(server: PrivateServer, folder: Path) -> AsyncIterator[FeedingRig]:
    """A rig that is ready."""
    with new_pool(2) as pool:
        rig = FeedingRig(server, folder, pool)
        await rig.ready()
        yield rig
