"""Reading parts of a file: exactly what the extents name, proven, wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dumpfile.samples import build, facts, manifest, segment
from vya_backupd.dumpfile.extents import PRECISE
from vya_backupd.dumpfile.manifest import decode_manifest, encode_manifest
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.errors import IntegrityError, UsageError
from vya_backupd.model.backup import Manifest, Section
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.pipeline.files import FileSource, open_source
from vya_backupd.pipeline.pieces import (
    Rows,
    Script,
    check_ends,
    last_text,
    pieces,
    prove,
    table_of_contents,
    texts_of,
)

CODECS = pytest.mark.parametrize("codec", list(FileCodec))


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def _interleaved() -> list[RawSegment]:
    """Two tables that come by turns, as a parallel dump gives them; one with a row over three segments."""
    return [
        segment(Section.HEADER, "header", b"SET x = 1;\n"),
        segment(Section.DATA, "public.a", b"a1\n", rows=1),
        segment(Section.DATA, "public.b", b"b1\n", rows=1),
        segment(Section.DATA, "public.a", b"a2", rows=0, continues=True),
        segment(Section.DATA, "public.a", b"a2", rows=0, continues=True, continued=True),
        segment(Section.DATA, "public.a", b"a2\n", rows=1, continued=True),
        segment(Section.DATA, "public.b", b"b2\n", rows=1),
        segment(Section.DATA, "public.a", b"a3\n", rows=1),
        segment(Section.FOOTER, "footer", b"-- done\n"),
    ]


@contextmanager
def _opened(root: Path, data: bytes) -> Iterator[FileSource]:
    path = root / "file.sql.gz"
    path.write_bytes(data)
    with open_source(path) as source:
        yield source


def _made(codec: FileCodec) -> tuple[bytes, Manifest]:
    data, writer = build(_interleaved(), known=facts(codec=codec))
    return data, manifest(writer, codec)


@CODECS
def test_all_extents_of_a_table_in_order(tmp_path: Path, pool: ThreadPoolExecutor, codec: FileCodec) -> None:
    data, made = _made(codec)
    wanted = tuple(each for each in made.extents if each.name == "public.a")
    assert len(wanted) == 3
    with _opened(tmp_path, data) as source:
        found = list(pieces(source, wanted, pool))
        assert b"".join(piece.text for piece in found) == b"a1\na2a2a2\na3\n"
        assert [piece.label.continued for piece in found] == [False, False, True, True, False]
        script: Script = [b"before\n", Rows(wanted, lambda piece: piece.text.upper()), b"", b"after\n"]
        assert b"".join(texts_of(source, script, pool)) == b"before\nA1\nA2A2A2\nA3\nafter\n"
        assert check_ends(source, made) < len(data)
    assert replace(table_of_contents(source.path), filename="", checksum="") == replace(made, filename="", checksum="")


@pytest.fixture(scope="module")
def very_many() -> tuple[bytes, Manifest]:
    """A file of so many runs that extents span what others have between them."""
    turns = [segment(Section.DATA, "abc"[each % 3], b"%d\n" % each, rows=1) for each in range(PRECISE + 2000)]
    data, writer = build([segment(Section.HEADER, "", b"SET x = 1;\n"), *turns])
    return data, manifest(writer)


def test_one_table_of_very_many_runs(
    tmp_path: Path, pool: ThreadPoolExecutor, very_many: tuple[bytes, Manifest]
) -> None:
    data, made = very_many
    assert len(made.extents) == PRECISE + 3
    assert decode_manifest(encode_manifest(made)) == made
    wanted = [each for each in made.extents if each.name == "b"]
    with _opened(tmp_path, data) as source:
        found = b"".join(piece.text for piece in pieces(source, wanted, pool))
        assert found == b"".join(b"%d\n" % each for each in range(1, PRECISE + 2000, 3))
        assert last_text(source, max(made.extents, key=lambda each: each.end)) == b"%d\n" % (PRECISE + 1999)
        assert check_ends(source, made) < len(data)
        described = table_of_contents(source.path)
    assert replace(described, filename="", checksum="") == replace(made, filename="", checksum="")


def test_a_manifest_that_lies_about_a_span_is_found_out(
    tmp_path: Path, pool: ThreadPoolExecutor, very_many: tuple[bytes, Manifest]
) -> None:
    data, made = very_many
    spanning = next(each for each in made.extents if each.span)
    lies = (
        replace(spanning, name="c" if spanning.name == "b" else "b"),
        replace(spanning, segments=spanning.segments + 1),
        replace(spanning, span=spanning.size),
        replace(spanning, span=None),
        replace(spanning, span=len(data)),
        replace(spanning, section=Section.SCHEMA),
    )
    with _opened(tmp_path, data) as source:
        for lie in lies:
            with pytest.raises(IntegrityError):
                prove(source, [lie], pool)


@given(st.data())
def test_a_flipped_bit_is_found_where_it_matters_and_nowhere_else(
    tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor, data: st.DataObject
) -> None:
    whole, made = _made(data.draw(st.sampled_from(list(FileCodec))))
    damaged = bytearray(whole)
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    wanted = [each for each in made.extents if each.name == "public.a"]
    hit = any(each.offset <= place < each.offset + each.size for each in wanted)
    with _opened(tmp_path_factory.mktemp("flip"), bytes(damaged)) as source:
        if hit:
            with pytest.raises(IntegrityError):
                prove(source, wanted, pool)
        else:
            assert prove(source, wanted, pool) == len(b"a1\na2a2a2\na3\n")


@CODECS
def test_a_flipped_bit_in_facts_or_seal_is_found(tmp_path: Path, codec: FileCodec) -> None:
    whole, made = _made(codec)
    first, last = made.extents[0].offset, made.extents[-1].offset + made.extents[-1].size
    for place in (*range(0, first, 7), *range(last, len(whole), 7)):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        with _opened(tmp_path, bytes(damaged)) as source, pytest.raises(IntegrityError):
            check_ends(source, made)


def test_a_manifest_of_another_file_is_refused(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    data, made = _made(FileCodec.GZIP)
    with _opened(tmp_path, data) as source:
        for other in (
            replace(made, size_bytes=made.size_bytes + 1),
            replace(made, members=made.members + 1),
            replace(made, facts=facts(id="another")),
            replace(made, raw_size_bytes=1),
        ):
            with pytest.raises(IntegrityError):
                check_ends(source, other)
        extent = made.extents[1]
        for wrong in (replace(extent, rows=2), replace(extent, name="public.c"), replace(extent, raw_size=1)):
            with pytest.raises(IntegrityError):
                prove(source, [wrong], pool)
        with pytest.raises(IntegrityError):
            prove(source, [replace(extent, offset=extent.offset + 1)], pool)


def test_a_foreign_file_has_no_table_of_contents(tmp_path: Path) -> None:
    path = tmp_path / "foreign.sql"
    path.write_bytes(b"SELECT 1;\n" + os.urandom(10))
    with pytest.raises(UsageError):
        table_of_contents(path)
