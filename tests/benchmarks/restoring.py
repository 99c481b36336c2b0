"""Restore through the daemon against ``zcat | client``, and against what restores in several sessions otherwise."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.control import operate
from tests.benchmarks.data import DATABASE
from tests.benchmarks.measure import Contender, Run, Series, compare, cpu_seconds
from tests.benchmarks.rigs import Bench
from vya_backupd.model.command import Command
from vya_backupd.testing.product import Product

_COPY = "bench_copy"


async def restoring(bench: Bench, product: Product, file: Path, rounds: int) -> dict[str, Series]:
    """The backup in ``file``, into an empty database."""
    feeding = Series()
    contenders = {"zcat | client": _piped(bench, file), "restore": _ours(bench, product, feeding)}
    found = await compare(contenders | await _peers(bench), rounds)
    found["restore, of that rows and indexes"] = feeding
    bench.server.drop_database(_COPY)
    shutil.rmtree(bench.folder / "archive", ignore_errors=True)
    return found


def _ours(bench: Bench, product: Product, feeding: Series) -> Contender:
    """The whole restore: the file is verified before, statistics are gathered and rows counted after. What the others do,
    too, goes into ``feeding``."""

    async def run() -> Run:
        bench.server.drop_database(_COPY)
        pid = product.process.pid
        begun, before = time.perf_counter(), cpu_seconds(pid)
        done = await asyncio.to_thread(
            operate,
            product.socket_path,
            "restore",
            instance=bench.server.spec.label,
            database=DATABASE,
            latest=True,
            target_database=_COPY,
        )
        run = Run(time.perf_counter() - begun, cpu=cpu_seconds(pid) - before)
        phases = done["steps"][0]["detail"]["phases"]
        feeding.runs.append(Run(phases["creating"] + phases["restoring"]))
        return run

    return run


def _piped(bench: Bench, file: Path) -> Contender:
    rig = bench.rig

    async def run() -> Run:
        _empty(bench)
        begun = time.perf_counter()
        command = _free(rig.engine.client_command(rig.instance, _COPY, rig.tools, rig.facts))
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

    return run


def _free(command: Command) -> Command:
    """A client as people call it: psql in the restricted mode, which ours begins in, refuses what a whole dump begins with."""
    return replace(command, argv=tuple(part for part in command.argv if "\\restrict" not in part))


def _empty(bench: Bench) -> None:
    bench.server.drop_database(_COPY)
    bench.server.create_database(_COPY)


async def _peers(bench: Bench) -> dict[str, Contender]:
    """What restores in two sessions otherwise, as far as this machine has it."""
    if bench.server.kind == "postgresql":
        return {"pg_restore -j2": await _pg_restore(bench)}
    if shutil.which("mydumper") and shutil.which("myloader"):
        return {"myloader -t2": await _myloader(bench)}
    return {}


async def _pg_restore(bench: Bench) -> Contender:
    """pg_restore with two sessions, of a directory with the same content; ANALYZE is ours alone."""
    target = bench.folder / "archive"
    shutil.rmtree(target, ignore_errors=True)
    argv = [part for part in bench.dump.argv if part != "--format=plain"]
    options = ("--format=directory", "--jobs=2", f"--file={target}")
    await bench.tool(replace(bench.dump, argv=(argv[0], *options, *argv[1:])))
    rig = bench.rig

    async def run() -> Run:
        _empty(bench)
        client = rig.engine.client_command(rig.instance, _COPY, rig.tools, rig.facts)
        place = [part for part in client.argv if part.startswith(("--dbname=", "--no-password"))]
        program = str(bench.server.tools["pg_restore"])
        return await bench.tool(replace(client, argv=(program, "--jobs=2", "--exit-on-error", *place, str(target))))

    return run


async def _myloader(bench: Bench) -> Contender:
    """myloader with two threads, of a compressed dump of mydumper's with the same content."""
    target, login, server = bench.folder / "archive", bench.folder / "myloader.cnf", bench.server
    shutil.rmtree(target, ignore_errors=True)
    login.touch(mode=0o600)
    words = f"user={server.admin_user}\npassword={server.admin_password}\nhost={server.host}\nport={server.port}\n"
    login.write_text(f"[mydumper]\n{words}[myloader]\n{words}")
    await _ran("mydumper", f"--defaults-file={login}", "-t", "2", "-c", "-B", DATABASE, "-o", str(target))

    async def run() -> Run:
        _empty(bench)
        begun = time.perf_counter()
        await _ran("myloader", f"--defaults-file={login}", "-t", "2", "-o", "-B", _COPY, "-d", str(target))
        return Run(time.perf_counter() - begun)

    return run


async def _ran(*argv: str) -> None:
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
