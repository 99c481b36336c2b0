"""Verifying: every byte of a backup file read once, every digest compared.

Three nets, each of which alone finds a flipped bit in most places, and together everywhere: CRC-32 and length of every
member and of every label; the order, counts and digests that the seal closes; the checksum over the whole file, from
the manifest or, up to the seal, from the seal. The pool inflates; the reading thread hashes and looks at labels.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vya_backupd.dumpfile.reader import Member, Walk, damaged, inflate, manifest_of, read_header
from vya_backupd.dumpfile.segment import SMALLEST_HEADER, MemberKind, looks_labelled
from vya_backupd.dumpfile.writer import new_hash
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Manifest, Proof
from vya_backupd.pipeline.files import FileSource, open_source
from vya_backupd.pipeline.foreign import foreign_text
from vya_backupd.pipeline.restore import TAIL
from vya_backupd.pipeline.stop import Stop, run_in_thread

TailCheck = Callable[[bytes], str | None]
"""Looks at the last ``TAIL`` bytes of dump text; says what is wrong with them, or None."""
_HEAD = 64 * 1024
"""Bytes of a foreign file's text in which a dump tool must have said what it is."""
_LONGEST_LINE = 4096
_AHEAD = 6
_WATCH_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class VerifyTerms:
    """What a verification is told beforehand.

    ``manifest``: the one to compare with; None: the file must prove itself. ``check_tail``: whether the dump's end is
    its end. ``watch(raw_bytes, file_bytes)`` is called from a thread, a few times per second. ``check_head``: whether a
    foreign file begins like a dump; asked only when its end is wrong, to tell a broken dump from no dump at all.
    ``check_lines``: looks at whole lines of a foreign file, and raises what it has against them. ``read`` is given its
    text, piece by piece.
    """

    manifest: Manifest | None = None
    check_tail: TailCheck | None = None
    watch: Callable[[int, int], None] | None = None
    check_head: Callable[[bytes], bool] | None = None
    check_lines: Callable[[bytes], None] | None = None
    read: Callable[[bytes], None] | None = None


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What was read and found good. ``manifest``, made from the file alone, is None for a foreign file."""

    size: int
    raw_size: int
    members: int
    checksum: str
    tail: bytes
    manifest: Manifest | None


async def verify(path: Path, pool: ThreadPoolExecutor, terms: VerifyTerms | None = None) -> VerifyResult:
    """Read a whole file and compare everything.

    Raises:
        IntegrityError: the first damage in the order of the file, with byte offset, member, section and object.
        NotFoundError, StorageError: the file cannot be read.
    """
    stop = Stop()
    job = _Verify(path, pool, stop, terms or VerifyTerms())
    return await run_in_thread("verify", job.run, stop)


class _Verify:
    def __init__(self, path: Path, pool: ThreadPoolExecutor, stop: Stop, terms: VerifyTerms) -> None:
        self._path = path
        self._pool = pool
        self._stop = stop
        self._terms = terms
        self._walk = Walk()
        self._hash = new_hash("sha256")
        self._sealed = ""
        self._pending: deque[Future[tuple[int, bytes]]] = deque()
        self._raw_size = 0
        self._tail = b""
        self._watched_at = 0.0

    def run(self) -> VerifyResult:
        """The whole job; inflating happens in the pool."""
        with open_source(self._path) as source:
            if self._terms.manifest is None and not looks_labelled(source.read_at(0, SMALLEST_HEADER)):
                return self._run_foreign(source)
            try:
                self._read_all(source)
            except IntegrityError:
                self._settle_all()
                raise
            finally:
                self._abandon()
            manifest = self._compare(source)
        self._report(source.size, last=True)
        return VerifyResult(source.size, self._raw_size, self._walk.members, manifest.checksum, self._tail, manifest)

    def _read_all(self, source: FileSource) -> None:
        walk = self._walk
        while walk.size < source.size:
            self._stop.check()
            member = walk.accept(read_header(source.read_at, walk.size))
            data = source.read_at(member.offset, member.label.member_size)
            while len(self._pending) >= _AHEAD:
                self._settle()
            self._pending.append(self._pool.submit(_prove, member, data))
            self._digest(source, member, data)
            self._report(walk.size)
        self._settle_all()
        walk.finish(source.size)

    def _digest(self, source: FileSource, member: Member, data: bytes) -> None:
        if member.label.kind is MemberKind.FACTS and self._walk.facts and self._walk.algorithm != "sha256":
            self._hash = new_hash(self._walk.algorithm)
            data = source.read_at(0, self._walk.size)
        if member.label.kind is MemberKind.SEAL and not member.label.continued:
            self._sealed = self._hash.hexdigest()
        self._hash.update(data)

    def _settle(self) -> None:
        """Take the oldest promise: damage comes up in the order of the file."""
        size, tail = self._pending.popleft().result()
        self._raw_size += size
        self._tail = (self._tail + tail)[-TAIL:]

    def _settle_all(self) -> None:
        while self._pending:
            self._settle()

    def _abandon(self) -> None:
        for future in self._pending:
            future.cancel()

    def _compare(self, source: FileSource) -> Manifest:
        """What the file proved against what it and its manifest claim."""
        seal, expected = self._walk.finish(source.size), self._terms.manifest
        found = manifest_of(self._walk, self._path.name, self._hash.hexdigest())
        if expected is not None and not expected.checksum:  # made of labels alone: nobody wrote a digest down
            expected = replace(expected, checksum=found.checksum)
        if expected is not None and expected.checksum != found.checksum:
            what = f"checksum {expected.checksum} expected, {found.checksum} found"
            raise damaged(f"an unknown place of {self._path.name}", what, "checksum_mismatch")
        if seal.digest != self._sealed:
            raise damaged("an unknown place before the seal", f"{seal.algorithm} is not the sealed one")
        if expected is not None:
            _compare_manifests(expected, found)
        self._check_tail()
        return found

    def _check_tail(self) -> None:
        wrong = self._terms.check_tail(self._tail) if self._terms.check_tail else None
        if wrong is not None:
            raise damaged(f"the end of {self._path.name}", wrong, "incomplete_file")

    def _run_foreign(self, source: FileSource) -> VerifyResult:
        offset, head, line = 0, b"", b""
        for text, offset in foreign_text(source):
            self._stop.check()
            head = head or text[:_HEAD]
            line = self._look_at_lines(line, text)
            if self._terms.read is not None:
                self._terms.read(text)
            self._raw_size += len(text)
            self._tail = (self._tail + text[-TAIL:])[-TAIL:]
            self._report(offset)
        try:
            self._check_tail()
        except IntegrityError as error:
            if self._terms.check_head is None or self._terms.check_head(head):
                raise
            hint = (
                "Name a file that vyactl, pg_dump, mysqldump or mariadb-dump wrote, as it is, gzip or zstd."
                " What has no end marker cannot be shown to be whole: load it by hand with the vendor's client."
            )
            message = f"{self._path.name} is no dump of PostgreSQL, MySQL or MariaDB"
            raise IntegrityError(message, code="not_a_dump", hint=hint) from error
        return VerifyResult(source.size, self._raw_size, 0, "", self._tail, None)

    def _look_at_lines(self, begun: bytes, text: bytes) -> bytes:
        """Let whole lines be checked; the beginning of the one that is not whole, as far as it can matter."""
        if self._terms.check_lines is None:
            return b""
        end = text.rfind(b"\n") + 1
        self._terms.check_lines(begun + text[:end])
        return (begun + text[end:] if end == 0 else text[end:])[:_LONGEST_LINE]

    def _report(self, offset: int, *, last: bool = False) -> None:
        watch, moment = self._terms.watch, time.monotonic()
        if watch is not None and (last or moment - self._watched_at >= _WATCH_INTERVAL):
            self._watched_at = moment
            watch(self._raw_size, offset)


def _prove(member: Member, data: bytes) -> tuple[int, bytes]:
    text = inflate(member, data)
    return len(text), text[-TAIL:]


def _compare_manifests(expected: Manifest, found: Manifest) -> None:
    """Everything that the file knows must be what the manifest says; proof, hold and name are the manifest's alone."""
    same = replace(found, filename=expected.filename, verified_at=expected.verified_at, hold=expected.hold)
    same = replace(same, proof=Proof(expected.proof))
    if same == expected:
        return
    names = [name for name in Manifest.__slots__ if getattr(same, name) != getattr(expected, name)]
    message = f"the manifest contradicts its file in {', '.join(names)}"
    hint = "`vyactl catalog rebuild` makes a new manifest from the backup file."
    raise IntegrityError(message, code="damaged_manifest", hint=hint)
