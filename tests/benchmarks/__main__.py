"""``python -m tests.benchmarks``: everything measured, as Markdown. Minutes long; wants a machine that is quiet.

Ratios are of medians within one run, the order of contenders rotated from round to round.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tests.benchmarks.backing_up import backing_up
from tests.benchmarks.data import TABLES, load, write_rows
from tests.benchmarks.many import many
from tests.benchmarks.measure import MEGABYTE, Series, machine, table
from tests.benchmarks.plain import PLAIN
from tests.benchmarks.resting import memory, startup
from tests.benchmarks.restoring import restoring
from tests.benchmarks.rigs import Bench
from tests.benchmarks.scale import scaled
from tests.benchmarks.small import MANY, drop_small, make_small, small
from tests.benchmarks.tables import tables
from tests.benchmarks.verifying import verifying
from vya_backupd.testing.discover import find_servers
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer, ServerSpec

_PARTS = ("backup", "memory", "verify", "small", "restore", "table", "scale", "many")
_WITHOUT_DATA = {"scale", "many"}
"""Parts that make what they measure."""
_CORPORA = {"hard": TABLES, "plain": PLAIN}
_PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_MEASURED = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_PARTS)}; default: all")
    parser.add_argument("--size", type=int, default=1000, help="MB of dump (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender (default: %(default)s)")
    parser.add_argument("--servers", default="postgresql-15,mariadb-10.11,mysql-9.7", help="labels")
    parser.add_argument(
        "--corpus", choices=_CORPORA, default="hard", help="what the database holds (default: %(default)s)"
    )
    parser.add_argument("--tables", type=int, default=10_000, help="of the part many (default: %(default)s)")
    parser.add_argument("--databases", type=int, default=50, help="of the part small (default: %(default)s)")
    parser.add_argument(
        "--no-peers", action="store_true", help="of backups, only the bare tool beside: in a fifth of the time"
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE.name}")
    return parser.parse_args()


def _compared(series: dict[str, Series], base: str, gigabytes: float = 0.0) -> str:
    """A table of contenders; sizes and CPU where there are any."""
    gzip = series.get("dump | gzip -6")
    rows = []
    for name, each in series.items():
        size = f"{each.size / MEGABYTE:.1f}" if each.size else ""
        packed = f"{each.size / gzip.size:.3f}" if gzip and each.size else ""
        cpu = f"{each.cpu / gigabytes:.2f}" if each.cpu and gigabytes else f"{each.cpu:.3f}" if each.cpu else ""
        ratio = f"{each.seconds / series[base].seconds:.2f}"
        rows.append([name, f"{each.seconds:.{2 if each.seconds >= 1 else 3}f}", each.spread, ratio, size, packed, cpu])
    heads = ["what", "s (median)", "fastest-slowest", f"÷ {base}", "MB", "÷ gzip -6", "daemon's CPU s"]
    kept = [number for number in range(len(heads)) if any(row[number] for row in rows)]
    return table([heads[number] for number in kept], [[row[number] for number in kept] for row in rows])


class Suite:
    """The chosen servers with their data, and what is measured on them."""

    def __init__(
        self, servers: list[PrivateServer], specs: list[ServerSpec], root: Path, options: argparse.Namespace
    ) -> None:
        self._servers = servers
        self._specs = specs
        self._tables: int = options.tables
        self._databases: int = options.databases
        self._root = root
        self._rounds: int = options.rounds
        self._parts: list[str] = options.parts or list(_PARTS)
        self._gigabytes: float = options.size / 1000
        self._peers = not options.no_peers
        self._corpus: str = options.corpus

    async def run(self) -> list[str]:
        """The chapters of the report."""
        report = [f"{machine()}; {self._corpus} dumps of about {self._gigabytes:g} GB, {self._rounds} rounds."]
        for server in self._servers:
            report += [text async for text in self._on(server)]
        if "scale" in self._parts:
            report += await scaled(self._root / "scale", self._rounds, small=self._gigabytes < 0.5)
        for spec in self._specs if "many" in self._parts else ():
            report.append(await asyncio.to_thread(many, spec, self._root / f"many-{spec.label}", self._tables))
        if "memory" in self._parts:
            report.append(await self._resting())
        return report

    async def _on(self, server: PrivateServer) -> AsyncIterator[str]:
        bench = await Bench(server, self._root).ready()
        label = server.spec.label
        with Product(self._root / label / "product", [instance(server, label)], servers=[server]) as product:
            if "backup" in self._parts:
                series = await backing_up(
                    bench, product, self._root / label / "single", self._rounds, peers=self._peers
                )
                yield f"### Backup: {label}\n\n{_compared(series, 'bare', self._gigabytes)}"
            if {"verify", "restore"} & set(self._parts):
                file = await bench.kept(product)
                if "verify" in self._parts:
                    series = await verifying(file, self._rounds)
                    yield f"### Verify: {label}\n\n{_compared(series, 'bare inflate (isal)')}"
                if "restore" in self._parts:
                    series = await restoring(bench, product, file, self._rounds)
                    yield f"### Restore: {label}\n\n{_compared(series, 'zcat | client')}"
            if "table" in self._parts:
                series = await tables(bench, product, self._rounds)
                yield f"### One table of 10 MB: {label}\n\n{_compared(series, 'whole restore')}"
            if "small" in self._parts:
                names = make_small(bench, self._databases)
                series = await small(bench, product, names, self._rounds)
                base = "two loops of the tool" if self._databases >= MANY else "a loop of the tool"
                yield f"### {len(names)} tiny databases, each: {label}\n\n{_compared(series, base)}"
                drop_small(bench, names)

    async def _resting(self) -> str:
        seconds = startup(self._servers, self._root / "startup", max(self._rounds, 5))
        used = await memory(self._servers[:2], self._root / "memory")
        rows = [
            ["start, until the control socket answers", f"{seconds:.2f} s"],
            ["resident at rest, after the start", f"{used.started:.0f} MB"],
            [f"resident at most, two backups of {self._gigabytes:g} GB at once", f"{used.most:.0f} MB"],
            ["resident at rest, after them", f"{used.rested:.0f} MB"],
        ]
        return "### Memory and start\n\n" + table(["what", ""], rows)


def main() -> None:
    """Make the databases, measure, print."""
    options = _options()
    specs = {spec.label: spec for spec in find_servers()}
    if missing := [label for label in options.servers.split(",") if label not in specs]:
        print(f"not measured, this machine has no {', '.join(missing)}; it has {', '.join(specs)}", file=sys.stderr)
    chosen = [specs[label] for label in options.servers.split(",") if label in specs]
    wanted = chosen if set(options.parts or _PARTS) - _WITHOUT_DATA else []
    root = Path(tempfile.mkdtemp(prefix="vya-bench-"))
    root.chmod(0o755)
    servers: list[PrivateServer] = []
    try:
        tables_of = _CORPORA[options.corpus]
        files = write_rows(root, options.size if wanted else 0, tables_of)
        for spec in wanted:
            servers.append(spec.start())
            load(servers[-1], files, tables=tables_of)
        report = "\n\n".join(asyncio.run(Suite(servers, chosen, root, options).run()))
        print(report)
        if options.write:
            _PAGE.write_text(_MEASURED.sub(lambda _: f"\n{report}\n\n", _PAGE.read_text()))
    finally:
        for server in servers:
            server.discard()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
