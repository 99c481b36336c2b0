"""Dumps that we did not write: plain SQL, gzip or zstd, of one or many members, as a stream of bounded pieces.

A text that came through Windows is given as its tool wrote it: without a byte order mark, and with plain line ends where
all of its beginning ends lines in CR LF. The tools escape both in rows, so what is changed is what Windows had changed.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator

import zstandard
from isal import igzip_lib

from vya_backupd.errors import IntegrityError
from vya_backupd.pipeline.files import FileSource

_READ = 1 << 20
_PIECE = 2 << 20
_BOM = b"\xef\xbb\xbf"
_BEGINNING = 64 * 1024
"""Bytes of text that show how its lines end."""
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
"""What follows the first byte, 50 to 5f, of a frame of zstd that holds no text."""
_ZSTD_PIECE = 2 << 10
"""Bytes given to zstd at once: any four of them may become 128 KiB, so this is what bounds a piece of text."""
# The library's stubs call its exception class an instance.
_GZIP_ERRORS: tuple[type[Exception], ...] = (igzip_lib.error, EOFError, ValueError)  # type: ignore[assignment]


def foreign_text(source: FileSource) -> Iterator[tuple[bytes, int]]:
    """The text, each piece with the place in the file that was read up to.

    Raises:
        IntegrityError: the compressed stream is damaged, or ends early.
    """
    pieces = _unpacked(source)
    first, offset, failure = _beginning(pieces)
    rest = itertools.chain([(first.removeprefix(_BOM), offset)] if first else (), pieces)
    yield from _plain_ends(rest) if _ends_in_crlf(first[:_BEGINNING]) else rest
    if failure is not None:
        raise failure


def _beginning(pieces: Iterator[tuple[bytes, int]]) -> tuple[bytes, int, IntegrityError | None]:
    """The first text, long enough to tell by, the place behind it, and what kept it from being longer."""
    first, at = b"", 0
    try:
        for text, offset in pieces:
            first, at = first + text, offset
            if len(first) >= _BEGINNING:
                break
    except IntegrityError as failure:
        return first, at, failure
    return first, at, None


def _ends_in_crlf(beginning: bytes) -> bool:
    lines = beginning.count(b"\n")
    return lines > 0 and lines == beginning.count(b"\r\n")


def _plain_ends(pieces: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    held, offset = b"", 0
    for text, offset in pieces:
        whole = held + text
        held = b"\r" if whole.endswith(b"\r") else b""
        yield whole[: len(whole) - len(held)].replace(b"\r\n", b"\n"), offset
    if held:
        yield held, offset


def _unpacked(source: FileSource) -> Iterator[tuple[bytes, int]]:
    first = source.read_at(0, 4)
    if first.startswith(_GZIP):
        yield from _members(source, _gzip_text, padding=b"\0")
        return
    if first == _ZSTD or (0x50 <= (first or b"\0")[0] < 0x60 and first[1:] == _SKIPPABLE):
        yield from _members(source, _zstd_text)
        return
    offset = 0
    while data := source.read_at(offset, _READ):
        offset += len(data)
        yield data, offset


def foreign_head(source: FileSource, size: int) -> bytes:
    """The first bytes of the text, ``size`` at most; less where it is shorter or damaged."""
    head = b""
    with contextlib.suppress(IntegrityError):
        for text, _ in foreign_text(source):
            head += text
            if len(head) >= size:
                break
    return head[:size]


class _Input:
    """The compressed bytes in order, with what a finished member left over put back."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._data = b""
        self._at = 0
        self.offset = 0

    def take(self, most: int = _READ) -> bytes:
        """The next bytes; empty at the end of the file."""
        if self._at == len(self._data):
            self._data, self._at = self._source.read_at(self.offset, _READ), 0
            self.offset += len(self._data)
        taken = self._data[self._at : self._at + most]
        self._at += len(taken)
        return taken

    @property
    def place(self) -> int:
        """Where in the file the next byte stands."""
        return self.offset - len(self._data) + self._at

    def put_back(self, size: int) -> None:
        """Return so many bytes from the end of what was taken last."""
        self._at -= size


def _members(
    source: FileSource, text_of: Callable[[_Input], Iterator[bytes]], padding: bytes = b""
) -> Iterator[tuple[bytes, int]]:
    """Members follow each other; zero bytes behind the last are padding to gzip, as gzip itself sees it."""
    stream, magic = _Input(source), source.read_at(0, 1)
    while data := stream.take():
        stream.put_back(len(data))
        if padding and not data.startswith(magic):
            raise IntegrityError(f"the gzip stream ends before byte {stream.place}, and something else follows it")
        for text in text_of(stream):
            yield text, stream.offset
        while padding and (data := stream.take()):
            if rest := data.lstrip(padding):
                stream.put_back(len(rest))
                break


def _gzip_text(stream: _Input) -> Iterator[bytes]:
    machine = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    while not machine.eof:
        data = stream.take() if machine.needs_input else b""
        if not data and machine.needs_input:
            raise _cut("gzip")
        try:
            text = machine.decompress(data, max_length=_PIECE)
        except _GZIP_ERRORS as error:
            raise _damaged("gzip", stream, error) from error
        if text:
            yield text
    stream.put_back(len(machine.unused_data))


def _zstd_text(stream: _Input) -> Iterator[bytes]:
    machine = zstandard.ZstdDecompressor().decompressobj()
    while not machine.eof:
        data = stream.take(_ZSTD_PIECE)
        if not data:
            raise _cut("zstd")
        try:
            text = machine.decompress(data)
        except zstandard.ZstdError as error:
            raise _damaged("zstd", stream, error) from error
        if text:
            yield text
    stream.put_back(len(machine.unused_data))


def _cut(what: str) -> IntegrityError:
    return IntegrityError(f"the {what} stream ends before its end", code="incomplete_file")


def _damaged(what: str, stream: _Input, error: Exception) -> IntegrityError:
    return IntegrityError(f"the {what} stream is damaged before byte {stream.offset}: {error}")
