"""The file of the audit: appended to, moved away by a rotation, mended after a crash, read with its rotated forerunners.

Writing goes: lines, sync, then the head in the catalog. So a crash leaves lines that the catalog does not know of yet,
never the other way round, and ``recover`` takes them as they are: the last one says how far the events are written
down. Half a line that the catalog never counted is cut off. What it *did* count and is no longer there is not mended:
the chain goes on from the catalog's head, and the gap stays for everybody to find.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re
import stat
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vya_backupd.durable import sync_folder, write_all
from vya_backupd.errors import StorageError
from vya_backupd.observe.audit_chain import ChainCheck, Entry, Head, Line, parse, seal
from vya_backupd.ownership import trusted

MODE = 0o600
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_TAIL = 1 << 16
_LONGEST_LINE = 4 << 20
_ROTATED = re.compile(r"[.-][0-9][0-9.-]*(\.gz)?")


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where the chain goes on; ``finding`` says what was not as it should be, ``kind`` what that is called."""

    head: Head
    kind: str = ""
    finding: str = ""


class AuditFile:
    """One path, by whatever file is there now. One thread at a time. ``stamp`` gives the time of a new file's first line.

    Failures of the disk are StorageError (``audit_unwritable``), and leave the file as it was, or for ``recover``.
    """

    def __init__(self, path: Path, stamp: Callable[[], str]) -> None:
        self.path = path
        self._stamp = stamp
        self._fd = -1

    def close(self) -> None:
        """Let the file go. May be repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def recover(self, known: Head) -> Recovered:
        """Find the chain's head after a start or a failure. ``known`` is what the catalog has; its ``catalog`` is set."""
        with self._telling():
            self.close()
            raw, torn = self._ending()
            tail = _parsed(raw)
            found = _reconciled(known, tail)
            if torn:
                found = self._mend(found, known, tail)
            return found

    def append(self, head: Head, items: Sequence[tuple[int, Entry]]) -> Head:
        """Write entries, each with the number of its event, and have them on disk. Returns the new head."""
        with self._telling():
            fd = self._current()
            size = os.fstat(fd).st_size
            pieces = []
            if size == 0:
                line, head = seal(head, head.event, {"event": "audit.opened"}, opened=self._stamp())
                pieces.append(line)
            for event, entry in items:
                line, head = seal(head, event, entry)
                pieces.append(line)
            try:
                write_all(fd, b"".join(pieces))
                os.fdatasync(fd)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, size)
                self.close()
                raise
            return head

    def _current(self) -> int:
        """The descriptor of the file that lies under the path now: a rotation leaves none, then one is made."""
        with contextlib.suppress(FileNotFoundError):
            here = self.path.stat(follow_symlinks=False)
            if self._fd >= 0 and os.path.samestat(here, os.fstat(self._fd)):
                return self._fd
        self.close()
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._fd = os.open(self.path, _FLAGS, MODE)
        facts = os.fstat(self._fd)
        if not stat.S_ISREG(facts.st_mode):
            self.close()
            raise OSError(22, "it is no regular file")
        if not trusted(facts.st_uid):
            self.close()
            raise OSError(errno.EPERM, f"it belongs to user {facts.st_uid}, neither to us nor to root")
        if stat.S_IMODE(facts.st_mode) & 0o077:
            os.fchmod(self._fd, MODE)
        if facts.st_size == 0:
            sync_folder(self.path.parent)
        return self._fd

    def _ending(self) -> tuple[bytes, int]:
        """The newest whole line, of this file or the one that was rotated last, and the bytes that follow it here."""
        torn = 0
        for path in reversed(forerunners(self.path)):
            content = _last_bytes(path)
            whole, _, rest = content.rpartition(b"\n")
            if path == self.path:
                torn = len(rest)
            if whole:
                return whole.rpartition(b"\n")[2] + b"\n", torn
        return b"", torn

    def _mend(self, found: Recovered, known: Head, tail: Line | None) -> Recovered:
        """The file ends within a line. Cut it off when nobody has counted it; close it off otherwise."""
        fd = self._current()
        size = os.fstat(fd).st_size
        content = os.pread(fd, size, 0) if size <= _TAIL else os.pread(fd, _TAIL, size - _TAIL)
        torn = len(content) - content.rfind(b"\n") - 1
        counted = known.seq > (tail.seq if tail else 0)
        if counted or torn == _TAIL:
            write_all(fd, b"\n")
            return found
        os.ftruncate(fd, size - torn)
        os.fdatasync(fd)
        return found if found.kind else replace(found, kind="torn", finding=f"{torn} bytes of a line were cut off")

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write the audit {self.path}: {error.strerror or error}",
                code="audit_unwritable",
                hint="Free space, or give the daemon's user the right to write there; it goes on by itself.",
                retryable=True,
            ) from error


def forerunners(path: Path) -> list[Path]:
    """The file and its rotated forerunners (``.1``, ``.2.gz``, ``-20260109.gz``), oldest first, by their first line.

    A file whose first line cannot be read stands where its name puts it.
    """
    with contextlib.suppress(OSError):
        names = [
            each for each in path.parent.iterdir()
            if each.name.startswith(path.name) and _ROTATED.fullmatch(each.name[len(path.name) :])
        ]  # fmt: skip
        rotated = sorted(names, key=_by_name)
        return by_age([*rotated, path] if path.exists() else rotated)
    return [path] if path.exists() else []


def by_age(paths: Sequence[Path]) -> list[Path]:
    """Files of one chain, oldest first by their first line; one that has none comes right after the one before it."""
    keyed, last = [], 0
    for path in paths:
        last = _first_seq(path) or last
        keyed.append((last, path))
    return [path for _, path in sorted(keyed, key=lambda pair: pair[0])]


def _by_name(path: Path) -> tuple[int, str]:
    """``.3.gz`` before ``.2.gz`` before ``.1``; dates as they sort."""
    number = re.search(r"\.([0-9]{1,5})(\.gz)?$", path.name)
    return (-int(number[1]), "") if number else (-1_000_000, path.name)


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file with their newlines, unpacked where it is packed. OSError, EOFError where it cannot be read.

    One that is longer than any of ours comes in pieces, none of which is a line.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line
    except zlib.error as error:
        raise OSError(errno.EBADMSG, f"what is packed is damaged: {error}") from error


def check(paths: Sequence[Path], chain: ChainCheck) -> None:
    """Feed the chain all lines of these files, oldest first, and end it.

    Raises:
        StorageError: a file cannot be read (``audit_unreadable``).
    """
    for path in paths:
        try:
            for number, raw in enumerate(lines_of(path), 1):
                chain.feed(str(path), number, raw)
        except (OSError, EOFError) as error:
            raise unreadable(path, error) from error
    chain.finish()


def unreadable(path: Path, error: OSError | EOFError) -> StorageError:
    """The error for a file of the audit that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StorageError(
        f"cannot read the audit file {path}: {reason}",
        code="audit_unreadable",
        hint="Name an existing file, and run the command as a user who may read it.",
    )


def _reconciled(known: Head, tail: Line | None) -> Recovered:
    if tail is None or (tail.seq, tail.hash) == (known.seq, known.hash):
        lost = known.seq > 0 and tail is None
        finding = f"the audit file is gone; the catalog knows {known.seq} lines" if lost else ""
        return Recovered(known, "gone" if lost else "", finding)
    if tail.catalog == known.catalog and tail.seq > known.seq:
        return Recovered(tail.head)
    if known.seq == 0:
        head = Head(tail.seq, tail.hash, known.event, known.catalog)
        return Recovered(head, "adopted", f"a new catalog follows {tail.seq} lines that it does not know")
    finding = f"the audit file ends with number {tail.seq}; the catalog knows {known.seq} lines"
    return Recovered(known, "cut_off", finding if tail.seq < known.seq else f"number {tail.seq} is another line")


def _parsed(raw: bytes) -> Line | None:
    try:
        return parse(raw) if raw else None
    except ValueError:
        return None


def _first_seq(path: Path) -> int | None:
    with contextlib.suppress(OSError, EOFError, ValueError):
        for raw in lines_of(path):
            return parse(raw).seq
    return None


def _last_bytes(path: Path) -> bytes:
    if path.suffix == ".gz":
        with contextlib.suppress(OSError, EOFError):
            return b"".join(deque(lines_of(path), 2))
        return b""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        return file.read()
