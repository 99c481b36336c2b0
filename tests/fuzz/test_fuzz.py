"""Every target for a moment, and all inputs that ever broke one."""

from __future__ import annotations

import os
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import CRASHES, Target, TooSlowError, mutated
from tests.fuzz.targets import TARGETS

SECONDS = float(os.environ.get("VYA_FUZZ_SECONDS", "0")) / len(TARGETS)
_KNOWN = [(target, path.name) for target in TARGETS.values() for path in target.crashes()]


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_seeds_break_no_promise(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        target.check(seed)
    if SECONDS:
        _for_a_time(target)
        return

    @settings(max_examples=target.examples, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def draw(chance: random.Random) -> None:
        target.check(mutated(chance, seeds, target.words))

    draw()


def _for_a_time(target: Target) -> None:
    seed, seeds = random.randrange(1 << 32), target.seeds()
    chance, until = random.Random(seed), time.monotonic() + SECONDS
    while time.monotonic() < until:
        data = mutated(chance, seeds, target.words)
        try:
            target.check(data)
        except Exception as error:
            error.add_note(f"input: {data!r}")
            raise


@pytest.mark.parametrize(("target", "crash"), _KNOWN, ids=[f"{target.name}-{name}" for target, name in _KNOWN])
def test_what_once_broke_a_promise_does_so_no_more(target: Target, crash: str) -> None:
    target.check((CRASHES / target.name / crash).read_bytes())


def test_every_crash_is_of_a_target() -> None:
    assert {path.name for path in CRASHES.iterdir() if path.is_dir()} <= set(TARGETS)


def test_what_never_ends_is_ended() -> None:
    def for_ever() -> None:
        while True:
            pass

    target = Target("endless", lambda _: for_ever(), list)
    with pytest.raises(TooSlowError):
        target.check(b"", seconds=0.05)
