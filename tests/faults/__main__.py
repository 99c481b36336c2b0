"""``python -m tests.faults``: many faults, by number; or one of them again.

    python -m tests.faults --faults 1000 --log faults.jsonl            a night's work
    python -m tests.faults --faults 1000 --resume faults.jsonl         goes on where that was cut short
    python -m tests.faults --seed 7 --only 123                         one fault again

The exit status is 1 when anything was broken, and 2 when a point was hit less often than asked for.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.faults.bench import Series, table
from tests.faults.drawing import RANDOM, Cell, Fault, cells, draw
from tests.faults.injection import ENGINES
from vya_backupd.testing.discover import find_servers
from vya_backupd.testing.servers import PrivateServer

_TRIES = 3
"""How often a point is asked for once more, by which it was missed."""


def main(arguments: list[str]) -> int:
    """See the module's text. Returns the exit status."""
    asked = _parsed(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)  # whoever ends us ends our servers and daemons, too
    with ExitStack() as servers, ExitStack() as stack:
        running: dict[str, PrivateServer] = {}

        def server(engine: str) -> PrivateServer:
            if engine not in running:
                spec = next(each for each in find_servers() if each.kind == engine)
                running[engine] = servers.enter_context(spec.start())
            return running[engine]

        series = Series(server, lambda text: print(text, flush=True))
        stack.callback(series.close)
        if asked.only is not None:
            fault = draw(asked.seed, asked.only, asked.engine, _cell(asked.cell))
            print(fault, flush=True)
            result = series.run(fault)
            print(json.dumps(result.record(), default=str))
            return 1 if result.broken else 0
        return _Night(series, asked.seed, asked.engine, asked.faults, asked.hits, asked.resume or asked.log).run()


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=60, help="how many at least")
    parser.add_argument("--hits", type=int, default=0, help="go on until each point of each engine was hit so often")
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", type=int, help="the fault of this number alone")
    parser.add_argument("--cell", help="ENGINE:POINT for --only, instead of the one that is drawn")
    parser.add_argument("--log", type=Path, help="a new file of results, one JSON record a line")
    parser.add_argument("--resume", type=Path, help="such a file, to go on with")
    return parser.parse_args(arguments)


def _cell(text: str | None) -> Cell | None:
    if text is None:
        return None
    engine, _, point = text.partition(":")
    return engine, point


@dataclass
class _Night:
    """Many faults, each with a line in the log."""

    series: Series
    seed: int
    engines: list[str]
    faults: int
    hits: int
    log: Path | None
    done: int = 0
    failed: int = 0

    def run(self) -> int:
        """All of them. Returns the exit status."""
        began, before = time.monotonic(), self._resumed()
        print(f"seed {self.seed}, {self.faults} faults, {before} done before", flush=True)
        while (fault := self._next()) is not None:
            result = self.series.run(fault)
            self.done += 1
            self.failed += bool(result.broken)
            if self.log is not None:
                with self.log.open("a") as log:
                    log.write(json.dumps(result.record(), default=str) + "\n")
            rate = (time.monotonic() - began) / (self.done - before)
            mark = "BROKEN" if result.broken else "hit" if result.hit else "missed"
            print(f"[{self.done}/{self.faults}, {rate:.1f} s each] {mark} {fault} -> {result.state}", flush=True)
        wrong = self.series.conclude()
        print(table(self.series.hits, self.engines))
        print(
            f"{self.done} faults, {sum(self.series.hits.values())} hits, {self.failed} broken; at the end: {wrong or 'well'}"
        )
        return 1 if self.failed or wrong else 2 if self._lacking() else 0

    def _next(self) -> Fault | None:
        if self.done < self.faults:
            return draw(self.seed, self.done, self.engines)
        lacking = self._lacking()
        if not lacking or self.done > self.faults * (1 + _TRIES):
            return None
        return draw(self.seed, self.done, self.engines, lacking[self.done % len(lacking)])

    def _lacking(self) -> list[Cell]:
        return sorted(
            {cell for cell in cells(self.engines) if self.series.hits[cell] < self.hits and cell[1] != RANDOM}
        )

    def _resumed(self) -> int:
        """Count what the log has."""
        if self.log is None or not self.log.exists():
            return 0
        for line in self.log.read_text().splitlines():
            record = json.loads(line)
            self.seed = record["seed"]
            self.done = max(self.done, record["number"] + 1)
            self.failed += bool(record["broken"])
            self.series.hits[record["engine"], record["moment"]["point"] or RANDOM] += record["hit"]
        return self.done


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
