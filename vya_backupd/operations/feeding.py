"""Feeding: how a backup's text gets into a database that was just made.

The runbook (``operations.restoring``) knows one way of it and nothing of sessions. Whoever feeds says how much it was
and what an operator should know; it creates nothing but what is in the dump, and leaves the rest to whoever called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from vya_backupd.engines.mysql_events import EventSilencer
from vya_backupd.model.backup import Section
from vya_backupd.operations.fitting import Fit
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source
from vya_backupd.operations.targets import Target
from vya_backupd.process import Process


@dataclass(frozen=True, slots=True)
class Feeding:
    """One database to be fed.

    ``database`` is its name for now; ``tell(phase, raw_bytes)`` reports progress and may be called from any thread.
    ``silencer`` is given every text of the dump's end, in order, where events must not run. ``sessions``: as many as
    somebody asked for; None leaves it to us. ``skip_binlog``: nothing of it shall reach the binary log (MySQL, MariaDB).
    ``fit``: how the text is changed on its way, after the silencer. ``sections``: these of the file alone; None: all.
    """

    site: Site
    target: Target
    database: str
    source: Source
    tell: Callable[[str, int], None]
    silencer: EventSilencer | None = None
    sessions: int | None = None
    skip_binlog: bool = False
    fit: Fit = field(default_factory=Fit)
    sections: frozenset[Section] | None = None


@dataclass(frozen=True, slots=True)
class Fed:
    """What was fed: bytes of dump, over how many sessions, and what should be said of it."""

    raw_size: int
    sessions: int = 1
    notes: tuple[str, ...] = ()


class Feeder(Protocol):
    """One way of feeding."""

    async def feed(self, feeding: Feeding) -> Fed:
        """Do it, wholly: when this returns, the server has everything.

        Raises:
            VyaError: the first failure, in the words of the client or the server. Nothing runs any more then.
        """


async def raise_if_failed(process: Process, target: Target) -> None:
    """Wait for a client's end; what it said explains a failure better than anything that we saw of it.

    Raises:
        VyaError: it did not end well.
    """
    ended = await process.wait()
    if not ended.ok:
        raise target.engine.classify(process.name, ended.returncode, ended.signal, ended.stderr, restoring=True).at(
            *target.where
        )
