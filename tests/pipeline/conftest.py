"""Pools, pipes and files for the pump's tests."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dumpfile import samples
from tests.pipeline.lines import LineScanner
from vya_backupd.pipeline.dump import DumpResult, DumpTerms, Stream, dump
from vya_backupd.pipeline.pool import CodecPool, new_pool


@pytest.fixture(scope="session")
def pool() -> Iterator[CodecPool]:
    with new_pool(2) as made:
        yield made


class Fed:
    """The reading end of a pipe that a thread fills and then closes."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.fd, self._write = os.pipe()
        self.error: OSError | None = None
        self._thread = threading.Thread(target=self._feed, args=(pieces,))
        self._thread.start()

    def _feed(self, pieces: list[bytes]) -> None:
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._write, view) :]
        except OSError as error:
            self.error = error
        finally:
            os.close(self._write)

    def close(self) -> None:
        os.close(self.fd)
        self._thread.join()


TERMS = DumpTerms(header=samples.facts, now=lambda: samples.MOMENT)


async def dump_text(text: bytes, path: Path, pool: CodecPool, terms: DumpTerms = TERMS) -> DumpResult:
    """Dump this text into a file."""
    fed = Fed([text])
    sink = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return await dump([Stream(fed.fd, LineScanner())], sink, pool, terms)
    finally:
        fed.close()
        os.close(sink)


def sample_text(lines: int = 60_000) -> bytes:
    """Some megabytes in which tables follow each other."""
    rows = (f"{number}\trow {number * 7919 % 10007}\tsome text\n" for number in range(lines))
    return (
        b"".join((f"T t{i}\n".encode() if i % 9000 == 0 else b"") + row.encode() for i, row in enumerate(rows))
        + b"END\n"
    )
