"""What happens to an installation on purpose while it endures. Whatever fails at another time fails without a cause.

Each cause comes by turns, at a moment drawn from a seed; it has an end, and after that a while of grace, until which
what it broke must work again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests.endurance.sampling import descendants
from tests.observe.peers import HttpPeer, MailPeer
from vya_backupd.testing.product import Product
from vya_backupd.testing.servers import PrivateServer

LEAP = timedelta(days=6)
"""By how much the clock leaps ahead. So weeks pass in an hour: retention has days to count, and history grows old."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that was done. Times in seconds since the beginning; ``until`` includes the grace."""

    name: str
    began: float
    until: float


@dataclass
class Hand:
    """Who does it. ``grace`` seconds after a cause, what fails may still be owed to it."""

    product: Product
    servers: list[PrivateServer]
    mail: MailPeer
    http: HttpPeer
    clock: Path
    now: Callable[[], float]
    grace: float = 45.0
    done: list[Cause] = field(default_factory=list)
    _leapt: timedelta = timedelta(0)
    _turn: int = 0

    def next(self) -> Cause:
        """Do the next one, and return when it is over."""
        deeds = (self.leap, self.kill_a_tool, self.reload, self.deafen, self.leap, self.kill_a_server)
        deed = deeds[self._turn % len(deeds)]
        self._turn += 1
        began = self.now()
        told = deed()
        cause = Cause(told, round(began, 1), round(self.now() + self.grace, 1))
        self.done.append(cause)
        return cause

    def leap(self) -> str:
        """The wall clock leaps ahead, as after a sleep of the machine."""
        self._leapt += LEAP
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(self._leapt.total_seconds()))
        fresh.replace(self.clock)
        return "clock leapt"

    def kill_a_tool(self) -> str:
        """A child of the daemon dies, if one runs within some seconds."""
        for _ in range(500):
            for pid in descendants(self.product.process.pid)[-1:]:
                os.kill(pid, signal.SIGKILL)
                return "child killed"
            time.sleep(0.01)
        return "no child to kill"

    def kill_a_server(self) -> str:
        """A server dies and comes back."""
        server = self.servers[self._turn // 6 % len(self.servers)]
        server.kill()
        time.sleep(2)
        server.start()
        return f"{server.spec.label} killed"

    def deafen(self) -> str:
        """Nobody takes mails, and webhooks are answered with an error, for a while."""
        self.mail.is_down = True
        self.http.statuses.extend([503] * 5)
        time.sleep(20)
        self.mail.is_down = False
        return "nobody took mails"

    def reload(self) -> str:
        """The configuration changes: several sessions for a database, or one."""
        backup = self.product.settings["backup"]
        backup["parallel_per_database"] = 3 - int(backup["parallel_per_database"])
        self.product.write_config()
        self.product.signal(signal.SIGHUP)
        return f"{backup['parallel_per_database']} sessions for a database"
