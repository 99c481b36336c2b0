"""``python -m tests.faults``: many faults, by number; or one of them again.

    python -m tests.faults --faults 1000 --log faults.jsonl            a night's work
    python -m tests.faults --faults 1000 --log faults.jsonl            the same again goes on where that was cut short
    python -m tests.faults --faults 1000 --log faults.jsonl --batch 20 twenty more of them, then an end
    python -m tests.faults --report --log faults.jsonl                 what they came to
    python -m tests.faults --seed 7 --only 123                         one fault again
    python -m tests.faults --log faults.jsonl --only 123               the same as the log has it, whatever is drawn today

The exit status is 1 when anything was broken, and 2 when a point was hit less often than asked for.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.faults.bench import Series, table
from tests.faults.drawing import Cell, Fault, draw
from tests.faults.injection import ENGINES
from tests.faults.night import Night, Tally, recorded
from vya_backupd.testing.discover import find_servers
from vya_backupd.testing.servers import PrivateServer


def main(arguments: list[str]) -> int:
    """See the module's text. Returns the exit status."""
    asked = _parsed(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)  # whoever ends us ends our servers and daemons, too
    if asked.report:
        tally = Tally.of(asked.log)
        print(table(tally.hits, asked.engine), tally, sep="\n")
        return 0
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
            fault = recorded(asked.log, asked.only) if asked.log else _drawn(asked)
            print(fault, flush=True)
            result = series.run(fault)
            print(json.dumps(result.record(), default=str))
            return 1 if result.broken else 0
        return Night(series, asked.seed, asked.engine, asked.faults, asked.hits, asked.batch, asked.log).run()


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
    parser.add_argument("--log", type=Path, help="results, one JSON record a line; what is there is gone on with")
    parser.add_argument("--batch", type=int, help="no more than so many now; the log tells the next run where to go on")
    parser.add_argument("--report", action="store_true", help="run nothing, say what the log amounts to")
    return parser.parse_args(arguments)


def _drawn(asked: argparse.Namespace) -> Fault:
    return draw(asked.seed, asked.only, asked.engine, _cell(asked.cell))


def _cell(text: str | None) -> Cell | None:
    if text is None:
        return None
    engine, _, point = text.partition(":")
    return engine, point


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
