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
from pathlib import Path

from tests.faults.injection import Injection, Strike
from tests.faults.proxy import Disturbance, Kind, Proxy, Way
from tests.faults.rig import Bench
from tests.faults.works import WORKS, Run
from tests.waiting import PATIENCE, until


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

INJECTIONS: list[Injection] = [
    NetworkFails(name="reset a connection", kind=Kind.RESET, works=_WITH_SERVER, weight=0.7),
    NetworkFails(name="cut an answer short", kind=Kind.CLOSE, after=20_000, works=_WITH_SERVER, weight=0.5),
    NetworkFails(name="cut a request short", kind=Kind.CLOSE, way=Way.TO_SERVER, works=_WITH_SERVER, weight=0.5),
    NetworkFails(name="refuse connections", kind=Kind.REFUSE, works=_WITH_SERVER, outage=8.0, weight=0.4),
    NetworkFails(name="answers come slowly", kind=Kind.DELAY, works=_WITH_SERVER, weight=0.3),
    NetworkFails(name="an answer never comes", kind=Kind.HANG, works=_WITH_SERVER, weight=0.1),
    NetworkFails(name="a request never arrives", kind=Kind.HANG, way=Way.TO_SERVER, works=_WITH_SERVER, weight=0.05),
    NetworkFails(name="nothing arrives any more", kind=Kind.BLACK_HOLE, works=_WITH_SERVER, outage=8.0, weight=0.05),
]
