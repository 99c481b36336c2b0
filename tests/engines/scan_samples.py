"""What the scanners' tests share: feeding dumps in pieces, and judging the segments that come out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.engines.scanner import Scanner
from vya_backupd.model.backup import Section


@dataclass(frozen=True)
class Cut:
    """A segment with its text joined."""

    section: Section
    name: str
    text: bytes
    rows: int | None
    continues: bool
    continued: bool


def pieces(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


def scan(scanner: Scanner, data: bytes, sizes: Iterable[int] = (1 << 20,)) -> list[Cut]:
    segments: list[RawSegment] = []
    for piece in pieces(data, sizes):
        segments += scanner.feed(piece)
    segments += scanner.finish()
    return [_cut(segment) for segment in segments]


def _cut(segment: RawSegment) -> Cut:
    text = b"".join(segment.parts)
    assert len(text) == segment.raw_size > 0
    flags = (segment.continues, segment.continued)
    return Cut(segment.section, segment.object_name, text, segment.rows, *flags)


@dataclass(frozen=True)
class Unit:
    """Segments that belong together: one, or a long one's continuations."""

    section: Section
    name: str
    text: bytes
    rows: int | None


def units(cuts: list[Cut]) -> list[Unit]:
    made: list[Unit] = []
    open_unit: list[Cut] = []
    for cut in cuts:
        assert cut.continued == bool(open_unit)
        open_unit.append(cut)
        if not cut.continues:
            counts = [part.rows for part in open_unit if part.rows is not None]
            rows = sum(counts) if len(counts) == len(open_unit) else None
            made.append(Unit(cut.section, cut.name, b"".join(part.text for part in open_unit), rows))
            open_unit = []
    assert not open_unit
    return made


def check_bounds(cuts: list[Cut], segment_size: int, *, slack: int = 0) -> None:
    assert all(len(cut.text) <= 2 * segment_size + slack for cut in cuts)


def rows_of(cuts: list[Cut], name: str) -> int:
    return sum(cut.rows or 0 for cut in cuts if cut.name == name and cut.section is Section.DATA)


def names(cuts: list[Cut], section: Section) -> list[str]:
    return list(dict.fromkeys(cut.name for cut in cuts if cut.section is section))


def out_of_order(cuts: list[Cut]) -> bytes:
    """The dump with its sections in order and its data in the opposite order, unit by unit."""
    by_section: dict[Section, list[bytes]] = {section: [] for section in Section}
    for unit in units(cuts):
        by_section[unit.section].append(unit.text)
    by_section[Section.DATA].reverse()
    return b"".join(b"".join(by_section[section]) for section in Section)


def object_in_order(cuts: list[Cut], name: str) -> list[bytes]:
    return [unit.text for unit in units(cuts) if unit.name == name]


MakeScanner = Callable[[int], Scanner]
