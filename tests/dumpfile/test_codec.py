"""The codec choice: never over its bound, the same for the same data, and every codec readable by others."""

from __future__ import annotations

import functools
import gzip
import subprocess
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.corpora import CORPORA
from tests.dumpfile import samples
from vya_backupd.dumpfile.codec import HUFFMAN, LADDER, Codec, Library, deflate
from vya_backupd.dumpfile.codec_choice import BOUND, CodecChooser
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.model.backup import Section

SEGMENT = 2 << 20
FASTEST = Codec(Library.ISAL, 1)


@functools.cache
def corpus(name: str, mib: int) -> bytes:
    return CORPORA[name](mib << 20)


def cut(text: bytes) -> list[RawSegment]:
    """Segments of one table, each in parts as a scanner leaves them."""
    pieces = [text[at : at + SEGMENT] for at in range(0, len(text), SEGMENT)]
    return [RawSegment(Section.DATA, "t", [p[:1000], memoryview(p)[1000:], b""], len(p)) for p in pieces]


def file_size(segments: list[RawSegment], level: int, expected: int = 0) -> int:
    file, chooser = FileWriter(), CodecChooser(level, expected)
    file.first(samples.facts())
    for segment in segments:
        file.add(segment, chooser.compress(segment))
    file.last(samples.closing())
    return file.size


@pytest.mark.parametrize("level", [1, 3, 6, 9])
@pytest.mark.parametrize("name", CORPORA)
def test_no_file_is_over_the_bound(name: str, level: int) -> None:
    text = corpus(name, 12 if name == "mixed" else 6)
    reference = len(subprocess.run(["gzip", f"-{level}"], input=text, capture_output=True, check=True).stdout)
    assert file_size(cut(text), level) <= BOUND * reference


def test_savings_on_one_table_are_spent_on_the_next() -> None:
    hexadecimal, documents = corpus("hexadecimal", 6), corpus("documents", 6)
    alone, after = CodecChooser(6), CodecChooser(6)
    for segment in cut(hexadecimal):
        after.choose(segment)
    thrifty = [alone.choose(segment) for segment in cut(documents)]
    fast = [after.choose(segment) for segment in cut(documents)]
    assert sum(map(LADDER.__getitem__, fast)) < sum(map(LADDER.__getitem__, thrifty))
    reference = len(gzip.compress(hexadecimal + documents, 6))
    assert file_size(cut(hexadecimal) + cut(documents), 6) <= BOUND * reference


def test_data_that_changes_is_sampled_anew() -> None:
    chooser = CodecChooser(6)
    chosen = [chooser.choose(segment) for segment in cut(corpus("documents", 6) * 3 + corpus("noise", 6))]
    assert chosen[-1] == FASTEST
    assert chosen[4] != FASTEST


@pytest.mark.parametrize("level", range(1, 10))
def test_objects_too_small_for_samples_pack_as_small_as_gzip(level: int) -> None:
    chooser, reference, packed = CodecChooser(level), 0, 0
    for name in CORPORA:
        text = corpus(name, 6)[: 100 << 10]
        made = chooser.compress(RawSegment(Section.DATA, name, [text], len(text)))
        packed += len(made.data)
        reference += len(gzip.compress(text, level)) - 18
    assert packed <= reference * 1.005


def test_text_without_repetitions_is_not_searched_for_them() -> None:
    chooser = CodecChooser(6)
    assert {chooser.choose(segment) for segment in cut(corpus("hexadecimal", 6))} == {HUFFMAN}
    assert HUFFMAN not in {chooser.choose(segment) for segment in cut(corpus("prose", 6) + corpus("noise", 6))}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 20.0], ids=str)
def test_a_wrong_guess_of_the_size_never_breaks_the_bound(share: float) -> None:
    text = corpus("hexadecimal", 6)[: 2 << 20] + corpus("documents", 6) + corpus("padded", 6)
    reference = len(gzip.compress(text, 6))
    assert file_size(cut(text), 6, expected=int(reference * share)) <= BOUND * reference


def test_savings_last_to_the_end_where_the_size_is_known() -> None:
    text = corpus("hexadecimal", 6)[: 2 << 20] + corpus("prose", 12) * 2

    def cost(expected: int) -> float:
        chooser = CodecChooser(6, expected)
        return sum(LADDER[chooser.choose(segment)] for segment in cut(text))

    assert cost(len(gzip.compress(text, 6))) < cost(0)


@pytest.mark.parametrize("codec", [*LADDER, Codec(Library.ZLIB, 1), Codec(Library.ZLIB, 9)], ids=str)
@settings(max_examples=20, deadline=None)
@given(parts=st.lists(st.binary(max_size=3000), max_size=5))
def test_every_codec_writes_what_zlib_reads(codec: Codec, parts: list[bytes]) -> None:
    text = b"".join(parts)
    made = deflate(RawSegment(Section.DATA, "t", [*parts], len(text)), codec)
    assert zlib.decompress(made.data, -15) == text
    assert made.crc == zlib.crc32(text)
