"""The units of a backup file: what can be restored by itself, and where it lies.

A unit is a segment, or a row of segments that continue one another. Places are kept as numbers, a few bytes for each
segment, so that a file of a terabyte can be surveyed, too.
"""

from __future__ import annotations

import itertools
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from vya_backupd.dumpfile.reader import Member, Walk, inflate, members
from vya_backupd.dumpfile.segment import Label, MemberKind
from vya_backupd.model.backup import Section
from vya_backupd.pipeline.files import FileSource

_AHEAD = 2
"""Segments of a large unit that are inflated before they are wanted."""

Unit = tuple[Member, ...]
"""Members that continue one another, in order. Their labels know sizes and section, not rows and object numbers."""


@dataclass(slots=True)
class Units:
    """The units of one object in one section, in the order of the file. ``rows``: as far as labels know of them."""

    section: Section
    name: str
    raw_size: int = 0
    count: int = 0
    rows: int = 0
    _offsets: array[int] = field(default_factory=lambda: array("Q"))
    _numbers: array[int] = field(default_factory=lambda: array("L"))
    _sizes: array[int] = field(default_factory=lambda: array("L"))
    _raw_sizes: array[int] = field(default_factory=lambda: array("L"))
    _continued: bytearray = field(default_factory=bytearray)

    def add(self, member: Member) -> None:
        """Take the next segment."""
        label = member.label
        self.raw_size += label.raw_size
        self.rows += label.rows or 0
        self.count += not label.continued
        self._offsets.append(member.offset)
        self._numbers.append(member.number)
        self._sizes.append(label.member_size)
        self._raw_sizes.append(label.raw_size)
        self._continued.append(label.continued)

    def __iter__(self) -> Iterator[Unit]:
        """Its ``count`` units, made as they are asked for."""
        begun: list[Member] = []
        for member in self._members():
            if begun and not member.label.continued:
                yield tuple(begun)
                begun = []
            begun.append(member)
        if begun:
            yield tuple(begun)

    def _members(self) -> Iterator[Member]:
        columns = (self._offsets, self._numbers, self._sizes, self._raw_sizes, self._continued)
        for offset, number, size, raw_size, continued in zip(*columns, strict=True):
            yield Member(number, offset, Label(self.section, 0, raw_size, size, continued=bool(continued)), self.name)


@dataclass(slots=True)
class Survey:
    """What a file holds. ``data``: the units of its tables and other objects with data, as they first appear.

    ``is_ordered``: no data come behind the beginning of the post section, and no other section is out of its order.
    ``last_data``: the last member with data in it.
    """

    data: dict[str, Units] = field(default_factory=dict)
    is_ordered: bool = True
    last_data: Member | None = None
    raw_sizes: dict[Section, int] = field(default_factory=lambda: dict.fromkeys(Section, 0))


def survey(source: FileSource) -> Survey:
    """Hop over the whole file, from label to label.

    Raises:
        IntegrityError: damage that labels show.
    """
    found, last = Survey(), Section.HEADER
    for member in members(source.read_at, source.size, Walk()):
        if member.label.kind is not MemberKind.SEGMENT:
            continue
        section = member.label.section
        found.is_ordered = found.is_ordered and section >= last
        found.raw_sizes[section] += member.label.raw_size
        last = section
        if section is Section.DATA:
            found.last_data = member
            if member.name not in found.data:
                found.data[member.name] = Units(section, member.name)
            found.data[member.name].add(member)
    return found


class UnitReader:
    """Inflates units of an open file. Any thread may.

    ``watch(raw_bytes)`` learns of every segment that was executed or at least handed on, from the thread that did it.
    """

    def __init__(self, source: FileSource, pool: ThreadPoolExecutor, watch: Callable[[int], None]) -> None:
        self._source = source
        self._pool = pool
        self._watch = watch

    def texts(self, unit: Unit) -> Iterator[bytes]:
        """The text of a unit, segment by segment; a large one is read a little ahead, in the pool.

        Raises:
            IntegrityError: a member is damaged.
        """
        rest = iter(unit[1:])
        pending: deque[Future[bytes]] = deque()
        text = self.text(unit[0])
        try:
            while True:
                pending.extend(
                    self._pool.submit(self.text, each) for each in itertools.islice(rest, _AHEAD - len(pending))
                )
                yield text
                self._watch(len(text))
                if not pending:
                    return
                text = pending.popleft().result()
        finally:
            # The file must stay open until no thread reads it.
            for future in pending:
                if not future.cancel():
                    future.exception()

    def text(self, member: Member) -> bytes:
        """The text of one segment. Raises as ``texts`` does."""
        return inflate(member, self._source.read_at(member.offset, member.label.member_size))
