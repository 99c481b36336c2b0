"""Reading parts of a backup file: the members of chosen extents, and no others.

What is read is checked as far as it goes: facts and seal at both ends of the file must agree with the manifest, every
label in an extent with the extent, every body with its CRC and length. Damage elsewhere in the file is not noticed, and
does not matter to what is read here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vya_backupd.dumpfile.reader import Member, Walk, damaged, describe, inflate, read_header
from vya_backupd.dumpfile.seal import Seal, decode_seal
from vya_backupd.dumpfile.segment import SMALLEST_HEADER, Label, MemberKind, looks_labelled, parse_header
from vya_backupd.errors import IntegrityError, UsageError
from vya_backupd.model.backup import BackupFacts, Extent, Manifest, Section
from vya_backupd.pipeline.files import FileSource, open_source
from vya_backupd.pipeline.pipes import PipeWriter
from vya_backupd.pipeline.stop import Stop, run_in_thread
from vya_backupd.pipeline.throttle import Throttle

_AHEAD = 4
_WATCH_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of one member, and where it comes from."""

    section: Section
    name: str
    label: Label
    text: bytes


@dataclass(frozen=True, slots=True)
class Rows:
    """Parts of the file within a script; ``rewrite`` gives the text that stands instead of a piece's."""

    extents: tuple[Extent, ...]
    rewrite: Callable[[Piece], bytes] | None = None


Script = Sequence[bytes | Rows]
"""A text for a client: some of it made, most of it from the file."""


def table_of_contents(path: Path) -> Manifest:
    """The manifest of a file that has none beside it, from its labels alone; ``checksum`` stays empty.

    Raises:
        IntegrityError: the labels are damaged.
        UsageError: the file is not one of ours.
    """
    with open_source(path) as source:
        if not looks_labelled(source.read_at(0, SMALLEST_HEADER)):
            raise UsageError(
                f"{path.name} was not written by VYA BackupDB: nothing says where in it a table lies",
                hint="Restore the whole file, beside the original with --target-database, and take the table from there.",
            )
        return describe(source.read_at, source.size, path.name, "")


def check_ends(source: FileSource, manifest: Manifest) -> int:
    """Compare facts, seal and size of a file with a manifest. Returns the bytes that were read.

    Raises:
        IntegrityError: they do not belong together, or an end of the file is damaged.
    """
    if source.size != manifest.size_bytes:
        what = f"{manifest.size_bytes} bytes expected, the file has {source.size}"
        raise damaged(f"the end of {source.path.name}", what, "incomplete_file")
    facts, after_facts = _facts(source)
    seal, seal_at, seal_members = _seal(source, max((each.end for each in manifest.extents), default=after_facts))
    claims = (
        ("facts", facts, manifest.facts),
        ("members", seal.members + seal_members, manifest.members),
        ("bytes of dump", seal.raw_bytes, manifest.raw_size_bytes),
        ("bytes before the seal", seal.file_bytes, seal_at),
        ("content", seal.schema_info, manifest.schema_info),
    )
    for what, found, expected in claims:
        if found != expected:
            raise damaged("the seal", f"file and manifest do not belong together: {what} differ")
    return after_facts + source.size - seal_at


def _facts(source: FileSource) -> tuple[BackupFacts, int]:
    walk = Walk()
    while walk.facts is None:
        member = walk.accept(read_header(source.read_at, walk.size))
        inflate(member, source.read_at(member.offset, member.label.member_size))
    return walk.facts, walk.size


def _seal(source: FileSource, at: int) -> tuple[Seal, int, int]:
    """The seal, which begins at ``at``; where it begins, and its members."""
    payload, members, offset = b"", 0, at
    while offset < source.size:
        member, found = _member_at(source, offset, "seal")
        if member.label.kind is not MemberKind.SEAL:
            raise damaged(member.place, "the seal was expected here")
        inflate(member, source.read_at(offset, member.label.member_size))
        payload, members, offset = payload + found, members + 1, offset + member.label.member_size
    if not members:
        raise damaged(f"byte {at}", "the file ends without a seal", "incomplete_file")
    return decode_seal(payload), at, members


def _member_at(source: FileSource, offset: int, name: str | None) -> tuple[Member, bytes]:
    """The member that begins at a place, under the name of its run, and its payload. ``name`` None: anybody's."""
    try:
        parsed = parse_header(read_header(source.read_at, offset))
    except IntegrityError as error:
        raise damaged(f"byte {offset}, {name or 'a segment'}", error.message) from error
    if name is not None and parsed.name is not None and parsed.name != name:
        raise damaged(f"byte {offset}", f"{name!r} was expected here, {parsed.name!r} was found")
    return Member(0, offset, parsed.label, parsed.name or name or ""), parsed.payload


def members_of(source: FileSource, extent: Extent) -> Iterator[Member]:
    """The members of an extent, by their labels; those of others, which it may span, are passed over.

    Raises:
        IntegrityError: what lies there is not what the extent says. That its counts differ shows at the end.
    """
    offset, found, number = extent.offset, _Found(), None
    while offset < extent.end:
        member = _segment_at(source, offset, extent)
        if number is None or (member.label.section is extent.section and member.label.object == number):
            number = member.label.object
            found.add(member.label)
            yield _own(member, extent)
        elif extent.span is None:
            raise _not_of(extent, member)
        offset += member.label.member_size
    if (found.segments, found.raw_size, found.rows) != (extent.segments, extent.raw_size, extent.rows):
        raise damaged(f"byte {extent.offset}, object {extent.name!r}", "its labels do not fit the manifest")


def _segment_at(source: FileSource, offset: int, extent: Extent) -> Member:
    member, _ = _member_at(source, offset, extent.name if extent.span is None else None)
    if member.label.kind is not MemberKind.SEGMENT or offset + member.label.member_size > extent.end:
        raise _not_of(extent, member)
    return member


def _own(member: Member, extent: Extent) -> Member:
    """The member under the name that its label may leave out; nobody else's segment has its number."""
    if member.label.section is not extent.section or member.name not in {"", extent.name}:
        raise _not_of(extent, member)
    return replace(member, name=extent.name)


def _not_of(extent: Extent, member: Member) -> IntegrityError:
    return damaged(member.place, f"a segment of {extent.name!r} was expected here")


@dataclass(slots=True)
class _Found:
    """What the labels of an extent add up to."""

    segments: int = 0
    raw_size: int = 0
    rows: int | None = 0

    def add(self, label: Label) -> None:
        """Count one more."""
        self.segments += 1
        self.raw_size += label.raw_size
        self.rows = None if self.rows is None or label.rows is None else self.rows + label.rows


def pieces(source: FileSource, extents: Iterable[Extent], pool: ThreadPoolExecutor) -> Iterator[Piece]:
    """The text of these extents, in their order, inflated in the pool a few members ahead.

    Raises:
        IntegrityError: the first damage on the way.
    """
    wanted = (member for extent in extents for member in members_of(source, extent))
    pending: deque[tuple[Future[bytes], Member]] = deque()
    try:
        while True:
            while len(pending) < _AHEAD and (member := next(wanted, None)) is not None:
                pending.append((pool.submit(_load, source, member), member))
            if not pending:
                return
            future, member = pending.popleft()
            yield Piece(member.label.section, member.name, member.label, future.result())
    finally:
        # The file must stay open until no thread reads it.
        for future, _ in pending:
            if not future.cancel():
                future.exception()


def last_text(source: FileSource, extent: Extent) -> bytes:
    """The text of an extent's last member alone. Raises as ``pieces``."""
    return _load(source, deque(members_of(source, extent), maxlen=1)[0])


def prove(
    source: FileSource, extents: Iterable[Extent], pool: ThreadPoolExecutor, watch: Callable[[int], None] | None = None
) -> int:
    """Read these extents and throw the text away. ``watch`` hears of the bytes of dump so far. Returns how many.

    Raises:
        IntegrityError: the first damage.
    """
    done = 0
    for piece in pieces(source, extents, pool):
        done += len(piece.text)
        if watch is not None:
            watch(done)
    return done


def _load(source: FileSource, member: Member) -> bytes:
    return inflate(member, source.read_at(member.offset, member.label.member_size))


def texts_of(source: FileSource, script: Script, pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """The script's text, in pieces of a few MiB at most. Raises as ``pieces``."""
    for part in script:
        if isinstance(part, bytes):
            if part:
                yield part
            continue
        for piece in pieces(source, part.extents, pool):
            yield piece.text if part.rewrite is None else part.rewrite(piece)


async def feed(
    path: Path,
    stdin: int,
    script: Script,
    pool: ThreadPoolExecutor,
    watch: Callable[[int], None],
    throttle: Throttle | None = None,
) -> int:
    """Feed a script to a client's pipe, which stays the caller's to close. Returns the bytes fed.

    ``watch`` hears of them from a thread, a few times per second; ``throttle`` holds them back.

    Raises:
        ClientGoneError: the client stopped reading; its own words explain it.
        IntegrityError: the file is damaged.
    """
    stop = Stop()

    def run() -> int:
        client, done, watched_at = PipeWriter(stdin, stop, throttle), 0, 0.0
        with open_source(path) as source:
            for text in texts_of(source, script, pool):
                stop.check()
                client.write(text)
                done += len(text)
                if time.monotonic() - watched_at >= _WATCH_INTERVAL:
                    watched_at = time.monotonic()
                    watch(done)
        return done

    return await run_in_thread("restore", run, stop)
