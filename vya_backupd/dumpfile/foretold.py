"""What one dump of a database tells of the next: its large objects, how much they are, and how they pack.

With that, savings may be spent before they are made: the table of pictures that packs better than gzip would pay for the
speed of all others, wherever it stands in the dump. Sans-IO: whoever dumps keeps the text somewhere, and it is no loss
when it is gone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from vya_backupd.dumpfile.codec import LADDER, Codec, Library

SLOWEST = 60.0
"""What zlib, which is on no ladder, costs on the ladder's scale."""
_LARGEST_TEXT = 1 << 20


def cost_of(codec: Codec) -> float:
    """Milliseconds for a megabyte, as in ``LADDER``."""
    return LADDER.get(codec, SLOWEST)


@dataclass(frozen=True, slots=True)
class Packing:
    """How the rows of one object pack.

    ``raw_size``: bytes of dump. ``ratios``: sizes against the reference's, of the rungs that no mixture of others
    beats, fastest first. ``reference``: what the reference makes of one byte of dump; ``probed``: what the fastest rung
    makes of it; ``target``: the ratio that is aimed at.
    """

    raw_size: int
    ratios: dict[Codec, float]
    reference: float
    probed: float
    target: float


@dataclass(frozen=True, slots=True)
class Foretold:
    """What the last dump at ``level`` was made of: the rows of its large objects, by name.

    ``server_bytes``: how much the server said that the database was.
    """

    level: int
    objects: Mapping[str, Packing]
    server_bytes: int = 0

    def to_text(self) -> str:
        """JSON."""
        objects = {name: _fields(each) for name, each in self.objects.items()}
        return json.dumps({"level": self.level, "server_bytes": self.server_bytes, "objects": objects})

    @classmethod
    def from_text(cls, text: str) -> Foretold | None:
        """Read it again; None where it is not what ``to_text`` writes: then nothing is foretold."""
        try:
            record = json.loads(text[:_LARGEST_TEXT])
            objects = {str(name): _packing(each) for name, each in record["objects"].items()}
            return cls(int(record["level"]), objects, int(record["server_bytes"]))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None


def _fields(packing: Packing) -> dict[str, Any]:
    ratios = [[codec.library.value, codec.level, round(ratio, 5)] for codec, ratio in packing.ratios.items()]
    return {
        "raw_size": packing.raw_size,
        "ratios": ratios,
        "reference": round(packing.reference, 6),
        "probed": round(packing.probed, 6),
        "target": packing.target,
    }


def _packing(record: dict[str, Any]) -> Packing:
    ratios = {Codec(Library(library), int(level)): _sane(ratio) for library, level, ratio in record["ratios"]}
    if (
        not ratios
        or list(ratios) != sorted(ratios, key=cost_of)
        or not all(each in LADDER for each in _laddered(ratios))
    ):
        raise ValueError("these are no rungs")
    size = int(record["raw_size"])
    return Packing(size, ratios, _sane(record["reference"]), _sane(record["probed"]), _sane(record["target"]))


def _laddered(ratios: Mapping[Codec, float]) -> Iterator[Codec]:
    return (codec for codec in ratios if codec.library is not Library.ZLIB)


def _sane(number: Any) -> float:
    found = float(number)
    if not (math.isfinite(found) and 0 < found < 10):
        raise ValueError(number)
    return found


@dataclass(frozen=True, slots=True)
class _Step:
    """From one rung of an object to the next slower one: what it saves of a byte of dump, and for each millisecond."""

    name: str
    number: int
    saving: float
    gain: float


@dataclass(slots=True)
class Outlook:
    """What is still to come, and which rung each object had best take.

    All begin with their fastest rung. As long as that is too much, the step that saves most for its time is taken,
    whichever object's it is.
    """

    left: dict[str, int]
    packings: dict[str, Packing]
    _steps: list[_Step] = field(default_factory=list)
    _overdue: bool = True

    @classmethod
    def of(cls, foretold: Foretold) -> Outlook:
        """Of a dump that will be like the last one."""
        return cls({name: each.raw_size for name, each in foretold.objects.items()}, dict(foretold.objects))

    def learn(self, name: str, packing: Packing) -> None:
        """So an object packs, as is known by now; ``raw_size`` does not matter. What is new has new ``ratios``."""
        known = self.packings.get(name)
        if known is None or known.ratios is not packing.ratios:
            self.packings[name] = packing
            self._overdue = True

    def passed(self, name: str, raw_size: int) -> None:
        """So much of an object has come."""
        if name in self.left:
            self.left[name] = max(self.left[name] - raw_size, 0)

    def rung(self, name: str, raw_size: int, saved: float) -> tuple[Codec, bool]:
        """The rung for the next segment of an object that is known, when ``saved`` bytes are in hand.

        The second is false where everything together does not fit, even with the smallest rungs that are known.
        """
        if self._overdue:
            self._steps, self._overdue = sorted(self._all_steps(), key=lambda step: -step.gain), False
        left = self.left | {name: max(self.left.get(name, 0), raw_size)}
        excess = sum(left[each] * _excess(self.packings[each]) for each in left) - saved
        taken = 0
        for step in self._steps:
            if excess <= 0:
                break
            excess -= left.get(step.name, 0) * step.saving
            if step.name == name:
                taken = step.number
        return list(self.packings[name].ratios)[taken], excess <= 0

    def _all_steps(self) -> Iterator[_Step]:
        for name, packing in self.packings.items():
            rungs = list(packing.ratios.items())
            for number, ((fast, large), (slow, small)) in enumerate(pairwise(rungs), 1):
                saving = (large - small) * packing.reference
                yield _Step(name, number, saving, saving / (cost_of(slow) - cost_of(fast)))


def _excess(packing: Packing) -> float:
    """What a byte of dump becomes beyond its target, by the fastest rung."""
    return packing.reference * (next(iter(packing.ratios.values())) - packing.target)
