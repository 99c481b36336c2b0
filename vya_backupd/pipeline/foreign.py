"""Dumps that we did not write: plain SQL, or gzip of one or many members, as a stream of bounded pieces."""

from __future__ import annotations

from collections.abc import Iterator

from isal import igzip_lib

from vya_backupd.errors import IntegrityError
from vya_backupd.pipeline.files import FileSource

_READ = 1 << 20
_PIECE = 2 << 20
_MAGIC = b"\x1f\x8b"
# The library's stubs call its exception class an instance.
_LIBRARY_ERRORS: tuple[type[Exception], ...] = (igzip_lib.error, EOFError, ValueError)  # type: ignore[assignment]


def foreign_text(source: FileSource) -> Iterator[tuple[bytes, int]]:
    """The text, each piece with the place in the file that was read up to.

    Raises:
        IntegrityError: the gzip stream is damaged, or ends early.
    """
    if source.read_at(0, 2) == _MAGIC:
        yield from _gzip_text(source)
        return
    offset = 0
    while data := source.read_at(offset, _READ):
        offset += len(data)
        yield data, offset


class _Input:
    """The compressed bytes in order, with what a finished member left over put back."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._left = b""
        self.offset = 0

    def take(self) -> bytes:
        """The next bytes; empty at the end of the file."""
        data, self._left = self._left, b""
        if not data:
            data = self._source.read_at(self.offset, _READ)
            self.offset += len(data)
        return data

    def put_back(self, data: bytes) -> None:
        self._left = data


def _gzip_text(source: FileSource) -> Iterator[tuple[bytes, int]]:
    """Members follow each other; zero bytes behind the last are padding, as gzip itself sees it."""
    stream = _Input(source)
    while data := stream.take():
        stream.put_back(data)
        yield from _member_text(stream)
        rest = stream.take().lstrip(b"\0")
        while not rest and (more := stream.take()):
            rest = more.lstrip(b"\0")
        stream.put_back(rest)


def _member_text(stream: _Input) -> Iterator[tuple[bytes, int]]:
    machine = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    while not machine.eof:
        data = stream.take() if machine.needs_input else b""
        if not data and machine.needs_input:
            raise IntegrityError("the gzip stream ends before its end", code="incomplete_file")
        try:
            text = machine.decompress(data, max_length=_PIECE)
        except _LIBRARY_ERRORS as error:
            message = f"the gzip stream is damaged before byte {stream.offset}: {error}"
            raise IntegrityError(message) from error
        if text:
            yield text, stream.offset
    stream.put_back(machine.unused_data)
