"""The file format: ordinary gzip or zstd for others, an index of itself for us, and no flipped bit unseen."""

from __future__ import annotations

import gzip
import hashlib
import random
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dumpfile import samples
from vya_backupd.dumpfile.reader import Member, describe, inflate, members
from vya_backupd.dumpfile.segment import PAYLOAD_LIMIT, SMALLEST_HEADER, MemberKind, looks_labelled, parse_label
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Section
from vya_backupd.model.file_codec import FileCodec

ENDINGS = {FileCodec.GZIP: "gzip", FileCodec.ZSTD: "zstd"}


@pytest.fixture(params=FileCodec)
def codec(request: pytest.FixtureRequest) -> FileCodec:
    """Everything here holds for both."""
    return FileCodec(request.param)


def build(codec: FileCodec) -> tuple[bytes, FileWriter]:
    return samples.build(known=samples.facts(codec=codec))


def unpacked(codec: FileCodec, data: bytes) -> bytes:
    """What other programs make of a file, or of a piece of one."""
    return subprocess.run([ENDINGS[codec], "-dc"], input=data, check=True, capture_output=True).stdout


def read_whole(data: bytes) -> tuple[list[Member], bytes]:
    """Every check that needs no manifest, but for the digest of the body."""
    read_at = samples.reading(data)
    found = list(members(read_at, len(data)))
    text = b"".join(inflate(member, read_at(member.offset, member.label.member_size)) for member in found)
    return found, text


def damage_in(data: bytes) -> str | None:
    """What reading the whole file complains about."""
    try:
        read_whole(data)
    except IntegrityError as error:
        return error.message
    return None


def test_others_read_it_as_one_stream(tmp_path: Path, codec: FileCodec) -> None:
    data, _ = build(codec)
    expected = b"".join(bytes(part) for segment in samples.segments() for part in segment.parts)
    path = tmp_path / f"file.sql{codec.suffix}"
    path.write_bytes(data)
    program = ENDINGS[codec]
    assert subprocess.run([program, "-dc", path], check=True, capture_output=True).stdout == expected
    assert b"rror" not in subprocess.run([program, "-t", path], check=True, capture_output=True).stderr
    if codec is FileCodec.GZIP:
        assert gzip.decompress(data) == expected
    else:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            assert reader.read() == expected


def test_reader_gives_back_members_and_text(codec: FileCodec) -> None:
    data, _ = build(codec)
    found, text = read_whole(data)
    assert text == unpacked(codec, data)
    kinds = [member.label.kind for member in found]
    assert kinds == [MemberKind.FACTS, *[MemberKind.SEGMENT] * 8, MemberKind.SEAL]
    long_row = [member.label for member in found if member.name == "public.b\udcff"]
    assert [(label.continues, label.continued, label.rows) for label in long_row] == [
        (True, False, 0),
        (False, True, 1),
    ]


@settings(max_examples=30, deadline=None)
@given(codec=st.sampled_from(FileCodec), texts=st.lists(st.binary(max_size=3000), min_size=1, max_size=6))
def test_any_bytes_come_back(codec: FileCodec, texts: list[bytes]) -> None:
    parts = [samples.segment(Section.DATA, f"t{len(text) % 3}", text, rows=len(text)) for text in texts]
    data, writer = samples.build(parts, known=samples.facts(codec=codec))
    found, text = read_whole(data)
    assert text == b"".join(texts)
    assert [member.label.raw_size for member in found[1:-1]] == [len(each) for each in texts]
    assert sum(extent.size for extent in writer.extents) == sum(member.label.member_size for member in found[1:-1])


def test_a_file_alone_gets_its_manifest_back(codec: FileCodec) -> None:
    data, writer = build(codec)
    checksum = hashlib.sha256(data).hexdigest()
    assert checksum == writer.checksum
    assert describe(samples.reading(data), len(data), "x.sql.gz", checksum) == samples.manifest(writer, codec)


def test_extents_point_at_their_objects(codec: FileCodec) -> None:
    data, writer = build(codec)
    extent = next(extent for extent in writer.extents if extent.name == "public.a")
    assert (extent.section, extent.rows, extent.segments) == (Section.DATA, 3, 2)
    cut = data[extent.offset : extent.offset + extent.size]
    assert unpacked(codec, cut) == b"COPY a FROM stdin;\n1\n2\n\\.\nCOPY a FROM stdin;\n3\n\\.\n"


def test_equal_segments_give_equal_bytes(codec: FileCodec) -> None:
    assert build(codec)[0] == build(codec)[0]


def test_facts_larger_than_an_extra_field_are_kept_whole(codec: FileCodec) -> None:
    statements = tuple(f"GRANT {number} TO {'é' * 50};" for number in range(3000))
    known = samples.facts(database_sql=statements, codec=codec)
    data, _ = samples.build(known=known)
    found, _ = read_whole(data)
    assert sum(member.label.kind is MemberKind.FACTS for member in found) > 5
    assert describe(samples.reading(data), len(data), "x", "").facts == known
    assert unpacked(codec, data).startswith(b"SET x")
    assert all(member.label.member_size < PAYLOAD_LIMIT + 200 for member in found)


def test_facts_of_another_codec_are_not_written() -> None:
    with pytest.raises(ValueError, match="zstd"):
        FileWriter().first(samples.facts(codec=FileCodec.ZSTD))


def test_members_of_two_codecs_make_no_file() -> None:
    (one, writer), (other, _) = build(FileCodec.GZIP), build(FileCodec.ZSTD)
    with pytest.raises(IntegrityError, match="not compressed as those before"):
        read_whole(one[: writer.extents[0].offset] + other[other.index(b"VB", 100) - 8 :])


@pytest.mark.parametrize(
    "first",
    [gzip.compress(b"x" * 99, mtime=0), zstandard.compress(b"x" * 99), b"-- a dump\n" * 9, b""],
    ids=["gzip", "zstd", "text", "nothing"],
)
def test_what_others_write_does_not_look_like_ours(first: bytes) -> None:
    assert not looks_labelled(first[:SMALLEST_HEADER])


def test_two_wrong_bytes_do_not_make_a_file_foreign(codec: FileCodec) -> None:
    first = bytearray(build(codec)[0][:SMALLEST_HEADER])
    first[1] ^= 255
    first[2] ^= 255
    assert looks_labelled(bytes(first))


def test_foreign_bytes_have_no_label() -> None:
    assert parse_label(gzip.compress(b"x" * 100)) is None
    assert parse_label(b"-- PostgreSQL database dump\n" * 3) is None
    assert parse_label(b"") is None


def test_every_cut_is_found(codec: FileCodec) -> None:
    data, _ = build(codec)
    for size in range(len(data)):
        with pytest.raises(IntegrityError):
            read_whole(data[:size])


@pytest.mark.parametrize(
    "extra", [b"\0", b"x" * 100, gzip.compress(b"DROP TABLE a;", mtime=0)], ids=["zero", "text", "gzip"]
)
def test_appended_bytes_are_found(extra: bytes, codec: FileCodec) -> None:
    with pytest.raises(IntegrityError, match="damaged at byte"):
        read_whole(build(codec)[0] + extra)


def test_a_member_moved_or_left_out_is_found(codec: FileCodec) -> None:
    data, _ = build(codec)
    found, _ = read_whole(data)
    pieces = [data[member.offset : member.offset + member.label.member_size] for member in found]
    for number in range(len(pieces)):
        with pytest.raises(IntegrityError):
            read_whole(b"".join(pieces[:number] + pieces[number + 1 :]))
    swapped = [*pieces]
    swapped[3], swapped[4] = swapped[4], swapped[3]
    with pytest.raises(IntegrityError):
        read_whole(b"".join(swapped))


def test_every_flipped_bit_is_found_and_labels_name_the_place(codec: FileCodec) -> None:
    data, writer = build(codec)
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << random.Random(at).randrange(8)
        found = damage_in(bytes(broken))
        if found is None:
            # Padding behind a deflate stream, an unused bit of a frame: only digests know, and verify compares them.
            assert hashlib.sha256(broken).hexdigest() != writer.checksum
        else:
            assert "damaged at byte" in found
