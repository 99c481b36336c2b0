"""Lanes: several sessions of one server that work off one board, each in a thread of its own.

A lane takes a job, has its session execute it, and hands it back when the server has *executed* it, which may set
others free. The first failure of any lane stops all: those that wait on a pipe by ``Stop``, those that wait for the
board by closing it, those that wait for a server by ``interrupt``.

How a session reaches its server is not known here.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

from vya_backupd.errors import VyaError
from vya_backupd.pipeline.board import Board
from vya_backupd.pipeline.stop import Stop, run_in_thread


class LaneSession(Protocol):
    """One session of a server."""

    def execute(self, texts: Iterator[bytes]) -> None:
        """Have these texts executed, one behind the other; when this returns, the server is done with all of them.

        Called from the lane's own thread. Raises whatever explains the failure best.
        """

    def interrupt(self) -> None:
        """Make an ``execute`` that waits for the server end soon. Called from another thread, once, after a failure."""


async def run_lanes(sessions: Sequence[LaneSession], board: Board, stop: Stop, opening: bytes = b"") -> None:
    """Work off the board. Every session executes ``opening`` first. Closes ``stop``.

    Raises:
        BaseException: the first failure; no lane works any more then.
        VyaError: ``internal``: jobs were left that wait for each other.
    """
    await run_in_thread("lanes", lambda: _supervise(sessions, board, stop, opening), stop)


def _supervise(sessions: Sequence[LaneSession], board: Board, stop: Stop, opening: bytes) -> None:
    """Start the lanes, and wait for their end or for a failure, whichever comes first."""
    ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
    threads = [
        threading.Thread(target=_lane, args=(session, board, stop, opening, ended), name=f"lane-{number}")
        for number, session in enumerate(sessions)
    ]
    try:
        for thread in threads:
            thread.start()
        if not _all_ended(len(threads), ended, stop):
            board.close()
            for session in sessions:
                session.interrupt()
    finally:
        for thread in threads:
            thread.join()
        os.close(ended)
    stop.check()
    if board.unfinished:
        raise VyaError(f"{board.unfinished} jobs of a restore wait for each other", code="internal")


def _all_ended(lanes: int, ended: int, stop: Stop) -> bool:
    """Whether all lanes came to their end before anything failed."""
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(stop.fd, select.POLLIN)
    while lanes and stop.error is None:
        if any(fd == ended for fd, _ in poll.poll()):
            os.eventfd_read(ended)
            lanes -= 1
    return stop.error is None


def _lane(session: LaneSession, board: Board, stop: Stop, opening: bytes, ended: int) -> None:
    try:
        if opening:
            session.execute(iter((opening,)))
        while (taken := board.take()) is not None:
            _execute(session, taken.job.texts())
            board.done(taken)
    except BaseException as error:  # noqa: BLE001 -- handed to whoever supervises, which raises it
        stop.fail(error)
    finally:
        os.eventfd_write(ended, 1)


def _execute(session: LaneSession, texts: Iterator[bytes]) -> None:
    """Have it executed; what reads the file for it has ended afterwards, however this ends."""
    try:
        session.execute(texts)
    finally:
        if isinstance(texts, Generator):
            texts.close()
