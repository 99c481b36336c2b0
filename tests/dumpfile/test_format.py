"""The file format: ordinary gzip for others, an index of itself for us, and no flipped bit unseen."""

from __future__ import annotations

import gzip
import hashlib
import random
import subprocess
from pathlib import Path

import pytest

from tests.dumpfile import samples
from vya_backupd.dumpfile.reader import Member, describe, inflate, members
from vya_backupd.dumpfile.segment import PAYLOAD_LIMIT, MemberKind, parse_label
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Section


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


def test_others_read_it_as_one_gzip(tmp_path: Path) -> None:
    data, _ = samples.build()
    expected = b"".join(bytes(part) for segment in samples.segments() for part in segment.parts)
    path = tmp_path / "file.sql.gz"
    path.write_bytes(data)
    assert gzip.decompress(data) == expected
    assert subprocess.run(["gzip", "-dc", path], check=True, capture_output=True).stdout == expected
    assert subprocess.run(["gzip", "-t", path], check=True, capture_output=True).stderr == b""


def test_reader_gives_back_members_and_text() -> None:
    data, _ = samples.build()
    found, text = read_whole(data)
    assert text == gzip.decompress(data)
    kinds = [member.label.kind for member in found]
    assert kinds == [MemberKind.FACTS, *[MemberKind.SEGMENT] * 8, MemberKind.SEAL]
    long_row = [member.label for member in found if member.name == "public.b\udcff"]
    assert [(label.continues, label.continued, label.rows) for label in long_row] == [
        (True, False, 0),
        (False, True, 1),
    ]


def test_a_file_alone_gets_its_manifest_back() -> None:
    data, writer = samples.build()
    checksum = hashlib.sha256(data).hexdigest()
    assert checksum == writer.checksum
    assert describe(samples.reading(data), len(data), "x.sql.gz", checksum) == samples.manifest(writer)


def test_extents_point_at_their_objects() -> None:
    data, writer = samples.build()
    extent = next(extent for extent in writer.extents if extent.name == "public.a")
    assert (extent.section, extent.rows, extent.segments) == (Section.DATA, 3, 2)
    cut = data[extent.offset : extent.offset + extent.size]
    assert gzip.decompress(cut) == b"COPY a FROM stdin;\n1\n2\n\\.\nCOPY a FROM stdin;\n3\n\\.\n"


def test_equal_segments_give_equal_bytes() -> None:
    assert samples.build()[0] == samples.build()[0]


def test_facts_larger_than_an_extra_field_are_kept_whole() -> None:
    known = samples.facts(database_sql=tuple(f"GRANT {number} TO {'é' * 50};" for number in range(3000)))
    data, _ = samples.build(known=known)
    found, _ = read_whole(data)
    assert sum(member.label.kind is MemberKind.FACTS for member in found) > 5
    assert describe(samples.reading(data), len(data), "x", "").facts == known
    assert gzip.decompress(data).startswith(b"SET x")
    assert all(member.label.member_size < PAYLOAD_LIMIT + 200 for member in found)


def test_foreign_bytes_have_no_label() -> None:
    assert parse_label(gzip.compress(b"x" * 100)) is None
    assert parse_label(b"-- PostgreSQL database dump\n" * 3) is None
    assert parse_label(b"") is None


def test_every_cut_is_found() -> None:
    data, _ = samples.build()
    for size in range(len(data)):
        with pytest.raises(IntegrityError):
            read_whole(data[:size])


@pytest.mark.parametrize("extra", [b"\0", b"x" * 100, gzip.compress(b"DROP TABLE a;")], ids=["zero", "text", "gzip"])
def test_appended_bytes_are_found(extra: bytes) -> None:
    with pytest.raises(IntegrityError, match="damaged at byte"):
        read_whole(samples.build()[0] + extra)


def test_a_member_moved_or_left_out_is_found() -> None:
    data, _ = samples.build()
    found, _ = read_whole(data)
    pieces = [data[member.offset : member.offset + member.label.member_size] for member in found]
    for number in range(len(pieces)):
        with pytest.raises(IntegrityError):
            read_whole(b"".join(pieces[:number] + pieces[number + 1 :]))
    swapped = [*pieces]
    swapped[3], swapped[4] = swapped[4], swapped[3]
    with pytest.raises(IntegrityError):
        read_whole(b"".join(swapped))


def test_every_flipped_bit_is_found_and_labels_name_the_place() -> None:
    data, writer = samples.build()
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << random.Random(at).randrange(8)
        found = damage_in(bytes(broken))
        if found is None:
            # Padding behind a deflate stream: only digests can know it, and verify compares them.
            assert hashlib.sha256(broken).hexdigest() != writer.checksum
        else:
            assert "damaged at byte" in found
