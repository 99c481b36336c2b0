"""Dumping through the pump: the file is whole, or the first failure comes out and nothing hangs."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.dumpfile import samples
from tests.pipeline.conftest import TERMS, Fed, dump_text, sample_text
from tests.pipeline.lines import LineScanner
from tests.waiting import PATIENCE
from vya_backupd.dumpfile.manifest import decode_manifest, encode_manifest
from vya_backupd.dumpfile.reader import describe
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.errors import DumpError, IntegrityError, StorageError, ToolError, VyaError
from vya_backupd.pipeline.dump import Stream, dump
from vya_backupd.pipeline.pool import CodecPool
from vya_backupd.pipeline.verify import VerifyTerms, verify


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("dump")}


async def test_file_holds_the_dump_and_describes_itself(tmp_path: Path, pool: CodecPool) -> None:
    text, path = sample_text(), tmp_path / "a.sql.gz"
    seen: list[tuple[int, int]] = []
    terms = replace(TERMS, watch=lambda raw, size: seen.append((raw, size)), warnings=lambda: ["careful"])
    result = await dump_text(text, path, pool, terms)
    data = path.read_bytes()
    assert gzip.decompress(data) == text
    assert (result.size, result.raw_size) == (len(data), len(text))
    assert result.checksum == hashlib.sha256(data).hexdigest()
    assert result.rows == text.count(b"\n")
    assert seen[-1] == (len(text), len(data))
    found = describe(lambda at, size: data[at : at + size], len(data), "a.sql.gz", result.checksum)
    assert found == result.manifest("a.sql.gz")
    assert found.warnings == ("careful",)


async def test_a_clock_that_is_set_back_meanwhile_leaves_a_whole_backup(tmp_path: Path, pool: CodecPool) -> None:
    path, earlier = tmp_path / "x.sql.gz", samples.MOMENT - timedelta(hours=2)
    result = await dump_text(sample_text(100), path, pool, replace(TERMS, now=lambda: earlier))
    assert (result.finished_at, result.duration_seconds) == (earlier, 0.0)
    manifest = result.manifest(path.name)
    assert decode_manifest(encode_manifest(manifest)) == manifest
    assert (await verify(path, pool, VerifyTerms(manifest))).manifest == manifest


async def test_what_no_reader_would_take_is_not_written(tmp_path: Path, pool: CodecPool) -> None:
    facts = replace(samples.facts(), tool="pg_dump\0")
    with pytest.raises(IntegrityError, match="facts"):
        await dump_text(sample_text(100), tmp_path / "x.sql.gz", pool, replace(TERMS, header=lambda: facts))


async def test_md5(tmp_path: Path, pool: CodecPool) -> None:
    result = await dump_text(sample_text(100), tmp_path / "a", pool, replace(TERMS, algorithm="md5"))
    assert result.checksum == hashlib.md5((tmp_path / "a").read_bytes(), usedforsecurity=False).hexdigest()


async def test_small_pieces_give_the_same_file(tmp_path: Path, pool: CodecPool) -> None:
    text = sample_text(5000)
    await dump_text(text, tmp_path / "a", pool)
    fed = Fed([text[at : at + 1000] for at in range(0, len(text), 1000)])
    with (tmp_path / "b").open("wb") as sink:
        await dump([Stream(fed.fd, LineScanner())], sink.fileno(), pool, TERMS)
    fed.close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


async def test_a_dump_without_end_fails(tmp_path: Path, pool: CodecPool) -> None:
    with pytest.raises(DumpError, match="no end marker"):
        await dump_text(sample_text()[:-4], tmp_path / "a", pool)
    assert not threads()


async def test_full_disk(pool: CodecPool) -> None:
    with pytest.raises(StorageError) as caught:
        await dump_text(sample_text(), Path("/dev/full"), pool)
    assert caught.value.code == "disk_full"
    assert not threads()


class Failing(LineScanner):
    """Fails in the middle."""

    def feed(self, chunk: bytes) -> list[RawSegment]:
        if self.tables:
            raise VyaError("first failure")
        return super().feed(chunk)


async def test_first_failure_wins(tmp_path: Path, pool: CodecPool) -> None:
    fed = Fed([sample_text()] * 20)
    with (tmp_path / "a").open("wb") as sink, pytest.raises(VyaError, match="first failure"):
        await dump([Stream(fed.fd, Failing())], sink.fileno(), pool, TERMS)
    fed.close()
    assert isinstance(fed.error, BrokenPipeError)


class Broken(LineScanner):
    """Hands on what cannot be compressed."""

    def feed(self, chunk: bytes) -> list[RawSegment]:
        found = super().feed(chunk)
        for segment in found[:1]:
            segment.parts = ["text"]  # type: ignore[list-item]
        return found


async def test_a_failing_compressor_stops_everything(tmp_path: Path, pool: CodecPool) -> None:
    fed = Fed([sample_text()] * 5)
    with (tmp_path / "a").open("wb") as sink, pytest.raises(TypeError):
        await dump([Stream(fed.fd, Broken())], sink.fileno(), pool, TERMS)
    fed.close()


async def test_a_silent_tool_is_stalled(tmp_path: Path, pool: CodecPool) -> None:
    read, write = os.pipe()
    os.write(write, b"T a\n")
    with (tmp_path / "a").open("wb") as sink, pytest.raises(ToolError) as caught:
        await dump([Stream(read, LineScanner())], sink.fileno(), pool, replace(TERMS, stall_timeout=0.2))
    assert caught.value.code == "stalled"
    assert caught.value.retryable
    os.close(read)
    os.close(write)


async def test_cancelling_wakes_a_blocked_read_and_waits_for_the_threads(tmp_path: Path, pool: CodecPool) -> None:
    read, write = os.pipe()
    os.write(write, b"T a\n")
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Seen(LineScanner):
        def feed(self, chunk: bytes) -> list[RawSegment]:
            loop.call_soon_threadsafe(reached.set)
            return super().feed(chunk)

    with (tmp_path / "a").open("wb") as sink:
        task = asyncio.create_task(dump([Stream(read, Seen())], sink.fileno(), pool, TERMS))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not threads()
    os.close(read)
    os.close(write)


async def test_facts_are_stamped_when_the_header_ends(tmp_path: Path, pool: CodecPool) -> None:
    read, write = os.pipe()
    stamped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def header() -> object:
        loop.call_soon_threadsafe(stamped.set)
        return samples.facts()

    with (tmp_path / "a").open("wb") as sink:
        terms = replace(TERMS, header=header)  # type: ignore[arg-type]
        task = asyncio.create_task(dump([Stream(read, LineScanner(64))], sink.fileno(), pool, terms))
        os.write(write, b"a header line\n" * 8)
        await asyncio.wait_for(stamped.wait(), PATIENCE)
        assert not task.done()
        os.write(write, b"END\n")
        os.close(write)
        await task
    os.close(read)
