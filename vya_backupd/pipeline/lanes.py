"""Lanes: several sessions of one server that work off one board, each in a thread of its own.

A lane takes a job, hands its text to its session, and gives it back when the server has *executed* it, which may set
others free. The first failure of any lane stops all: those that wait on a pipe by ``Stop``, those that wait for the
board by closing it, those that wait for a server by ``interrupt``.

How a session reaches its server is not known here.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

from vya_backupd import faults
from vya_backupd.errors import VyaError
from vya_backupd.pipeline.board import Board, Taken
from vya_backupd.pipeline.stop import Stop, run_in_thread


class LaneSession(Protocol):
    """One session of a server."""

    def send(self, texts: Iterator[bytes]) -> None:
        """Hand these texts over, one behind the other.

        This and ``settle`` are called from the lane's own thread, and raise whatever explains a failure best.
        """

    def settle(self) -> None:
        """Wait until the server is done with the texts of the oldest ``send`` that was not settled."""

    def interrupt(self) -> None:
        """Make a call that waits for the server end soon. Called from another thread, once, after a failure."""


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
        threading.Thread(target=_lane, args=(number, session, board, stop, opening, ended), name=f"lane-{number}")
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


def _lane(number: int, session: LaneSession, board: Board, stop: Stop, opening: bytes, ended: int) -> None:
    try:
        if opening:
            session.send(iter((opening,)))
            session.settle()
        _work(number, session, board)
    except BaseException as error:  # noqa: BLE001 -- handed to whoever supervises, which raises it
        stop.fail(error)
    finally:
        os.eventfd_write(ended, 1)


def _work(number: int, session: LaneSession, board: Board) -> None:
    """Job after job. A quick one is handed over while the server still works on another, so that it never waits."""
    begun: deque[Taken] = deque()
    while True:
        taken = board.take_quick(number) if begun else board.take(number)
        if taken is None and not begun:
            return
        if taken is not None:
            faults.point("restore.lane")
            _send(session, taken.job.texts())
            begun.append(taken)
        if taken is None or len(begun) > 1 or not taken.batch.quick:
            session.settle()
            board.done(begun.popleft())


def _send(session: LaneSession, texts: Iterator[bytes]) -> None:
    """Hand it over; what reads the file for it has ended afterwards, however this ends."""
    try:
        session.send(texts)
    finally:
        if isinstance(texts, Generator):
            texts.close()
