"""The daemon's system calls while it works: what a killed process cannot show, since the page cache outlives it."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.rig import Bench

_CALLS = "trace=fsync,linkat,renameat2"
_SYNCED = re.compile(r"fsync\(\d+<([^>]+)>")
_NAMED = re.compile(r'(?:linkat|renameat2)\([^,]+, "([^"]+)", \d+<[^>]+>, "([^"]+)"')


@contextmanager
def traced(bench: Bench, file: Path) -> Iterator[None]:
    """Write what the running daemon asks of its disk into ``file``."""
    argv = ["strace", "-f", "-y", "-p", str(bench.product.process.pid), "-e", _CALLS, "-o", str(file)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        assert "attached" in said, said
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()


def unsynced(file: Path) -> list[str]:
    """The names that were given to files whose content nobody had asked the disk to keep. None at all: an error.

    Raises:
        AssertionError: no file was given a name.
    """
    synced: set[str] = set()
    named: dict[str, str] = {}
    for line in file.read_text().splitlines():
        if found := _SYNCED.search(line):
            synced.add(found[1])
        elif (found := _NAMED.search(line)) and "= -1" not in line:
            named.setdefault(found[2], "" if found[1] in synced else found[1])
    named = {name: source for name, source in named.items() if not name.endswith(".probe")}
    assert named, "nothing was published under the trace"
    return [name for name, source in named.items() if source]
