"""How the threads of one job end together: the first failure wins, and wakes whoever waits on a pipe."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable
from typing import TypeVar

from vya_backupd.errors import InterruptedWorkError

Result = TypeVar("Result")


class Stop:
    """The one place for a job's first failure. ``fd`` becomes readable with it, for ``poll`` beside a pipe."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.error: BaseException | None = None
        self._lock = threading.Lock()

    def fail(self, error: BaseException) -> None:
        """Remember the failure, unless one came before, and wake the waiting. Any thread, any number of times."""
        with self._lock:
            if self.error is None:
                self.error = error
                if self.fd >= 0:
                    os.eventfd_write(self.fd, 1)

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.error is not None:
            raise self.error

    def wait(self, seconds: float) -> None:
        """Let time pass, and break off with the failure when one comes. Any thread of the job."""
        waiting = select.poll()
        waiting.register(self.fd, select.POLLIN)
        waiting.poll(max(1, round(seconds * 1000)))
        self.check()

    def close(self) -> None:
        """Give the descriptor back; no thread waits any more."""
        with self._lock:
            os.close(self.fd)
            self.fd = -1


async def run_in_thread(name: str, work: Callable[[], Result], stop: Stop) -> Result:
    """Run ``work`` in a thread of its own and await it.

    A cancelled caller makes ``stop`` fail and waits until the thread has really ended, so that nothing writes to a
    descriptor that the caller closes next; then the cancellation goes on.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(outcome: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(outcome)

    def body() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 -- handed to the waiting task, which raises it
            failure = error
            settle(lambda: done.set_exception(failure))
        else:
            settle(lambda: done.set_result(result))

    thread = threading.Thread(target=body, name=name)
    thread.start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        stop.fail(InterruptedWorkError(f"{name} was cancelled"))
        await _outlast(done)
        raise
    finally:
        thread.join()
        stop.close()


async def _outlast(done: asyncio.Future[Result]) -> None:
    """Wait for the end of ``done``, whatever it is, through further cancellations."""
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:
            continue
    done.exception()
