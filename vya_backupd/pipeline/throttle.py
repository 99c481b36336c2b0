"""Bytes per second: how the threads that carry a dump are held back.

Everybody who moves bytes takes a ticket for them: the number of all bytes that were asked for so far, his own included.
Time pays for bytes, at the rate of the moment; a ticket is good when everything up to it is paid. So the threads of one
dump, and the dumps of one limit, are served in the order in which they came, however many they are, and together never
get more than the rate, but for a tenth of a second's worth that an idle time has saved.

The rate is asked for again and again, also in the midst of a wait: whatever changes it, takes effect at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

Rate = Callable[[], float | None]
"""Bytes per second at this moment; None for no limit. Any thread asks it, some times per second."""

LARGEST_PIECE = 1 << 20
_SMALLEST_PIECE = 4 << 10
_BURST_SECONDS = 0.1
"""What is moved at once, or saved up while nobody asks, is at most what so long a time pays for."""
_NOTHING = 1e-6
"""Seconds that are no debt but a rounding."""
LONGEST_NAP = 0.2
"""Seconds after which a waiting thread asks for the rate again."""


class Waiting(Protocol):
    """What a wait can be broken off by (``pipeline.stop.Stop``)."""

    def wait(self, seconds: float) -> None:
        """Let so much time pass. Raises when the job is to end."""


class Throttle:
    """A limit. ``above`` is a wider one that holds as well, such as that of all instances together.

    ``chain`` is this limit and all above it.
    """

    def __init__(self, rate: Rate, above: Throttle | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._above = above
        self.chain: tuple[Throttle, ...] = (self, *(above.chain if above else ()))
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = 0.0
        self._paid = 0.0
        self._paid_at = clock()

    @property
    def piece(self) -> int:
        """How many bytes to move before the next ``take``, so that they flow and do not come in gushes."""
        mine, above = self._rate(), LARGEST_PIECE if self._above is None else self._above.piece
        own = LARGEST_PIECE if mine is None else max(_SMALLEST_PIECE, int(mine * _BURST_SECONDS))
        return min(own, above, LARGEST_PIECE)

    def take(self, n_bytes: int, stop: Waiting) -> None:
        """Pay for bytes that were moved: returns when the next may be. Any thread.

        Raises:
            BaseException: what ``stop`` raises.
        """
        tickets = [(each, each.ticket(n_bytes)) for each in self.chain]
        while (wait := max(each.seconds_until(ticket) for each, ticket in tickets)) > 0:
            stop.wait(min(wait, LONGEST_NAP))

    def ticket(self, n_bytes: int) -> float:
        """The ticket of who moves so many bytes, in this limit alone."""
        with self._lock:
            self._pay(self._rate())
            self._asked += n_bytes
            return self._asked

    def seconds_until(self, ticket: float) -> float:
        """How long until everything up to the ticket is paid, at the rate of now."""
        with self._lock:
            rate = self._rate()
            self._pay(rate)
            owed = 0.0 if rate is None else (ticket - self._paid) / rate
            return owed if owed > _NOTHING else 0.0

    def _pay(self, rate: float | None) -> None:
        now = self._clock()
        passed, self._paid_at = now - self._paid_at, now
        if rate is None:
            self._paid = self._asked
        else:
            self._paid = min(self._paid + passed * rate, self._asked + rate * _BURST_SECONDS)
