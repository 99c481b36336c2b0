"""From the first signal handler to the last phase of a stop.

A stop has three phases. *Draining*: nothing new is taken, what waits is recorded as interrupted, what runs goes on
until the deadline. *Aborting*: what still runs is ended, and recorded with the reason. *Stopped*: the queue is empty
and its outcomes are written; the composition root closes sites and catalog. SIGTERM and SIGINT begin it. A second one
means it: the process ends at once, the kernel takes its children with it (``process`` asked for that), and the next
start closes what was running.

SIGHUP reads the configuration again. When that fails, nothing has changed, and the log says why.
"""

from __future__ import annotations

import asyncio
import ctypes
import enum
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from vya_backupd.daemon.notify import Notifier
from vya_backupd.errors import VyaError

_log = structlog.get_logger("vya.lifecycle")

_PR_SET_DUMPABLE = 4
BEAT_SECONDS = 1.0
"""How often the event loop proves that it turns."""


class Phase(enum.StrEnum):
    """Where the daemon is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    ABORTING = "aborting"
    STOPPED = "stopped"


class Stoppable(Protocol):
    """What is stopped in three phases: the queue."""

    async def close(self, reason: str) -> None:
        """Take nothing new."""

    async def drain(self, seconds: float) -> bool:
        """Wait for what runs; whether all of it ended in time."""

    async def abort(self, reason: str) -> None:
        """End what runs, recorded with the reason."""


class Lifecycle:
    """The phases of one daemon.

    ``reload`` reads and applies the configuration; it raises without having changed anything. ``stop_deadline`` is how
    many seconds running work may take to end by itself, ``abort_deadline`` how many its ending by force may take.
    """

    def __init__(
        self,
        *,
        reload: Callable[[], Awaitable[None]],
        notifier: Notifier,
        stop_deadline: float = 30.0,
        abort_deadline: float = 15.0,
    ) -> None:
        self._reload = reload
        self._notifier = notifier
        self.stop_deadline = stop_deadline
        self._abort_deadline = abort_deadline
        self.phase = Phase.STARTING
        self._stop_reason: str | None = None
        self._stop_wanted = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._last_beat = asyncio.get_running_loop().time()

    @property
    def seconds_since_beat(self) -> float:
        """Age of the event loop's last beat."""
        return asyncio.get_running_loop().time() - self._last_beat

    def ready(self, status: str = "") -> None:
        """Everything is open: the service manager may know."""
        if self.phase is Phase.STARTING:
            self.phase = Phase.RUNNING
        self._notifier.ready(status)
        _log.info("daemon.ready", pid=os.getpid())

    def request_stop(self, reason: str) -> None:
        """Begin the stop; the first reason stays."""
        self._stop_reason = self._stop_reason or reason
        self._stop_wanted.set()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Handle SIGTERM, SIGINT and SIGHUP within this block."""
        loop = asyncio.get_running_loop()
        stops = (signal.SIGTERM, signal.SIGINT)
        for number in stops:
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        try:
            yield
        finally:
            for number in (*stops, signal.SIGHUP):
                loop.remove_signal_handler(number)

    async def run(self, work: Stoppable) -> bool:
        """Live until a stop was asked for and ``work`` is stopped. Returns whether nothing had to be left behind."""
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(self._beat(), name="heartbeat")
            reloads = group.create_task(self._reloads(), name="reload on SIGHUP")
            await self._stop_wanted.wait()
            reloads.cancel()
            clean = await self._stop(work)
            beat.cancel()
        return clean

    def _on_stop(self, number: signal.Signals) -> None:
        name = signal.Signals(number).name
        if self._stop_wanted.is_set():
            _log.warning("daemon.killed", signal=name, phase=str(self.phase))
            # Not the signal's default action: the first process of a container would ignore that.
            os._exit(128 + number)
        self.request_stop(f"the daemon got {name}")

    async def _stop(self, work: Stoppable) -> bool:
        reason = self._stop_reason or "the daemon is stopping"
        self.phase = Phase.DRAINING
        self._notifier.stopping(reason)
        _log.info("daemon.draining", reason=reason, deadline_seconds=self.stop_deadline)
        await work.close(reason)
        clean = await work.drain(self.stop_deadline)
        if not clean:
            self.phase = Phase.ABORTING
            clean = await self._abort(work, f"{reason}; the stop deadline of {self.stop_deadline:g} s passed")
        self.phase = Phase.STOPPED
        _log.info("daemon.stopped", clean=clean)
        return clean

    async def _abort(self, work: Stoppable, reason: str) -> bool:
        _log.warning("daemon.aborting", reason=reason)
        try:
            async with asyncio.timeout(self._abort_deadline):
                await work.abort(reason)
        except TimeoutError:
            _log.error("daemon.abort_overdue", deadline_seconds=self._abort_deadline)
            return False
        return True

    async def _reloads(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            self._notifier.reloading()
            try:
                await self._reload()
            except VyaError as error:
                _log.error("config.reload_refused", code=error.code, error=error.message, hint=error.hint)
            except Exception:  # noqa: BLE001 - a defect in reading must not end the daemon that runs
                _log.exception("config.reload_failed")
            else:
                _log.info("config.reloaded")
            self._notifier.ready("running")

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        period = min(BEAT_SECONDS, (self._notifier.watchdog_seconds or BEAT_SECONDS * 2) / 2)
        self._last_beat = loop.time()
        while True:
            self._notifier.watchdog()
            await asyncio.sleep(period)
            self._last_beat = loop.time()


def harden() -> None:
    """Keep what the process holds to itself: new files are closed to others, and no core dump is written.

    A limit of one byte rather than zero: the kernel still pipes dumps to a collector at zero, and at one it does not.
    Who was given zero and is not root has to leave it at that. Nor may anybody of the same user, a dump tool that was
    taken over for instance, look into our memory, environment and descriptors: the kernel gives ``/proc/PID`` of such a
    process to root, and refuses to have it traced.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.umask(0o027)
    given = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (given, given) if given == 0 and os.geteuid() != 0 else (1, 1))
