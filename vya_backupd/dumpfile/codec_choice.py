"""Choosing a compressor for every segment: as fast as can be, and no file over ``BOUND`` times ``gzip -N``.

No fixed mapping of levels serves all data: what makes a table of hex strings smaller *and* ten times faster than zlib
makes source text a fifth larger. So each object's data is sampled: four slices of 16 KiB (or more, where they differ), compressed the way they would
be in the stream (with the 32 KiB before them as a dictionary), by zlib at the wanted level, which is the
reference, and by the rungs of the ladder. That foretells sizes within half a percent.

An account of the whole file adds up what the reference would have written and what was chosen instead. A segment takes
the fastest codec that keeps the account below ``TARGET``: savings on one table may be spent on speed in the next. They
are spread over all that is still to come, which is known from the last backup of the same database: a byte of savings
buys the more speed the slower the codec is that it replaces. Where more is known of the last dump (``foretold``), what
tables will save later is spent before, and each takes the codec that is best for all together.

Of the rungs only those count that no mixture of two others beats: what one segment saves with a slow codec, its
neighbours spend on a fast one.

Everything here depends on the data and its order alone, never on clocks or threads: the same dump gives the same file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from vya_backupd.dumpfile.codec import HUFFMAN, LADDER, WINDOW, Codec, Deflated, Library, deflate
from vya_backupd.dumpfile.codec_samples import DENSE, FAST, Probes, places_in, size_of
from vya_backupd.dumpfile.foretold import Foretold, Outlook, Packing, cost_of
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.model.backup import Section

BOUND = 1.02
"""What is promised: size of a file against ``gzip -N`` of the same text."""
TARGET = 1.0185
"""What is aimed at: samples err by half a percent, and mostly by saying too much."""
_CAUTIOUS = 1.01
"""What is aimed at in data that changes within a segment or packs very well, where samples err more."""
_TIGHTEST = 0.985
"""An account overdrawn by many tiny objects is not repaid with slowness beyond this."""
_MEMBER_OVERHEAD = 60
_BLOCK_PENALTY = {Library.ISAL: 1.04, Library.LIBDEFLATE: 1.008}
"""isal writes one code table for half a megabyte of text, libdeflate for up to a third of one. Where text changes within
that, slices flatter them."""
_SMALLEST_SAMPLED = 160 << 10
_HORIZON = 0.1
"""Savings are spread over what is to come; where nobody knows, that is guessed to be this share of what has passed."""
_FIRST_TRUST, _TRUST_GROWTH, _LONGEST_TRUST = 2, 4, 64
"""Segments that pass between samples of one object, at first and at most."""
_TYPICAL_DENSITY = 0.22
_REMEMBERED = 64
"""Objects whose samples are kept while segments of others come: several streams bring several tables by turns."""
_OVERDRAFT = 0.04
"""Of the file, what is spent at most before it is saved: what one file can be too large by, when a table that saved much
has gone since the last dump."""
_WORTH_TELLING = 1 << 20
"""Bytes of dump from which an object is worth telling the next dump of."""
_LADDER = {codec: cost for codec, cost in LADDER.items() if codec is not HUFFMAN}
_UNREPEATED = 0.45
"""Text that packs worse than this has hardly any repetitions."""
_SMALL = {1: 2, 2: 2, 3: 4, 4: 5, 5: 6, 6: 7, 7: 7, 8: 8, 9: 9}
"""For objects that are too small to be sampled: libdeflate's level that packs as small as ``gzip -N``."""


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

    @classmethod
    def of(cls, packing: Packing) -> _Object:
        """As the last dump told. Trusted for a while, as long as probes do not contradict."""
        known = (dict(packing.ratios), packing.reference, packing.probed, packing.target)
        return cls(*known, _TRUST_GROWTH * _FIRST_TRUST, _TRUST_GROWTH * _TRUST_GROWTH * _FIRST_TRUST)

    def packing(self, raw_size: int = 0) -> Packing:
        """For the outlook, and for the next dump."""
        return Packing(raw_size, self.ratios, self.reference, self.probed, self.target)

    @property
    def is_deep(self) -> bool:
        """Trying slower rungs would lead to nothing better than is known."""
        return min(self.ratios.values()) <= self.target or any(codec.library is Library.ZLIB for codec in self.ratios)

    def after(self, old: _Object) -> _Object:
        """The mean of two samples of alike data, to be trusted for longer."""
        ratios = {codec: (ratio + old.ratios.get(codec, ratio)) / 2 for codec, ratio in self.ratios.items()}
        slower = {codec: ratio for codec, ratio in old.ratios.items() if cost_of(codec) > max(map(cost_of, ratios))}
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
    have, 0 where nobody knows. A wrong guess costs speed, and never size. ``foretold``: what the last dump told; that of
    another level counts for nothing.
    """

    def __init__(self, level: int, expected: int = 0, foretold: Foretold | None = None) -> None:
        self._level = level
        self._outlook = None if foretold is None or foretold.level != level else Outlook.of(foretold)
        self._credit = (
            _OVERDRAFT * sum(each.raw_size * each.reference for each in foretold.objects.values()) if foretold else 0.0
        )
        self._sizes: Counter[str] = Counter()
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
        if segment.section is Section.DATA:
            self._sizes[segment.object_name] += segment.raw_size
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
        if self._object is None and self._outlook is not None and name[0] == Section.DATA:
            told = self._outlook.packings.get(name[1])
            self._object = None if told is None else _Object.of(told)

    def _affordable(self, known: _Object, segment: RawSegment) -> Codec:
        """The fastest rung that the account can pay for; where none is, the smallest that was sampled."""
        codec = self._fitting(known, segment)
        if codec is None and not known.is_deep:
            probes = Probes.of(segment, places_in(self._looks, segment.raw_size))
            known = self._object = self._sample(segment, probes, deep=True)
            codec = self._fitting(known, segment)
        codec = codec or min(known.ratios, key=lambda rung: known.ratios[rung])
        self._enter(known.reference * segment.raw_size, known.ratios[codec])
        if self._outlook is not None and segment.section is Section.DATA:
            self._outlook.passed(segment.object_name, segment.raw_size)
        return codec

    def _fitting(self, known: _Object, segment: RawSegment) -> Codec | None:
        outlook, saved = self._outlook, TARGET * self.reference_bytes - self.chosen_bytes
        if outlook is None or segment.section is not Section.DATA or saved < -self._credit:
            allowed = self._allowed(known.target, known.reference * segment.raw_size)
            return next((codec for codec, ratio in known.ratios.items() if ratio <= allowed), None)
        outlook.learn(segment.object_name, known.packing())
        codec, fits = outlook.rung(segment.object_name, segment.raw_size, saved)
        return codec if fits else None

    def learned(self) -> Foretold:
        """What to tell the next dump, after the last segment."""
        every = {**self._others, self._name: self._object}
        found = {
            name: known.packing(self._sizes[name])
            for (section, name), known in every.items()
            if known is not None and section == Section.DATA and self._sizes[name] >= _WORTH_TELLING
        }
        return Foretold(self._level, found)

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
        places, known = places_in(self._looks, segment.raw_size), self._object
        if known is not None and known.trusted > 0 and Probes.of(segment, places[::2]).are_like(known.probed):
            known.trusted -= 1
            return
        self._object = self._sample(segment, Probes.of(segment, places))

    def _sample(self, segment: RawSegment, probes: Probes, *, deep: bool = False) -> _Object:
        """Try rungs until one is as small as the account allows; ``deep``: until one is as small as is aimed at."""
        penalty = {} if probes.are_even else _BLOCK_PENALTY
        target = TARGET if probes.are_even and probes.mean > DENSE else _CAUTIOUS
        slices = probes.slices(segment)
        whole = size_of(self._reference_codec, slices)
        reference = whole / sum(len(piece) - WINDOW for piece in slices)
        enough = target if deep else max(target, self._allowed(target, reference * segment.raw_size))
        if self._outlook is not None:
            enough = target
        elif self.chosen_bytes > TARGET * self.reference_bytes:
            enough = _TIGHTEST
        ratios: dict[Codec, float] = {}
        for codec in LADDER if probes.mean > _UNREPEATED else _LADDER:
            ratios[codec] = size_of(codec, slices) / whole * penalty.get(codec.library, 1.0)
            if ratios[codec] <= enough and codec is not HUFFMAN:
                break
        else:
            ratios[self._reference_codec] = 1.0
        found = _Object(_unbeaten(_sensible(ratios)), reference, probes.mean, target)
        old = self._object
        return found if old is None or not probes.are_like(old.probed) else found.after(old)


def _sensible(ratios: dict[Codec, float]) -> dict[Codec, float]:
    """Without the rung that looks for no repetitions, where looking for them pays."""
    looking = ratios.get(FAST, 1.0)
    return {codec: ratio for codec, ratio in ratios.items() if codec is not HUFFMAN or ratio < looking}


def _unbeaten(ratios: dict[Codec, float]) -> dict[Codec, float]:
    """The lower convex hull over cost: each of these is smaller than any mixture of others that costs the same."""
    hull: list[tuple[Codec, float, float]] = []
    for codec, ratio in ratios.items():
        cost = cost_of(codec)
        if hull and ratio >= hull[-1][2]:
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-1], (codec, cost, ratio)):
            hull.pop()
        hull.append((codec, cost, ratio))
    return {codec: ratio for codec, _, ratio in hull}


def _gain(fast: tuple[Codec, float, float], slow: tuple[Codec, float, float]) -> float:
    """Size saved for each millisecond more."""
    return (fast[2] - slow[2]) / (slow[1] - fast[1])
