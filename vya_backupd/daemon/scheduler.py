"""APScheduler, which wakes us at the start of each instance's next slot. This is the only file that knows it.

It decides nothing. Its trigger asks the policy; its jobs are an instance's id and no more, in an SQLite file of their
own in the state folder; what they do is ring. So nothing is lost with that file: a damaged one is made anew, and where
even that fails, whoever waits for the bell looks at the clock from time to time anyway.

Import this module late: APScheduler takes a fifth of a second to load, and a daemon that schedules nothing needs none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

FILE = "scheduler.sqlite"
"""The job store's file in the state folder."""

WaitOf = Callable[[str], timedelta | None]
"""How long until an instance's next start; None where there is none."""

_bells: dict[str, Bell] = {}
"""Those that ring in this process, by their file: a job that comes out of the store has nothing but names."""

_log = structlog.get_logger("vya.schedule")
logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


class SlotTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires when the policy says that the next slot of an instance begins."""

    __slots__ = ("file", "instance")

    def __init__(self, file: str, instance: str) -> None:
        self.file = file
        self.instance = instance

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:  # noqa: ARG002
        """See ``BaseTrigger``. What fired before does not matter: the policy knows what is due."""
        bell = _bells.get(self.file)
        wait = None if bell is None else bell.wait_of(self.instance)
        return None if wait is None else now + wait


async def ring(file: str, instance: str) -> None:  # noqa: ARG001 - the bell is one for all instances
    """What every job does."""
    if bell := _bells.get(file):
        bell.wake()


class Bell:
    """Rings (``wake``) at the starts that ``wait_of`` tells. Open it within the event loop."""

    def __init__(self, folder: Path, wait_of: WaitOf, wake: Callable[[], None]) -> None:
        self._path = folder / FILE
        self._name = str(self._path)
        self.wait_of = wait_of
        self.wake = wake
        self._scheduler: AsyncIOScheduler | None = None

    def hang(self, instances: Iterable[str]) -> None:
        """Have it ring for these instances, and no others, at their next starts. Never fails; at worst it stays silent."""
        wanted = list(instances)
        for _ in range(2):
            try:
                self._align(wanted)
            except Exception as error:  # noqa: BLE001 - whatever the store's file does: it is only a bell
                _log.warning("scheduler.rebuilt", file=self._name, error=str(error))
                self._start_over()
            else:
                return

    def close(self) -> None:
        """Silence. May be repeated."""
        _bells.pop(self._name, None)
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None and scheduler.running:
            scheduler.shutdown(wait=False)

    def _align(self, wanted: list[str]) -> None:
        scheduler = self._scheduler or self._open()
        jobs = {job.id: job for job in scheduler.get_jobs()}
        for stray in jobs.keys() - set(wanted):
            scheduler.remove_job(stray)
        for instance in wanted:
            self._set(scheduler, instance, jobs.get(instance))

    def _set(self, scheduler: AsyncIOScheduler, instance: str, job: object) -> None:
        """Write a job only where its time has moved: each write waits for the disk."""
        wait = self.wait_of(instance)
        at = None if wait is None else datetime.now(UTC) + wait
        known = getattr(job, "next_run_time", None)
        if job is not None and known is not None and at is not None and abs(known - at) < timedelta(seconds=1):
            return
        if job is not None and at is not None:
            scheduler.modify_job(instance, next_run_time=at)
        elif job is not None:
            scheduler.remove_job(instance)
        elif at is not None:
            trigger = SlotTrigger(self._name, instance)
            scheduler.add_job(ring, trigger, args=(self._name, instance), id=instance, next_run_time=at)

    def _open(self) -> AsyncIOScheduler:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(self._path)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        store = SQLAlchemyJobStore(url=f"sqlite:///{self._path}")
        # A bell that rang a moment early rings again at once, maybe before the first ring is over.
        defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 3}
        scheduler = AsyncIOScheduler(jobstores={"default": store}, job_defaults=defaults, timezone=UTC)
        _bells[self._name] = self
        self._scheduler = scheduler
        scheduler.start()
        return scheduler

    def _start_over(self) -> None:
        self.close()
        for suffix in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self._name}{suffix}").unlink()
