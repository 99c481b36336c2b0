"""Bytes per second: on a clock of the test's own, and on real pipes."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import until
from vya_backupd.errors import InterruptedWorkError
from vya_backupd.pipeline.pipes import PipeReader, PipeWriter
from vya_backupd.pipeline.stop import Stop
from vya_backupd.pipeline.throttle import LARGEST_PIECE, LONGEST_NAP, Throttle

KB = 1000


@dataclass
class Clock:
    """Time that passes only where somebody waits; ``after`` is what happens when so much has passed."""

    now: float = 0.0
    naps: int = 0
    at: float = float("inf")
    then: Callable[[], None] | None = None

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert 0 < seconds <= LONGEST_NAP
        self.now += seconds
        self.naps += 1
        if self.now >= self.at and self.then is not None:
            self.then()


@given(st.lists(st.integers(1, 300 * KB), min_size=1, max_size=20), st.integers(300 * KB, 5000 * KB))
def test_never_more_than_the_rate_and_never_much_less(pieces: list[int], rate: int) -> None:
    clock = Clock()
    throttle = Throttle(lambda: rate, clock=clock)
    for piece in pieces:
        throttle.take(piece, clock)
    ideal = sum(pieces) / rate
    assert ideal - 1e-6 <= clock.now <= ideal + 1e-3


@given(st.floats(0, 100), st.integers(1, 50))
def test_idle_time_saves_a_tenth_of_a_second_at_most(idle: float, pieces: int) -> None:
    clock = Clock()
    throttle = Throttle(lambda: 100 * KB, clock=clock)
    clock.now = idle
    for _ in range(pieces):
        throttle.take(10 * KB, clock)
    assert clock.now - idle >= pieces * 0.1 - 0.1 - 1e-6


def test_the_narrower_limit_holds_and_the_wider_one_is_shared() -> None:
    clock = Clock()
    wide = Throttle(lambda: 100 * KB, clock=clock)
    one, other = Throttle(lambda: 40 * KB, wide, clock), Throttle(lambda: None, wide, clock)
    one.take(40 * KB, clock)
    assert clock.now == pytest.approx(1.0, abs=0.01)
    other.take(100 * KB, clock)
    one.take(1 * KB, clock)
    assert clock.now == pytest.approx(1.91, abs=0.02)


def test_a_new_rate_holds_in_the_midst_of_a_wait() -> None:
    rates: list[float | None] = [1 * KB]
    clock = Clock(at=3.0, then=lambda: rates.__setitem__(0, None))
    throttle = Throttle(lambda: rates[0], clock=clock)
    throttle.take(1000 * KB, clock)
    assert clock.now <= 3.0 + LONGEST_NAP
    throttle.take(1000 * KB, clock)
    assert clock.now <= 3.0 + LONGEST_NAP
    clock.at, rates[0] = float("inf"), 10 * KB
    begun = clock.now
    throttle.take(10 * KB, clock)
    assert clock.now - begun == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(("rate", "piece"), [(None, LARGEST_PIECE), (1, 4096), (1 * KB * KB, 100 * KB)])
def test_pieces_are_small_where_the_rate_is(rate: float | None, piece: int) -> None:
    wide = Throttle(lambda: None)
    assert Throttle(lambda: rate, wide).piece == piece
    assert Throttle(lambda: None, Throttle(lambda: rate)).piece == piece


def test_a_throttled_dump_is_no_stall_and_comes_whole() -> None:
    """The stall timeout is far shorter than what the limit makes of it; all of the dump is there from the beginning."""
    data = os.urandom(600 * KB)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    assert os.write(writing, data) == len(data)
    os.close(writing)
    stop = Stop()
    begun = time.monotonic()
    reader = PipeReader(reading, stop, stall_timeout=0.05, throttle=Throttle(lambda: 1000 * KB))
    found = b"".join(iter(reader.read, b""))
    assert found == data
    assert time.monotonic() - begun >= 0.45
    os.close(reading)
    stop.close()


def test_a_throttled_client_gets_everything() -> None:
    data = os.urandom(300 * KB)
    reading, writing = os.pipe()
    stop = Stop()
    got: list[bytes] = []
    drain = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reading, 65536), b"")))
    drain.start()
    begun = time.monotonic()
    PipeWriter(writing, stop, Throttle(lambda: 1000 * KB)).write(data)
    assert time.monotonic() - begun >= 0.15
    os.close(writing)
    drain.join()
    assert b"".join(got) == data
    os.close(reading)
    stop.close()


def test_a_job_that_ends_does_not_wait_for_its_limit() -> None:
    stop, failed = Stop(), list[BaseException]()
    throttle = Throttle(lambda: 1.0)

    def work() -> None:
        try:
            throttle.take(1000 * KB, stop)
        except InterruptedWorkError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    stop.fail(InterruptedWorkError("cancelled"))
    until(lambda: failed)
    thread.join()
    stop.close()
