"""Verifying: a good file passes, and every flipped bit is found with its place."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from tests.dumpfile import samples
from tests.pipeline.conftest import TERMS, dump_text, sample_text
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Proof
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.pipeline.dump import DumpTerms
from vya_backupd.pipeline.pool import CodecPool
from vya_backupd.pipeline.verify import VerifyTerms, verify


async def failure(path: Path, pool: CodecPool, terms: VerifyTerms | None = None) -> IntegrityError:
    with pytest.raises(IntegrityError) as caught:
        await verify(path, pool, terms)
    return caught.value


ZSTD_TERMS = replace(TERMS, header=lambda: samples.facts(codec=FileCodec.ZSTD), codec=FileCodec.ZSTD)


@pytest.mark.parametrize("terms", [TERMS, ZSTD_TERMS], ids=["gzip", "zstd"])
@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
async def test_good_file(tmp_path: Path, pool: CodecPool, algorithm: str, terms: DumpTerms) -> None:
    text, seen = sample_text(), list[tuple[int, int]]()
    made = await dump_text(text, tmp_path / "a", pool, replace(terms, algorithm=algorithm))
    manifest = made.manifest("a")
    wanted = VerifyTerms(
        manifest, lambda tail: None if tail.endswith(b"END\n") else "no end", lambda *at: seen.append(at)
    )
    result = await verify(tmp_path / "a", pool, wanted)
    assert (result.raw_size, result.checksum, result.manifest) == (len(text), made.checksum, manifest)
    assert seen[-1] == (len(text), made.size)
    assert (await verify(tmp_path / "a", pool)).manifest == manifest


async def test_proof_and_name_are_no_contradiction(tmp_path: Path, pool: CodecPool) -> None:
    made = await dump_text(sample_text(10), tmp_path / "a", pool)
    manifest = replace(made.manifest("b"), proof=Proof.VERIFIED, verified_at=samples.MOMENT)
    await verify(tmp_path / "a", pool, VerifyTerms(manifest))


@pytest.mark.parametrize("codec", FileCodec)
async def test_every_byte_of_a_small_file(tmp_path: Path, pool: CodecPool, codec: FileCodec) -> None:
    data, _ = samples.build(known=samples.facts(codec=codec))
    path = tmp_path / "a"
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << random.Random(at).randrange(8)
        path.write_bytes(broken)
        await failure(path, pool)


@pytest.mark.parametrize("terms", [TERMS, ZSTD_TERMS], ids=["gzip", "zstd"])
async def test_random_bits_of_a_large_file(tmp_path: Path, pool: CodecPool, terms: DumpTerms) -> None:
    manifest = (await dump_text(sample_text(), tmp_path / "a", pool, terms)).manifest("a")
    data = (tmp_path / "a").read_bytes()
    chance = random.Random(1)
    for _ in range(100):
        broken, at = bytearray(data), chance.randrange(len(data))
        broken[at] ^= 1 << chance.randrange(8)
        (tmp_path / "b").write_bytes(broken)
        error = await failure(tmp_path / "b", pool, VerifyTerms(manifest))
        place = re.search(r"byte (\d+), member \d+", error.message)
        if place is not None:
            assert int(place[1]) <= at, error.message
        else:
            assert error.code == "checksum_mismatch"


async def test_first_damage_is_named(tmp_path: Path, pool: CodecPool) -> None:
    made = await dump_text(sample_text(), tmp_path / "a", pool)
    broken = bytearray((tmp_path / "a").read_bytes())
    extent = made.extents[1]
    broken[extent.offset + extent.size - 20] ^= 1
    broken[made.extents[3].offset] ^= 1
    (tmp_path / "a").write_bytes(broken)
    error = await failure(tmp_path / "a", pool, VerifyTerms(made.manifest("a")))
    assert f"section data, object {extent.name!r}" in error.message
    place = re.search(r"byte (\d+)", error.message)
    assert place
    assert extent.offset <= int(place[1]) < extent.offset + extent.size


async def test_another_backups_manifest(tmp_path: Path, pool: CodecPool) -> None:
    await dump_text(sample_text(10), tmp_path / "a", pool)
    other = (await dump_text(sample_text(11), tmp_path / "b", pool)).manifest("b")
    assert (await failure(tmp_path / "a", pool, VerifyTerms(other))).code == "checksum_mismatch"


async def test_a_manifest_that_contradicts_its_file(tmp_path: Path, pool: CodecPool) -> None:
    manifest = (await dump_text(sample_text(10), tmp_path / "a", pool)).manifest("a")
    error = await failure(tmp_path / "a", pool, VerifyTerms(replace(manifest, members=99)))
    assert error.code == "damaged_manifest"
    assert "members" in error.message


async def test_a_cut_file(tmp_path: Path, pool: CodecPool) -> None:
    made = await dump_text(sample_text(), tmp_path / "a", pool)
    data = (tmp_path / "a").read_bytes()
    for size in (made.extents[2].offset, made.extents[2].offset + 100, len(data) - 1):
        (tmp_path / "b").write_bytes(data[:size])
        assert (await failure(tmp_path / "b", pool)).code == "incomplete_file"


async def test_a_missing_end_marker(tmp_path: Path, pool: CodecPool) -> None:
    await dump_text(sample_text(10), tmp_path / "a", pool)
    error = await failure(tmp_path / "a", pool, VerifyTerms(check_tail=lambda _: "the end marker is missing"))
    assert (error.code, "the end marker is missing" in error.message) == ("incomplete_file", True)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
async def test_foreign_file(tmp_path: Path, pool: CodecPool, compress: Callable[[bytes], bytes]) -> None:
    text = sample_text()
    (tmp_path / "a").write_bytes(compress(text))
    result = await verify(tmp_path / "a", pool)
    assert (result.raw_size, result.manifest) == (len(text), None)
    (tmp_path / "a").write_bytes(compress(text)[:-9])
    assert (await failure(tmp_path / "a", pool)).code == "incomplete_file"
