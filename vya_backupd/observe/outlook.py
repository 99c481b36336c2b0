"""What is expected of each instance and database, and what the servers say: what metrics show beside the catalog.

``daemon.objectives`` makes it; ``Live`` is what is asked anew at each scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class InstanceOutlook:
    """One enabled instance. ``interval``: the longest time between two slots of its schedule, whoever keeps the clock.

    ``discovered``, ``covered``, ``uncovered``: databases of the server, those that are ours, and those that are neither
    ours nor excluded; None while it has never answered. ``reachable`` is None until it was first asked.
    """

    engine: str
    instance: str
    max_age: timedelta
    interval: timedelta
    reachable: bool | None = None
    discovered: int | None = None
    covered: int | None = None
    uncovered: int | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything that is expected.

    ``due`` says by engine, instance and database when the next complete backup must be there, or should have been.
    ``reverify_within``: how long after its last reading a file is to be read again.
    """

    instances: tuple[InstanceOutlook, ...] = ()
    due: Mapping[tuple[str, str, str], datetime] | None = None
    reverify_within: timedelta | None = None


def _none() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Live:
    """What is asked at each scrape. Every function is quick and never waits."""

    running: Callable[[], Mapping[str, int]] = dict
    """Operations that run, by kind."""
    waiting: Callable[[], int] = lambda: 0
    bytes_in_progress: Callable[[], int] = lambda: 0
    """Bytes of dump that running steps have processed so far."""
    configured: Callable[[], Mapping[str, int]] = dict
    """Configured instances, by kind of server."""
    disk_usage: Callable[[], Mapping[str, int]] = dict
    """Bytes of the backup file system, by what they are: ``total``, ``used``, ``free``."""
    lost_log_lines: Callable[[], int] = lambda: 0
    observer_failures: Callable[[], int] = lambda: 0
    """Events that an observer failed at."""
    missed: Callable[[], Mapping[str, int]] = dict
    """How much is missed of each objective; 0 where it is met."""
    scheduler_lag: Callable[[], float | None] = _none
    """Seconds by which the scheduler is late; None while there is none."""
    pushes: Callable[[], Mapping[str, int]] = dict
    """Pushes to the Pushgateway since the start, by outcome; none without one."""
    reload_well: Callable[[], bool] = lambda: True
    """Whether the last reload was not refused."""
    in_force_since: Callable[[], datetime | None] = _none
    """When the configuration was read that is in force."""
