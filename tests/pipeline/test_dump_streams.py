"""A dump of several streams: one file, in an order that restores, or the first failure and no thread left."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipeline.conftest import TERMS, Fed
from tests.waiting import PATIENCE
from vya_backupd.dumpfile.codec import Deflated
from vya_backupd.dumpfile.reader import describe, members
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.errors import DumpError, StorageError, VyaError
from vya_backupd.model.backup import SchemaInfo, Section
from vya_backupd.pipeline.dump import DumpResult, Stream, dump
from vya_backupd.pipeline.shelf import Shelf

DATA = frozenset({Section.DATA})


class SectionScanner:
    """Every line is a segment: ``SECTION name rest``; one whose rest ends in ``+`` goes on in the next. ``END`` ends."""

    def __init__(self) -> None:
        self.header_done = False
        self.tables: set[str] = set()
        self.summary = SchemaInfo()
        self._rest = b""
        self._continued = False

    def feed(self, chunk: bytes) -> list[RawSegment]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [self._segment(line) for line in lines if line != b"END"] if b"END" not in lines else self._ended(lines)

    def _ended(self, lines: list[bytes]) -> list[RawSegment]:
        self._rest = b"END"
        return [self._segment(line) for line in lines[:-1]]

    def finish(self) -> list[RawSegment]:
        if self._rest != b"END":
            raise DumpError("no end marker")
        self.summary = SchemaInfo(len(self.tables), schema_hash="of this stream")
        return []

    def _segment(self, line: bytes) -> RawSegment:
        section, name, _ = line.decode().split(" ", 2)
        self.header_done = True
        self.tables.add(name)
        continued, self._continued = self._continued, line.endswith(b"+")
        text = line + b"\n"
        return RawSegment(Section[section], name, [text], len(text), 1, self._continued, continued)


MAIN = ["HEADER h x", "SCHEMA s one", "DATA small row", "POST p index", "POST p grant", "FOOTER f end", "END"]


def lines(name: str, count: int) -> list[str]:
    return ["HEADER h mine", *(f"DATA {name} row {number}" for number in range(count)), "FOOTER f mine", "END"]


def text(rows: list[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


@contextlib.contextmanager
def fed(*streams: list[str]) -> Iterator[list[Stream]]:
    """The streams of these lines; the first is whole, of the others only the data are wanted."""
    sources = [Fed([text(rows)]) for rows in streams]
    yield [Stream(source.fd, SectionScanner(), DATA if number else None) for number, source in enumerate(sources)]
    for source in sources:
        source.close()


async def dumped(path: Path, pool: ThreadPoolExecutor, streams: list[Stream], **terms: object) -> DumpResult:
    with path.open("wb") as sink:
        return await dump(streams, sink.fileno(), pool, replace(TERMS, **terms))  # type: ignore[arg-type]


def written(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("dump")}


async def test_data_of_all_streams_come_between_schema_and_post(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    path = tmp_path / "a.sql.gz"
    with fed(MAIN, lines("a", 300), lines("b", 200)) as streams:
        result = await dumped(path, pool, streams)
    found = written(path)
    assert found[:2] == MAIN[:2]
    assert found[-3:] == MAIN[3:6]
    data = found[2:-3]
    assert sorted(data) == sorted([MAIN[2], *lines("a", 300)[1:-2], *lines("b", 200)[1:-2]])
    for name in "ab":
        mine = [row for row in data if row.startswith(f"DATA {name} ")]
        assert mine == lines(name, len(mine))[1:-2]
    assert result.tables == {"h", "s", "small", "p", "f", "a", "b"}
    assert result.schema_info.schema_hash == "of this stream"
    assert result.schema_info.tables_count == 5
    size = path.stat().st_size
    with path.open("rb") as file:
        made = describe(lambda at, size: os.pread(file.fileno(), size, at), size, "a.sql.gz", result.checksum)
    assert made == result.manifest("a.sql.gz")


async def test_a_unit_of_many_segments_is_not_interrupted(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    long = [f"DATA {{}} part {number} +" for number in range(50)] + ["DATA {} last"]
    rows = ["HEADER h x", *(long * 5), "FOOTER f x", "END"]
    path = tmp_path / "a"
    with fed(MAIN, *([row.format(name) for row in rows] for name in "abc")) as streams:
        await dumped(path, pool, streams)
    size = path.stat().st_size
    with path.open("rb") as file:
        open_name = None
        for member in members(lambda at, size: os.pread(file.fileno(), size, at), size):
            assert member.label.continued == (open_name is not None)
            assert open_name in (None, member.name)
            open_name = member.name if member.label.continues else None


async def test_a_long_end_waits_on_the_disk(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vya_backupd.pipeline.shelf._IN_MEMORY", 1000)
    main = [*MAIN[:2], *(f"POST p entry {number}" for number in range(500)), "FOOTER f end", "END"]
    with fed(main, lines("a", 10)) as streams:
        await dumped(tmp_path / "a", pool, streams)
    assert written(tmp_path / "a") == [*main[:2], *lines("a", 10)[1:-2], *main[2:-1]]
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


async def test_waiting_streams_are_read_in_their_order(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with fed(MAIN, *(lines(f"t{number}", 3) for number in range(20))) as streams:
        await dumped(tmp_path / "a", pool, streams, at_once=1)
    names = [row.split()[1] for row in written(tmp_path / "a") if row.startswith("DATA t")]
    assert names == [f"t{number}" for number in range(20) for _ in range(3)]


@pytest.mark.parametrize("broken", [0, 1, 2])
async def test_every_stream_must_be_whole(tmp_path: Path, pool: ThreadPoolExecutor, broken: int) -> None:
    rows = [MAIN, lines("a", 500), lines("b", 500)]
    rows[broken] = rows[broken][:-1]
    with fed(*rows) as streams, pytest.raises(DumpError, match="no end marker"):
        await dumped(tmp_path / "a", pool, streams)
    assert not threads()


async def test_a_failure_wakes_streams_that_wait(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """The main stream fails before its schema is over: nobody may wait for it for ever."""

    def fail() -> None:
        raise VyaError("first failure")

    silent, write = os.pipe()
    with fed(MAIN[:2], lines("a", 500)) as (main, other):
        streams = [replace(main, after_feed=fail), other, Stream(silent, SectionScanner())]
        with pytest.raises(VyaError, match="first failure"):
            await dumped(tmp_path / "a", pool, streams)
    assert not threads()
    os.close(silent)
    os.close(write)


async def test_cancelling_ends_all_threads(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    silent, write = os.pipe()
    reached, loop = asyncio.Event(), asyncio.get_running_loop()
    with fed(MAIN, lines("a", 10)) as (main, other):

        def tell() -> None:
            loop.call_soon_threadsafe(reached.set)

        told = replace(other, after_feed=tell)
        streams = [main, told, Stream(silent, SectionScanner(), DATA)]
        task = asyncio.create_task(dumped(tmp_path / "a", pool, streams))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not threads()
    os.close(silent)
    os.close(write)


async def test_after_feed_deals_the_next_piece(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """A client that is told what to write next, by what it has written."""
    read, write = os.pipe()
    rows = lines("a", 5)
    os.write(write, text(rows[:1]))
    rest = iter(rows[1:])

    def deal() -> None:
        row = next(rest, None)
        if row is not None:
            os.write(write, text([row]))
        if row == "END":
            os.close(write)

    with fed(MAIN) as (main,):
        result = await dumped(tmp_path / "a", pool, [main, Stream(read, SectionScanner(), DATA, deal)])
    assert result.rows == len(MAIN) - 1 + 5
    os.close(read)


def _fill(beside: int) -> None:
    segment = RawSegment(Section.POST, "t", [], 0, 0)
    with Shelf(beside) as shelf:
        for _ in range(100):
            shelf.put(segment, Deflated(b"x" * 999, 0))


def test_a_disk_that_is_full_for_what_waits_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the file aside meets the full disk again; that must not come in place of the first failure."""
    monkeypatch.setattr("vya_backupd.pipeline.shelf._IN_MEMORY", 1000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (tmp_path / "backup").open("wb") as sink:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            with pytest.raises(StorageError) as caught:
                _fill(sink.fileno())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "disk_full"
