"""What the network does to the product: the daemon and its tools reach their server through a proxy of ours.

The proxy stands between them for one fault only: the credentials file names its port meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.injection import Injection, Strike
from tests.faults.proxy import Disturbance, Kind, Proxy, Way
from tests.faults.rig import Bench
from tests.faults.works import WORKS, Run
from tests.waiting import PATIENCE, until
from vya_backupd.faults import POINTS


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFails(Injection):
    """From the moment on, the first connection that speaks that way is disturbed, behind ``after`` bytes of it.

    After ``outage`` seconds the network is well again, also while the work goes on.
    """

    kind: Kind
    way: Way = Way.FROM_SERVER
    after: int = 0
    outage: float = PATIENCE

    @contextmanager
    def around(self, bench: Bench) -> Iterator[Strike]:
        """See ``Injection``."""
        with Proxy(bench.server.host, bench.server.port) as proxy, led_through(bench, proxy.port):
            yield lambda run: self._strike(bench, run, proxy)

    def _strike(self, bench: Bench, run: Run, proxy: Proxy) -> bool:
        proxy.disturb(Disturbance(self.kind, self.way, self.after))
        bench.arm("")
        until(lambda: proxy.hits or run.is_over, PATIENCE, f"{run.work.name} neither speaks nor ends")
        with suppress(AssertionError):
            run.until_over(self.outage)
        hits = proxy.hits
        proxy.heal()
        return hits > 0


@contextmanager
def led_through(bench: Bench, port: int) -> Iterator[None]:
    """Have the daemon and its tools reach their server at another port."""
    before = _lead(bench, port)
    try:
        yield
    finally:
        _lead(bench, before)


def _lead(bench: Bench, port: int) -> int:
    """Put this port into force. Returns the one before."""
    path = Path(bench.product.settings["credentials"]["file"])
    document = json.loads(path.read_text())
    before: int = document["databases"][0]["port"]
    document["databases"][0]["port"] = port
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(document))
    os.replace(fresh, path)
    if bench.is_up:
        reloaded(bench)
    return before


def reloaded(bench: Bench) -> str:
    """SIGHUP. Returns what the log says when the daemon has read everything anew, or refused to."""
    log = bench.product.log_path
    seen = log.stat().st_size

    def said() -> str:
        with log.open("rb") as file:
            file.seek(seen)
            text = file.read().decode(errors="replace")
        done = '"config.reloaded"' in text or '"config.reload_refused"' in text
        return text if done or not bench.is_up else ""

    bench.product.signal(signal.SIGHUP)
    return until(said, PATIENCE, "the daemon did not read its configuration anew")


_WITH_SERVER = frozenset(work.name for work in WORKS.values() if work.uses_server)
_BEFORE_LONG_ANSWERS = frozenset({"backup.probed", "backup.held", "backup.session", "backup.globals", "backup.dumping"})
_BEFORE_WORDS = frozenset(POINTS) - {
    "backup.dumped",
    "backup.recorded",
    *(each for each in POINTS if each[:6] == "store."),
}
"""Points behind which somebody still speaks with the server."""

_fails = partial(NetworkFails, works=_WITH_SERVER, points=_BEFORE_WORDS)

INJECTIONS: list[Injection] = [
    _fails(name="reset a connection", kind=Kind.RESET, weight=0.7),
    _fails(name="cut an answer short", kind=Kind.CLOSE, after=20_000, points=_BEFORE_LONG_ANSWERS, weight=0.5),
    _fails(name="cut a request short", kind=Kind.CLOSE, way=Way.TO_SERVER, weight=0.5),
    _fails(name="refuse connections", kind=Kind.REFUSE, outage=8.0, weight=0.4),
    _fails(name="answers come slowly", kind=Kind.DELAY, weight=0.3),
    _fails(name="an answer never comes", kind=Kind.HANG, weight=0.1),
    _fails(name="a request never arrives", kind=Kind.HANG, way=Way.TO_SERVER, weight=0.1),
    _fails(name="nothing arrives any more", kind=Kind.BLACK_HOLE, outage=8.0, weight=0.1),
]
