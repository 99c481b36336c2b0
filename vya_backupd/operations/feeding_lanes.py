"""Clients as lanes: what feeding over several sessions has in common, whatever the server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable

from vya_backupd.errors import ToolError
from vya_backupd.model.command import Command
from vya_backupd.operations.feeding import Feeding, raise_if_failed
from vya_backupd.pipeline.board import Batch, Board
from vya_backupd.pipeline.client_session import ClientSession, SessionGoneError
from vya_backupd.pipeline.lanes import run_lanes
from vya_backupd.pipeline.stop import Stop
from vya_backupd.pipeline.throttle import Throttle
from vya_backupd.policy.limits import Flow
from vya_backupd.process import Process


class Progress:
    """Bytes of dump that were fed, counted over all lanes and told to whoever asked for the restore."""

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._done = 0

    def add(self, size: int) -> None:
        """So many more. Any thread."""
        with self._lock:
            self._done += size
            done = self._done
        self._tell("restoring", done)


async def run_clients(
    feeding: Feeding,
    command: Command,
    sessions: int,
    batches: Iterable[Batch],
    opening: bytes,
    mark: Callable[[str], bytes],
) -> None:
    """Work off the batches with so many clients; each executes ``opening`` first. ``mark`` as in ``ClientSession``.

    Raises:
        VyaError: the first failure, in its client's own words; no client runs any more.
    """
    board, throttle = Board(list(batches)), feeding.site.limits.throttle(feeding.target.instance.id, Flow.RESTORE)
    async with contextlib.AsyncExitStack() as clients:
        processes = [
            await clients.enter_async_context(feeding.site.spawner.start(command, stdin="pipe", stdout="pipe"))
            for _ in range(sessions)
        ]
        stop = Stop()
        running = {_session(process, stop, mark, throttle): process for process in processes}
        try:
            await run_lanes(list(running), board, stop, opening)
        except SessionGoneError as gone:
            process = running[gone.session]
            await raise_if_failed(process, feeding.target)
            raise ToolError(f"{process.name} stopped reading before the end of the dump") from gone
        for process in processes:
            process.close_stdin()
        for process in processes:
            await raise_if_failed(process, feeding.target)


def _session(process: Process, stop: Stop, mark: Callable[[str], bytes], throttle: Throttle | None) -> ClientSession:
    if process.stdin_fd is None or process.stdout_fd is None:
        raise ToolError(f"{process.name} has no pipes", code="internal")
    return ClientSession(process.stdin_fd, process.stdout_fd, stop, mark, throttle)
