"""Extents: where the runs of objects lie. Writer and reader count with the same class, so they cannot disagree."""

from __future__ import annotations

from dataclasses import replace

from vya_backupd.dumpfile.segment import Label
from vya_backupd.model.backup import Extent, Section


class ExtentBuilder:
    """Follows the segments of a file in order and gathers consecutive ones of one object in one section."""

    def __init__(self) -> None:
        self._done: list[Extent] = []
        self._open: Extent | None = None
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The object number of a name: as before, or the next one."""
        return self._numbers.setdefault(name, len(self._numbers))

    def begins_run(self, section: Section, name: str) -> bool:
        """Whether a segment of this section and object starts a new run here."""
        run = self._open
        return run is None or run.section is not section or run.name != name

    def add(self, label: Label, name: str, offset: int) -> None:
        """Take the next segment: its label (with the member's size), its object's name, its place in the file."""
        run = self._open
        if run is None or self.begins_run(label.section, name):
            self._close()
            self._open = Extent(label.section, name, offset, label.member_size, label.raw_size, label.rows, 1)
            return
        self._open = replace(
            run,
            size=run.size + label.member_size,
            raw_size=run.raw_size + label.raw_size,
            rows=None if run.rows is None or label.rows is None else run.rows + label.rows,
            segments=run.segments + 1,
        )

    @property
    def open_name(self) -> str:
        """The object of the run that goes on; empty before the first."""
        return self._open.name if self._open else ""

    @property
    def objects(self) -> int:
        """How many distinct names there were."""
        return len(self._numbers)

    def extents(self) -> tuple[Extent, ...]:
        """All runs so far, in the order of the file."""
        return (*self._done, self._open) if self._open else tuple(self._done)

    def rows(self) -> int | None:
        """Rows over all runs that counted any; None where none did."""
        known = [extent.rows for extent in self.extents() if extent.rows is not None]
        return sum(known) if known else None

    def _close(self) -> None:
        if self._open:
            self._done.append(self._open)
