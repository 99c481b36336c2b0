"""Restoring: inflate ahead in the pool, feed one client in order.

Works on our own files and on what scripts leave behind: plain SQL, or any gzip. It does not decide whether the client
succeeded: its exit status does, and when it has gone away early, its stderr says why.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vya_backupd.dumpfile.reader import Member, Walk, inflate, members
from vya_backupd.dumpfile.segment import SMALLEST_HEADER, MemberKind, looks_labelled
from vya_backupd.model.backup import BackupFacts, Section
from vya_backupd.pipeline.files import FileSource, open_source
from vya_backupd.pipeline.foreign import foreign_text
from vya_backupd.pipeline.pipes import PipeWriter
from vya_backupd.pipeline.stop import Stop, run_in_thread
from vya_backupd.pipeline.throttle import Throttle

TAIL = 4096
"""Bytes of dump text that are kept from the end."""
Rewrite = Callable[[Section, int, bytes], bytes]
_AHEAD = 4
_WATCH_INTERVAL = 0.1


class Fitting(Protocol):
    """Changes the text of a dump on its way, piece by piece, in its order."""

    def feed(self, text: bytes, section: Section | None = None) -> bytes:
        """Take a piece; give back what can be passed on. ``section``: None where the file does not say."""

    def finish(self) -> bytes:
        """Give back the rest."""


@dataclass(frozen=True, slots=True)
class RestoreTerms:
    """What a restore is told beforehand.

    ``before`` and ``after`` are SQL sent around the dump. ``sections``: only these (of a labelled file; None: all).
    ``watch(raw_bytes, file_bytes)`` is called from a thread, a few times per second. ``rewrite(section, object, text)``
    gives the text that the client gets instead of a segment's, in the order of the dump; ``fit_foreign`` does so for a
    file without labels; ``fittings`` see the text of either then. ``throttle`` holds back what is fed.
    """

    before: bytes = b""
    after: bytes = b""
    sections: frozenset[Section] | None = None
    watch: Callable[[int, int], None] | None = None
    rewrite: Rewrite | None = None
    fit_foreign: Fitting | None = None
    fittings: tuple[Fitting, ...] = ()
    throttle: Throttle | None = None


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What was fed: ``raw_size`` bytes of dump, the last of them in ``tail``; the facts, where the file has any."""

    raw_size: int
    tail: bytes
    facts: BackupFacts | None


async def restore(path: Path, stdin: int, pool: ThreadPoolExecutor, terms: RestoreTerms | None = None) -> RestoreResult:
    """Feed the dump in ``path`` to a client's pipe ``stdin``, which stays the caller's to close: that tells it the end.

    Raises:
        ClientGoneError: the client stopped reading; its own words explain it.
        IntegrityError: the file is damaged.
        NotFoundError, StorageError: the file cannot be read.
    """
    stop = Stop()
    terms = terms or RestoreTerms()
    return await run_in_thread(
        "restore", lambda: _restore(path, PipeWriter(stdin, stop, terms.throttle), pool, stop, terms), stop
    )


def _restore(
    path: Path, client: PipeWriter, pool: ThreadPoolExecutor, stop: Stop, terms: RestoreTerms
) -> RestoreResult:
    walk, done, tail, watched_at = Walk(), 0, b"", 0.0
    with open_source(path) as source, contextlib.closing(_fitted(source, pool, walk, terms)) as pieces:
        client.write(terms.before)
        for _, text, offset in pieces:
            stop.check()
            client.write(text)
            done += len(text)
            tail = (tail + text[-TAIL:])[-TAIL:]
            if terms.watch is not None and time.monotonic() - watched_at >= _WATCH_INTERVAL:
                watched_at = time.monotonic()
                terms.watch(done, offset)
        client.write(terms.after)
        if terms.watch is not None:
            terms.watch(done, source.size)
    return RestoreResult(done, tail, walk.facts)


_Piece = tuple[Section | None, bytes, int]
"""Text, the section that it is of where that is known, and the place in the file behind it."""


def _fitted(source: FileSource, pool: ThreadPoolExecutor, walk: Walk, terms: RestoreTerms) -> Generator[_Piece]:
    is_foreign = not looks_labelled(source.read_at(0, SMALLEST_HEADER))
    first = (terms.fit_foreign,) if is_foreign and terms.fit_foreign is not None else ()
    pieces = _pieces(source, pool, walk, terms.sections, terms.rewrite)
    for fitting in (*first, *terms.fittings):
        pieces = _through(fitting, pieces)
    yield from pieces


def _through(fitting: Fitting, pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    offset = 0
    for section, text, offset in pieces:
        yield section, fitting.feed(text, section), offset
    yield None, fitting.finish(), offset


def texts(
    source: FileSource,
    pool: ThreadPoolExecutor,
    walk: Walk,
    sections: frozenset[Section] | None = None,
    rewrite: Rewrite | None = None,
) -> Iterator[tuple[bytes, int]]:
    """The dump's text in order, each piece with the place in the file behind it. ``walk`` learns facts and seal.

    Raises:
        IntegrityError: damage, as far as labels, CRCs and sizes show it.
    """
    return ((text, offset) for _, text, offset in _pieces(source, pool, walk, sections, rewrite))


def _pieces(
    source: FileSource,
    pool: ThreadPoolExecutor,
    walk: Walk,
    sections: frozenset[Section] | None,
    rewrite: Rewrite | None,
) -> Iterator[_Piece]:
    if not looks_labelled(source.read_at(0, SMALLEST_HEADER)):
        yield from ((None, text, offset) for text, offset in foreign_text(source))
        return
    wanted = (
        member
        for member in members(source.read_at, source.size, walk)
        if member.label.kind is MemberKind.SEGMENT and (sections is None or member.label.section in sections)
    )
    for text, member in _ahead(source, pool, wanted):
        label = member.label
        rewritten = text if rewrite is None else rewrite(label.section, label.object, text)
        yield label.section, rewritten, member.offset + label.member_size


def _ahead(source: FileSource, pool: ThreadPoolExecutor, wanted: Iterator[Member]) -> Iterator[tuple[bytes, Member]]:
    """Inflate in the pool, a few members ahead of whoever takes the text."""

    def begin(member: Member) -> tuple[Future[bytes], Member]:
        return pool.submit(_load, source, member), member

    pending = deque(begin(member) for member in itertools.islice(wanted, _AHEAD))
    try:
        while pending:
            future, member = pending.popleft()
            text = future.result()
            pending.extend(begin(member) for member in itertools.islice(wanted, 1))
            yield text, member
    finally:
        # The file must stay open until no thread reads it.
        for future, _ in pending:
            if not future.cancel():
                future.exception()


def _load(source: FileSource, member: Member) -> bytes:
    return inflate(member, source.read_at(member.offset, member.label.member_size))
