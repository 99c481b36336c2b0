"""Let a daemon endure: ``python -m tests.endurance --seconds 14400 --log FILE``.

With ``--report`` it only says what became of the runs in a log, which may still be going on. A run that was broken off
is begun anew in the same log, and the report tells of both. The exit status is 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.endurance.enduring import Endurance, Terms
from tests.endurance.installation import installed
from tests.endurance.report import report
from vya_backupd.testing.discover import find_servers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--seconds", type=float, default=14_400, help="how long (default: %(default)s)")
    parser.add_argument("--log", type=Path, default=Path("endurance.jsonl"), help="JSON lines (default: %(default)s)")
    parser.add_argument("--banks", type=int, default=2, help="databases on each server (default: %(default)s)")
    parser.add_argument("--pace", type=float, default=4.0, help="transfers a second in each (default: %(default)s)")
    parser.add_argument("--cause-every", type=float, default=240.0, help="seconds (default: %(default)s)")
    parser.add_argument("--servers", default="postgresql-15,mariadb-10.11,mysql-9.7", help="labels")
    parser.add_argument("--report", action="store_true", help="only say what became of the runs in the log")
    return parser.parse_args()


def _endure(options: argparse.Namespace) -> None:
    wanted = options.servers.split(",")
    root = Path(tempfile.mkdtemp(prefix="vya-endurance-"))
    try:
        with ExitStack() as stack:
            servers = [stack.enter_context(spec.start(root)) for spec in find_servers() if spec.label in wanted]
            where = stack.enter_context(installed(root, servers, options.banks, options.pace))
            Endurance(where, Terms(options.seconds, cause_every=options.cause_every), options.log).run()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> int:
    """The exit status."""
    options = _options()
    if not options.report:
        _endure(options)
    records = [json.loads(line) for line in options.log.read_text().splitlines()]
    text, is_well = report(records)
    print(text)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
