"""Extents: where the runs of objects lie. Writer and reader count with the same class, so they cannot disagree.

A dump that was made in several sessions changes from table to table with nearly every segment. Each run has an extent of
its own all the same, until there are very many; from then on the runs of rows of one object that begin in the same
*window* of the file are one extent, which spans what others have between them. So the table of contents of ten
terabytes stays a matter of megabytes, and who wants one table reads labels, not bodies, beside its own segments.
"""

from __future__ import annotations

from dataclasses import replace

from vya_backupd.dumpfile.segment import Label
from vya_backupd.model.backup import Extent, Section

PRECISE = 10_000
"""Extents of a file before any of them may span what is not its own: some twenty gigabytes of dump by turns."""
WINDOW = 256 << 20
"""Bytes of the file in which an object then has one extent for its rows."""


class ExtentBuilder:
    """Follows the segments of a file in order and gathers those of one object in one section.

    ``precise`` and ``window`` are part of the format: every reader must count with those of the writer.
    """

    def __init__(self, precise: int = PRECISE, window: int = WINDOW) -> None:
        self._precise = precise
        self._window = window
        self._extents: list[Extent] = []
        self._at = -1
        self._numbers: dict[str, int] = {}
        self._in_window = 0
        self._lately: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The object number of a name: as before, or the next one."""
        return self._numbers.setdefault(name, len(self._numbers))

    def begins_run(self, section: Section, name: str) -> bool:
        """Whether a segment of this section and object starts a new run here."""
        if self._at < 0:
            return True
        run = self._extents[self._at]
        return run.section is not section or run.name != name

    def add(self, label: Label, name: str, offset: int) -> None:
        """Take the next segment: its label (with the member's size), its object's name, its place in the file."""
        if self.begins_run(label.section, name):
            before = self._to_go_on_with(label.section, name, offset)
            if before is None:
                self._begin(label, name, offset)
                return
            self._at = before
        self._extents[self._at] = _grown(self._extents[self._at], label, offset)

    @property
    def open_name(self) -> str:
        """The object of the run that goes on; empty before the first."""
        return self._extents[self._at].name if self._at >= 0 else ""

    @property
    def objects(self) -> int:
        """How many distinct names there were."""
        return len(self._numbers)

    def extents(self) -> tuple[Extent, ...]:
        """All of them so far, in the order in which they begin."""
        return tuple(self._extents)

    def rows(self) -> int | None:
        """Rows over all extents that counted any; None where none did."""
        known = [extent.rows for extent in self._extents if extent.rows is not None]
        return sum(known) if known else None

    def _begin(self, label: Label, name: str, offset: int) -> None:
        self._at = len(self._extents)
        self._extents.append(Extent(label.section, name, offset, label.member_size, label.raw_size, label.rows, 1))
        if label.section is Section.DATA and self._at >= self._precise:
            self._lately[name] = self._at

    def _to_go_on_with(self, section: Section, name: str, offset: int) -> int | None:
        """The extent that a new run belongs to; None: one of its own."""
        if offset // self._window != self._in_window:
            self._in_window = offset // self._window
            self._lately.clear()
        return self._lately.get(name) if section is Section.DATA else None


def _grown(extent: Extent, label: Label, offset: int) -> Extent:
    size, end = extent.size + label.member_size, offset + label.member_size
    return replace(
        extent,
        size=size,
        raw_size=extent.raw_size + label.raw_size,
        rows=None if extent.rows is None or label.rows is None else extent.rows + label.rows,
        segments=extent.segments + 1,
        span=None if end - extent.offset == size else end - extent.offset,
    )
