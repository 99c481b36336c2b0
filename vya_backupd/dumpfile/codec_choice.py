"""Choosing a compressor for every segment: as fast as can be, and no file over ``BOUND`` times ``gzip -N``.

No fixed mapping of levels serves all data: what makes a table of hex strings smaller *and* ten times faster than zlib
makes source text a fifth larger. So each object's data is sampled: four slices of 16 KiB (or more, where they differ), compressed the way they would
be in the stream (with the 32 KiB before them as a dictionary), by zlib at the wanted level, which is the
reference, and by the rungs of the ladder. That foretells sizes within half a percent.

An account of the whole file adds up what the reference would have written and what was chosen instead. A segment takes
the fastest codec that keeps the account below ``TARGET``: savings on one table may be spent on speed in the next. They
are spread over all that is still to come, which is known from the last backup of the same database: a byte of savings
buys the more speed the slower the codec is that it replaces.

Of the rungs only those count that no mixture of two others beats: what one segment saves with a slow codec, its
neighbours spend on a fast one.

Everything here depends on the data and its order alone, never on clocks or threads: the same dump gives the same file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vya_backupd.dumpfile.codec import HUFFMAN, LADDER, WINDOW, Codec, Deflated, Library, deflate, deflated_size
from vya_backupd.dumpfile.segment import RawSegment

BOUND = 1.02
"""What is promised: size of a file against ``gzip -N`` of the same text."""
TARGET = 1.0185
"""What is aimed at: samples err by half a percent, and mostly by saying too much."""
_CAUTIOUS = 1.01
"""What is aimed at in data that changes within a segment or packs very well, where samples err more."""
_TIGHTEST = 0.985
"""An account overdrawn by many tiny objects is not repaid with slowness beyond this."""
_MEMBER_OVERHEAD = 60
_SLICES = 12
_THINNED = 3
"""Probes are taken at twelve places, slices at every third of them where the probes are alike."""
_UNEVEN = 0.4
_BLOCK_PENALTY = {Library.ISAL: 1.04, Library.LIBDEFLATE: 1.008}
"""isal writes one code table for half a megabyte of text, libdeflate for up to a third of one. Where text changes within
that, slices flatter them."""
_SLICE = 16 << 10
_LONG_SLICE = 96 << 10
_DENSE = 0.12
"""Where text packs better than this, what a slice becomes is mostly the head of its own code table: slices are longer."""
_SMALLEST_SAMPLED = 160 << 10
_PROBE = 4 << 10
_GOLDEN = 0.618034
_DRIFT = 0.12
_HORIZON = 0.1
"""Savings are spread over what is to come; where nobody knows, that is guessed to be this share of what has passed."""
_FIRST_TRUST, _TRUST_GROWTH, _LONGEST_TRUST = 2, 4, 64
"""Segments that pass between samples of one object, at first and at most."""
_TYPICAL_DENSITY = 0.22
_REMEMBERED = 32
"""Objects whose samples are kept while segments of others come: several streams bring several tables by turns."""
_LADDER = {codec: cost for codec, cost in LADDER.items() if codec is not HUFFMAN}
_FAST = next(iter(_LADDER))
_UNREPEATED = 0.45
"""Text that packs worse than this has hardly any repetitions."""
_SMALL = {1: 2, 2: 2, 3: 4, 4: 5, 5: 6, 6: 7, 7: 7, 8: 8, 9: 9}
"""For objects that are too small to be sampled: libdeflate's level that packs as small as ``gzip -N``."""
_SLOWEST = 60.0
"""What zlib costs, on the ladder's scale."""


@dataclass(frozen=True, slots=True)
class _Probes:
    """What the fastest rung makes of a byte, in several places of a segment: nearly free, and enough to see a change."""

    places: list[int]
    mean: float
    are_even: bool

    @classmethod
    def of(cls, segment: RawSegment, places: list[int]) -> _Probes:
        found = [_probe(segment, place) for place in places]
        mean = sum(found) / len(found)
        return cls(places, mean, max(found) - min(found) < _UNEVEN * mean)

    def are_like(self, mean: float) -> bool:
        return abs(self.mean - mean) <= _DRIFT * mean

    def slices(self, segment: RawSegment) -> list[bytes]:
        """What is to be sampled, each with what precedes it."""
        chosen = self.places[::_THINNED] if self.are_even else self.places
        length = _SLICE if self.mean > _DENSE else _LONG_SLICE
        return [_slice(segment, place - WINDOW, WINDOW + length) for place in chosen]


@dataclass(slots=True)
class _Object:
    """What samples told of the object at hand."""

    ratios: dict[Codec, float]
    """Sizes against the reference's, of the rungs that no mixture of others beats, fastest first."""
    reference: float
    """What the reference makes of one byte of dump; ``probed``: what the fastest rung makes of it."""
    probed: float
    target: float
    trusted: int = 1
    """Segments that may still pass before the next sample."""
    next_trust: int = _FIRST_TRUST

    @property
    def is_deep(self) -> bool:
        """Trying slower rungs would lead to nothing better than is known."""
        return min(self.ratios.values()) <= self.target or any(codec.library is Library.ZLIB for codec in self.ratios)

    def after(self, old: _Object) -> _Object:
        """The mean of two samples of alike data, to be trusted for longer."""
        ratios = {codec: (ratio + old.ratios.get(codec, ratio)) / 2 for codec, ratio in self.ratios.items()}
        slower = {codec: ratio for codec, ratio in old.ratios.items() if _cost(codec) > max(map(_cost, ratios))}
        return replace(
            self,
            ratios=_unbeaten(ratios | slower),
            reference=(self.reference + old.reference) / 2,
            probed=(self.probed + old.probed) / 2,
            trusted=old.next_trust,
            next_trust=min(_TRUST_GROWTH * old.next_trust, _LONGEST_TRUST),
        )


class CodecChooser:
    """Chooses for the segments of one dump, in their order.

    ``level`` (1-9) is that of the gzip to measure against; ``expected`` how many bytes the compressed file will likely
    have, 0 where nobody knows. A wrong guess costs speed, and never size.
    """

    def __init__(self, level: int, expected: int = 0) -> None:
        self._reference_codec = Codec(Library.ZLIB, level)
        self._small = Codec(Library.LIBDEFLATE, _SMALL[level])
        self._expected = expected
        self._object: _Object | None = None
        self._name: tuple[int, str] = (0, "")
        self._others: dict[tuple[int, str], _Object] = {}
        self._looks = 0
        self.reference_bytes = 0.0
        self.chosen_bytes = 0.0

    def compress(self, segment: RawSegment) -> Deflated:
        """Choose and compress at once."""
        return deflate(segment, self.choose(segment))

    def choose(self, segment: RawSegment) -> Codec:
        """The codec for the next segment. Costs some milliseconds where it samples."""
        self._turn_to((segment.section, segment.object_name))
        if segment.raw_size >= _SMALLEST_SAMPLED:
            self._look(segment)
        known = self._object
        if known is None:
            self._enter(segment.raw_size * _TYPICAL_DENSITY, 1.0)
            return self._small
        return self._affordable(known, segment)

    def _turn_to(self, name: tuple[int, str]) -> None:
        if self._name == name:
            return
        if self._object is not None:
            self._others[self._name] = self._object
            if len(self._others) > _REMEMBERED:
                del self._others[next(iter(self._others))]
        self._name, self._object = name, self._others.pop(name, None)

    def _affordable(self, known: _Object, segment: RawSegment) -> Codec:
        """The fastest rung that the account can pay for; where none is, the smallest that was sampled."""
        reference = known.reference * segment.raw_size
        codec = self._fitting(known, reference)
        if codec is None and not known.is_deep:
            probes = _Probes.of(segment, _places(self._looks, segment.raw_size))
            known = self._object = self._sample(segment, probes, deep=True)
            reference = known.reference * segment.raw_size
            codec = self._fitting(known, reference)
        codec = codec or min(known.ratios, key=lambda rung: known.ratios[rung])
        self._enter(reference, known.ratios[codec])
        return codec

    def _fitting(self, known: _Object, reference: float) -> Codec | None:
        allowed = self._allowed(known.target, reference)
        return next((codec for codec, ratio in known.ratios.items() if ratio <= allowed), None)

    def _allowed(self, target: float, reference: float) -> float:
        """The size that the next segment may have, against the ``reference`` bytes that it would have."""
        saved = target * self.reference_bytes - self.chosen_bytes - _MEMBER_OVERHEAD
        to_come = self._expected - self.chosen_bytes
        if to_come <= 0:
            to_come = _HORIZON * self.reference_bytes
        due = max(to_come, reference) if saved > 0 else reference
        return max(target + saved / due, _TIGHTEST)

    def _enter(self, reference: float, ratio: float) -> None:
        self.reference_bytes += reference
        self.chosen_bytes += reference * ratio + _MEMBER_OVERHEAD

    def _look(self, segment: RawSegment) -> None:
        """Sample, where the object is new, the last sample is old, or the data has changed its nature."""
        self._looks += 1
        places, known = _places(self._looks, segment.raw_size), self._object
        if known is not None and known.trusted > 0 and _Probes.of(segment, places[::2]).are_like(known.probed):
            known.trusted -= 1
            return
        self._object = self._sample(segment, _Probes.of(segment, places))

    def _sample(self, segment: RawSegment, probes: _Probes, *, deep: bool = False) -> _Object:
        """Try rungs until one is as small as the account allows; ``deep``: until one is as small as is aimed at."""
        penalty = {} if probes.are_even else _BLOCK_PENALTY
        target = TARGET if probes.are_even and probes.mean > _DENSE else _CAUTIOUS
        slices = probes.slices(segment)
        whole = _size(self._reference_codec, slices)
        reference = whole / sum(len(piece) - WINDOW for piece in slices)
        enough = target if deep else max(target, self._allowed(target, reference * segment.raw_size))
        if self.chosen_bytes > TARGET * self.reference_bytes:
            enough = _TIGHTEST
        ratios: dict[Codec, float] = {}
        for codec in LADDER if probes.mean > _UNREPEATED else _LADDER:
            ratios[codec] = _size(codec, slices) / whole * penalty.get(codec.library, 1.0)
            if ratios[codec] <= enough and codec is not HUFFMAN:
                break
        else:
            ratios[self._reference_codec] = 1.0
        found = _Object(_unbeaten(_sensible(ratios)), reference, probes.mean, target)
        old = self._object
        return found if old is None or not probes.are_like(old.probed) else found.after(old)


def _sensible(ratios: dict[Codec, float]) -> dict[Codec, float]:
    """Without the rung that looks for no repetitions, where looking for them pays."""
    looking = ratios.get(_FAST, 1.0)
    return {codec: ratio for codec, ratio in ratios.items() if codec is not HUFFMAN or ratio < looking}


def _unbeaten(ratios: dict[Codec, float]) -> dict[Codec, float]:
    """The lower convex hull over cost: each of these is smaller than any mixture of others that costs the same."""
    hull: list[tuple[Codec, float, float]] = []
    for codec, ratio in ratios.items():
        cost = _cost(codec)
        if hull and ratio >= hull[-1][2]:
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-1], (codec, cost, ratio)):
            hull.pop()
        hull.append((codec, cost, ratio))
    return {codec: ratio for codec, _, ratio in hull}


def _cost(codec: Codec) -> float:
    return LADDER.get(codec, _SLOWEST)


def _gain(fast: tuple[Codec, float, float], slow: tuple[Codec, float, float]) -> float:
    """Size saved for each millisecond more."""
    return (fast[2] - slow[2]) / (slow[1] - fast[1])


def _places(number: int, size: int) -> list[int]:
    """Where to sample the ``number``-th segment: spread over it, and elsewhere each time, as golden sections are."""
    shift = number * _GOLDEN % 1.0
    room = size - WINDOW - min(_LONG_SLICE, size // 4)
    return [WINDOW + int((part + shift) / _SLICES * room) for part in range(_SLICES)]


def _probe(segment: RawSegment, place: int) -> float:
    """What the fastest codec makes of a byte there: nearly free, and enough to see that data differs."""
    around = _slice(segment, place - _PROBE, 2 * _PROBE)
    return deflated_size(_FAST, around[_PROBE:], around[:_PROBE]) / _PROBE


def _size(codec: Codec, slices: list[bytes]) -> int:
    return sum(deflated_size(codec, piece[WINDOW:], piece[:WINDOW]) for piece in slices)


def _slice(segment: RawSegment, start: int, size: int) -> bytes:
    """Bytes from the midst of a segment, whatever its parts."""
    pieces: list[bytes | memoryview] = []
    for part in segment.parts:
        if start < len(part) and size > 0:
            piece = part[start : start + size]
            pieces.append(piece)
            size -= len(piece)
        start = max(start - len(part), 0)
    return b"".join(pieces)
