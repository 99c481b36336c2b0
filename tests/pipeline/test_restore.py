"""Restoring through the pump, into real pipes of real programs."""

from __future__ import annotations

import asyncio
import gzip
import os
import struct
import subprocess
from pathlib import Path

import pytest
import zstandard

from tests.dumpfile import samples
from tests.pipeline.conftest import dump_text, sample_text
from vya_backupd.errors import IntegrityError, NotFoundError
from vya_backupd.model.backup import Section
from vya_backupd.pipeline.pipes import ClientGoneError
from vya_backupd.pipeline.pool import CodecPool
from vya_backupd.pipeline.restore import TAIL, RestoreResult, RestoreTerms, restore


async def through_cat(path: Path, pool: CodecPool, terms: RestoreTerms | None = None) -> tuple[bytes, RestoreResult]:
    """Restore into ``cat``; what it received, and the result."""
    out = path.with_suffix(".out")
    with out.open("wb") as sink, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=sink) as client:
        assert client.stdin
        try:
            result = await restore(path, client.stdin.fileno(), pool, terms)
        finally:
            client.stdin.close()
    return out.read_bytes(), result


async def test_labelled_file(tmp_path: Path, pool: CodecPool) -> None:
    text, seen = sample_text(), list[tuple[int, int]]()
    made = await dump_text(text, tmp_path / "a", pool)
    terms = RestoreTerms(b"BEFORE;\n", b"AFTER;\n", watch=lambda raw, size: seen.append((raw, size)))
    received, result = await through_cat(tmp_path / "a", pool, terms)
    assert received == b"BEFORE;\n" + text + b"AFTER;\n"
    assert (result.raw_size, result.tail, result.facts) == (len(text), text[-TAIL:], samples.facts())
    assert seen[-1] == (len(text), made.size)


async def test_chosen_sections(tmp_path: Path, pool: CodecPool) -> None:
    path = tmp_path / "a"
    path.write_bytes(samples.build()[0])
    received, _ = await through_cat(path, pool, RestoreTerms(sections=frozenset({Section.HEADER, Section.POST})))
    assert received == b"SET x = 1;\nALTER TABLE a ADD PRIMARY KEY (i);\n"


@pytest.mark.parametrize("form", ["plain", "gzip", "members", "padded", "zstd", "frames", "unsized"])
async def test_foreign_files(tmp_path: Path, pool: CodecPool, form: str) -> None:
    text = sample_text()
    half = len(text) // 2
    members = gzip.compress(text[:half]) + gzip.compress(b"") + gzip.compress(text[half:])
    skipped = struct.pack("<II", 0x184D2A5E, 3) + b"abc"
    frames = skipped + zstandard.compress(text[:half]) + zstandard.compress(b"") + zstandard.compress(text[half:])
    forms = {
        "plain": text,
        "gzip": gzip.compress(text),
        "members": members,
        "padded": members + bytes(5000),
        "zstd": zstandard.compress(text),
        "frames": frames + skipped,
        "unsized": subprocess.run(["zstd", "-c"], input=text, capture_output=True, check=True).stdout,
    }
    (tmp_path / "a").write_bytes(forms[form])
    received, result = await through_cat(tmp_path / "a", pool)
    assert received == text
    assert (result.facts, result.tail) == (None, text[-TAIL:])


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage"])
@pytest.mark.parametrize("packed", ["gzip", "zstd"])
async def test_damaged_foreign_files(tmp_path: Path, pool: CodecPool, damage: str, packed: str) -> None:
    data = bytearray(subprocess.run([packed, "-c"], input=sample_text(), capture_output=True, check=True).stdout)
    if damage == "cut":
        del data[-5:]
    elif damage == "flip":
        data[len(data) // 2] ^= 4
    else:
        data += b"garbage"
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(IntegrityError):
        await through_cat(tmp_path / "a", pool)


async def test_damaged_labelled_file(tmp_path: Path, pool: CodecPool) -> None:
    await dump_text(sample_text(), tmp_path / "a", pool)
    data = bytearray((tmp_path / "a").read_bytes())
    data[len(data) // 2] ^= 16
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(IntegrityError, match="damaged at byte"):
        await through_cat(tmp_path / "a", pool)


async def test_a_client_that_goes_away(tmp_path: Path, pool: CodecPool) -> None:
    await dump_text(sample_text(), tmp_path / "a", pool)
    with subprocess.Popen(["head", "-c", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as client:
        assert client.stdin
        with pytest.raises(ClientGoneError):
            await restore(tmp_path / "a", client.stdin.fileno(), pool)


async def test_cancelling_while_the_client_reads_nothing(tmp_path: Path, pool: CodecPool) -> None:
    await dump_text(sample_text(), tmp_path / "a", pool)
    read, write = os.pipe()
    task = asyncio.create_task(restore(tmp_path / "a", write, pool))
    await asyncio.to_thread(os.read, read, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    os.close(read)
    os.close(write)


async def test_missing_file(tmp_path: Path, pool: CodecPool) -> None:
    with pytest.raises(NotFoundError) as caught:
        await through_cat(tmp_path / "none", pool)
    assert caught.value.code == "file_not_found"
