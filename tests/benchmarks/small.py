"""Many tiny databases: what a backup costs beside the dump itself, against a shell script that loops over the tool."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from tests.benchmarks.control import operate
from tests.benchmarks.measure import Contender, Run, Series, compare, cpu_seconds
from tests.benchmarks.rigs import Bench
from vya_backupd.process.folder import ChildFolder
from vya_backupd.testing.product import Product

MANY = 200
"""From so many databases on, scripts and daemon are compared with two workers alone, and nothing runs to warm up."""
_TABLE = "CREATE TABLE {0}t (a int PRIMARY KEY, b varchar(20)); INSERT INTO {0}t VALUES (1,'x'),(2,'y'),(3,'z');"


def make_small(bench: Bench, amount: int) -> list[str]:
    """So many databases with a table of three rows each."""
    names = [f"small_{number:04}" for number in range(amount)]
    first, rest = names[0], names[1:]
    drop_small(bench, names)
    bench.server.create_database(first)
    bench.server.sql(_TABLE.format(""), first)
    if bench.server.kind == "postgresql":
        bench.server.sql("".join(f"CREATE DATABASE {name} TEMPLATE {first};\n" for name in rest))
    else:
        bench.server.sql("".join(f"CREATE DATABASE {name}; {_TABLE.format(f'{name}.')}\n" for name in rest))
    return names


def drop_small(bench: Bench, names: list[str]) -> None:
    """Drop them all, those that there are."""
    bench.server.sql("".join(f"DROP DATABASE IF EXISTS {name};\n" for name in names))


def pace(product: Product, share: int = 100) -> tuple[float, float]:
    """Seconds for each database among the first ones and among the last ones of what is in the store."""
    manifests = (product.base_path / "testhost").rglob("*.metadata.json")
    ends = sorted(datetime.fromisoformat(json.loads(each.read_bytes())["finished_at"]) for each in manifests)
    early, late = ends[: share + 1], ends[-share - 1 :]
    return tuple((each[-1] - each[0]).total_seconds() / share for each in (early, late))  # type: ignore[return-value]


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
            if len(names) >= MANY:
                print("seconds for each of the first and the last hundred:", *pace(product), file=sys.stderr)
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
    if len(names) >= MANY:
        pair = {name: each for name, each in contenders.items() if "two" in name}
        return await compare(pair, rounds, warm=False)
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
    script = bench.folder / f"{names[0]}.sh"
    script.write_text("set -e -o pipefail\n" + "\n".join(lines))
    try:
        subprocess.run(["bash", script], env=home.environment(first), check=True)
    finally:
        script.unlink()
        home.remove()


def _words(home: ChildFolder, argv: tuple[str, ...]) -> str:
    return shlex.join(home.resolve(argument) for argument in argv)


def _target(bench: Bench, name: str) -> Path:
    return bench.folder / f"{name}.sql"
