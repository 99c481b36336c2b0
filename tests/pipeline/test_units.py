"""Units of a file: each object's rows, whole, in the order of the file."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.dumpfile import samples
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Section
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.units import UnitReader, survey


def _file(path: Path, parts: list[RawSegment] | None = None) -> Path:
    path.write_bytes(samples.build(parts)[0])
    return path


def test_units_keep_what_continues_together(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    seen: list[int] = []
    with open_source(_file(tmp_path / "a")) as source:
        found = survey(source)
        reader = UnitReader(source, pool, seen.append)
        texts = {name: [list(reader.texts(unit)) for unit in units] for name, units in found.data.items()}
        last = found.last_data
        assert last is not None
        assert reader.text(last) == b"yyyy\n\\.\n"
    assert texts == {
        "public.a": [[b"COPY a FROM stdin;\n1\n2\n\\.\n"], [b"COPY a FROM stdin;\n3\n\\.\n"]],
        "public.b\udcff": [[b"COPY b FROM stdin;\nxxxx", b"yyyy\n\\.\n"]],
    }
    assert [units.count for units in found.data.values()] == [2, 1]
    assert sum(seen) == found.raw_sizes[Section.DATA] == sum(units.raw_size for units in found.data.values())
    assert found.is_ordered


def test_runs_that_interleave_are_gathered(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    parts = [samples.segment(Section.DATA, name, text, rows=1) for name, text in (("a", b"1"), ("b", b"2"))]
    parts += [samples.segment(Section.DATA, "a", b"3", rows=1), samples.segment(Section.POST, "", b"p")]
    parts.append(samples.segment(Section.DATA, "a", b"4", rows=1))
    with open_source(_file(tmp_path / "a", parts)) as source:
        found = survey(source)
        reader = UnitReader(source, pool, lambda _: None)
        assert [b"".join(reader.texts(unit)) for unit in found.data["a"]] == [b"1", b"3", b"4"]
    assert not found.is_ordered


def test_a_large_unit_is_read_ahead_and_can_be_left(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    pieces = [os.urandom(1000) for _ in range(9)]
    parts = [
        samples.segment(Section.DATA, "a", piece, rows=0, continues=number < 8, continued=number > 0)
        for number, piece in enumerate(pieces)
    ]
    with open_source(_file(tmp_path / "a", parts)) as source:
        reader = UnitReader(source, pool, lambda _: None)
        (unit,) = survey(source).data["a"]
        assert list(reader.texts(unit)) == pieces
        begun = reader.texts(unit)
        assert next(begun) == pieces[0]
        assert isinstance(begun, Generator)
        begun.close()


def test_damage_has_a_place(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    path = _file(tmp_path / "a")
    with open_source(path) as source:
        units = survey(source).data["public.a"]
        (member,) = next(iter(units))
    data = bytearray(path.read_bytes())
    data[member.offset + member.label.member_size - 12] ^= 1
    path.write_bytes(data)
    with open_source(path) as source, pytest.raises(IntegrityError, match=f"byte {member.offset}"):
        list(UnitReader(source, pool, lambda _: None).texts((member,)))
