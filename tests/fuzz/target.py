"""What a target is, how inputs are mutated, and how an endless one is ended."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

SEEDS = Path(__file__).parent / "seeds"
CRASHES = Path(__file__).parent / "crashes"

LONGEST_INPUT = 1 << 16
CPU_SECONDS = 30.0
"""Of this process, for one input. None needs a tenth of a second; what grows faster than its input needs all."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader under attack.

    ``run`` returns, or raises what is then a finding. ``words`` are tokens that mean something to the reader.
    ``examples``: mutations in CI.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    words: tuple[bytes, ...] = ()
    examples: int = 100

    def check(self, data: bytes, seconds: float = CPU_SECONDS) -> None:
        """Run one input, within its time."""
        with ended_after(seconds):
            self.run(data)

    def crashes(self) -> list[Path]:
        """Inputs that once broke a promise."""
        folder = CRASHES / self.name
        return sorted(folder.iterdir()) if folder.is_dir() else []


class TooSlowError(Exception):
    """One input took longer than any may."""


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """Raise TooSlowError in the block when it has used so much of the processor; the machine's load does not count."""

    def late(_: int, __: FrameType | None) -> None:
        message = f"still at it after {seconds:g} s of processor time"
        raise TooSlowError(message)

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def seeds_of(*names: str) -> list[bytes]:
    """Seeds that lie in files; patterns as of ``glob``."""
    return [path.read_bytes() for name in names for path in sorted(SEEDS.glob(name))]


def mutated(chance: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A seed with a few changes, or two seeds joined in their midst."""
    data = bytearray(chance.choice(seeds)) if seeds else bytearray()
    for _ in range(chance.choice((1, 1, 2, 3, 5, 9))):
        _change(chance, data, seeds, words)
    return bytes(data[:LONGEST_INPUT])


def _change(chance: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    at = chance.randint(0, len(data))
    end = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 30, 200)))
    match chance.randrange(8):
        case 0:
            data[at:end] = b""
        case 1 | 2:
            data[at:end] = bytes(chance.randrange(256) for _ in range(end - at))
        case 3:
            data[at:at] = data[at:end] * chance.choice((1, 2, 50))
        case 4 | 5 if words:
            data[at : chance.choice((at, end))] = chance.choice(words)
        case 6 if seeds:
            other = chance.choice(seeds)
            data[at:] = other[chance.randint(0, len(other)) :]
        case _:
            if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
