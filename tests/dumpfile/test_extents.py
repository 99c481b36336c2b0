"""The table of contents: exact as long as it is small, and small however large the file is."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.dumpfile.extents import PRECISE, WINDOW, ExtentBuilder
from vya_backupd.dumpfile.segment import Label
from vya_backupd.model.backup import Extent, Section

Placed = tuple[Section, str, int, int]
"""Section, name, offset and size of a segment."""

_MEMBER = 700_000
"""Bytes of a member of 2 MiB of dump, as they are on average."""


def _gathered(segments: list[Placed], **terms: int) -> ExtentBuilder:
    builder = ExtentBuilder(**terms)
    for section, name, offset, size in segments:
        builder.add(Label(section, builder.number(name), 3 * size, size, 1), name, offset)
    return builder


@st.composite
def _files(draw: st.DrawFn) -> list[Placed]:
    kinds = st.tuples(st.sampled_from([Section.SCHEMA, Section.DATA]), st.sampled_from("abc"), st.integers(1, 9))
    offset, placed = draw(st.integers(1, 50)), []
    for section, name, size in draw(st.lists(kinds, min_size=1, max_size=60)):
        placed.append((section, name, offset, size))
        offset += size
    return placed


@given(_files(), st.integers(0, 10), st.integers(1, 40))
def test_every_segment_is_in_exactly_one_extent_of_its_own(segments: list[Placed], precise: int, window: int) -> None:
    extents = _gathered(segments, precise=precise, window=window).extents()
    found: list[Placed] = []
    for extent in extents:
        own = [each for each in segments if each[:2] == (extent.section, extent.name) and _in(extent, each)]
        assert (sum(each[3] for each in own), len(own), len(own)) == (extent.size, extent.segments, extent.rows)
        assert own[0][2] == extent.offset
        assert own[-1][2] + own[-1][3] == extent.end
        assert extent.span is None or extent.section is Section.DATA
        found += own
    assert sorted(found, key=lambda each: each[2]) == segments
    assert [each.offset for each in extents] == sorted(each.offset for each in extents)


def _in(extent: Extent, placed: Placed) -> bool:
    return extent.offset <= placed[2] < extent.end


@given(_files(), st.integers(0, 10))
def test_while_there_are_few_each_run_has_its_own(segments: list[Placed], more: int) -> None:
    runs = sum(one[:2] != other[:2] for one, other in pairwise(segments)) + 1
    extents = _gathered(segments, precise=runs + more, window=1000).extents()
    assert len(extents) == runs
    assert all(each.span is None for each in extents)


def test_two_hundred_gigabytes_in_four_sessions_take_little() -> None:
    """A hundred thousand segments, four tables at a time, with small tables between them."""
    chance, builder, offset, rows = random.Random(1), ExtentBuilder(), 0, 0
    for number in range(100_000):
        name = f"t{number % 4 + number // 30_000 * 4}" if number % 500 else f"small{number}"
        size = chance.randint(_MEMBER // 2, _MEMBER)
        builder.add(Label(Section.DATA, builder.number(name), 2 << 20, size, 7), name, offset)
        offset, rows = offset + size, rows + 7
    extents = builder.extents()
    assert len(extents) < PRECISE + 200 + 5 * (offset // WINDOW + 1)
    assert builder.rows() == rows
    assert sum(each.segments for each in extents) == 100_000
