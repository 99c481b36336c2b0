"""Samples of a segment: slices compressed as they would be in the stream, and probes, which are nearly free.

Where and how much to sample is decided here; what to make of it, in ``codec_choice``.
"""

from __future__ import annotations

from dataclasses import dataclass

from vya_backupd.dumpfile.codec import HUFFMAN, LADDER, WINDOW, Codec, deflated_size
from vya_backupd.dumpfile.segment import RawSegment

_SLICES = 12
_THINNED = 3
"""Probes are taken at twelve places, slices at every third of them where the probes are alike."""
_UNEVEN = 0.4
_SLICE = 16 << 10
_LONG_SLICE = 96 << 10
DENSE = 0.12
"""Where text packs better than this, what a slice becomes is mostly the head of its own code table: slices are longer."""
_PROBE = 4 << 10
_GOLDEN = 0.618034
DRIFT = 0.12
"""Share by which the mean of probes differs where data has changed."""
FAST = next(codec for codec in LADDER if codec is not HUFFMAN)
"""What probes are taken with."""


@dataclass(frozen=True, slots=True)
class Probes:
    """What the fastest rung makes of a byte, in several places of a segment: nearly free, and enough to see a change."""

    places: list[int]
    mean: float
    are_even: bool

    @classmethod
    def of(cls, segment: RawSegment, places: list[int]) -> Probes:
        """Probe a segment there."""
        found = [_probe(segment, place) for place in places]
        mean = sum(found) / len(found)
        return cls(places, mean, max(found) - min(found) < _UNEVEN * mean)

    def are_like(self, mean: float) -> bool:
        """Whether these come of the same kind of data as others with this mean."""
        return abs(self.mean - mean) <= DRIFT * mean

    def slices(self, segment: RawSegment) -> list[bytes]:
        """What is to be sampled, each with what precedes it."""
        chosen = self.places[::_THINNED] if self.are_even else self.places
        length = _SLICE if self.mean > DENSE else _LONG_SLICE
        return [_slice(segment, place - WINDOW, WINDOW + length) for place in chosen]


def places_in(number: int, size: int) -> list[int]:
    """Where to sample the ``number``-th segment: spread over it, and elsewhere each time, as golden sections are."""
    shift = number * _GOLDEN % 1.0
    room = size - WINDOW - min(_LONG_SLICE, size // 4)
    return [WINDOW + int((part + shift) / _SLICES * room) for part in range(_SLICES)]


def _probe(segment: RawSegment, place: int) -> float:
    """What the fastest codec makes of a byte there: nearly free, and enough to see that data differs."""
    around = _slice(segment, place - _PROBE, 2 * _PROBE)
    return deflated_size(FAST, around[_PROBE:], around[:_PROBE]) / _PROBE


def size_of(codec: Codec, slices: list[bytes]) -> int:
    """What slices become, each without what precedes it."""
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
