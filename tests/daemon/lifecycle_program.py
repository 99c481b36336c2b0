"""A small daemon for the tests of signals: run as a program, it prints what happens, one line each."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from vya_backupd.daemon.lifecycle import Lifecycle, harden
from vya_backupd.daemon.lock import StateLock
from vya_backupd.daemon.notify import Notifier
from vya_backupd.errors import ConfigError


def say(*words: object) -> None:
    print(*words, flush=True)


class Queue:
    """Stands for the queue: has work that never ends, or none."""

    def __init__(self, busy: bool, stubborn: bool) -> None:
        self.idle = asyncio.Event()
        self.stubborn = stubborn
        if not busy:
            self.idle.set()

    async def close(self, reason: str) -> None:
        say("close", reason)

    async def drain(self, seconds: float) -> bool:
        say("drain", seconds)
        try:
            await asyncio.wait_for(self.idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def abort(self, reason: str) -> None:
        say("abort", reason)
        if self.stubborn:
            await asyncio.Event().wait()


async def main(state_dir: str, deadline: str, *flags: str) -> int:
    harden()
    loads = 0

    async def reload() -> None:
        nonlocal loads
        loads += 1
        if loads == 1:
            raise ConfigError("line 3: 'backupp' is unknown", hint="did you mean 'backup'?")
        if loads == 2:
            raise RuntimeError("a defect")
        say("reloaded")

    with StateLock(Path(state_dir)):
        lifecycle = Lifecycle(
            reload=reload, notifier=Notifier(os.environ), stop_deadline=float(deadline), abort_deadline=0.5
        )
        with lifecycle.signals():
            lifecycle.ready("serving")
            say("ready")
            clean = await lifecycle.run(Queue("busy" in flags, "stubborn" in flags))
        say("end", lifecycle.phase, clean)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
