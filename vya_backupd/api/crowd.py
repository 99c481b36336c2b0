"""How many requests may be open at once, by whom: those who only look never take all places from those who act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from vya_backupd.api.access import Peer
from vya_backupd.errors import BusyError

MAX_REQUESTS_PER_VIEWER = 16
"""Requests that one user who is no operator may have open, watches included."""
MAX_REQUESTS_OF_VIEWERS = 96
"""The same for all of them together: the other places are for operators."""


class Crowd:
    """Counts the open requests of those who are no operators, by their users."""

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()

    @contextmanager
    def one_more(self, peer: Peer) -> Iterator[None]:
        """A request is open for as long as the block lasts.

        Raises:
            BusyError: ``queue_full``: too many are.
        """
        if self._open[peer.uid] >= MAX_REQUESTS_PER_VIEWER:
            raise _full(peer.name, MAX_REQUESTS_PER_VIEWER)
        if self._open.total() >= MAX_REQUESTS_OF_VIEWERS:
            raise _full("those who are no operators", MAX_REQUESTS_OF_VIEWERS)
        self._open[peer.uid] += 1
        try:
            yield
        finally:
            self._open[peer.uid] -= 1
            if not self._open[peer.uid]:
                del self._open[peer.uid]


def _full(who: str, most: int) -> BusyError:
    return BusyError(f"{who}: {most} requests are open", code="queue_full", hint="end one, or ask again later")
