"""The writing side: puts compressed segments into their order, labels them, counts, hashes and seals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from vya_backupd.dumpfile.extents import ExtentBuilder
from vya_backupd.dumpfile.facts import decode_facts, encode_facts
from vya_backupd.dumpfile.framing import Deflated
from vya_backupd.dumpfile.seal import Closing, Seal, decode_seal, encode_seal, tables_digest
from vya_backupd.dumpfile.segment import FRAMINGS, Label, MemberKind, RawSegment, clip_name, encode_payload
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import BackupFacts, Extent
from vya_backupd.model.file_codec import FileCodec

_HASHES: dict[str, Callable[[], hashlib._Hash]] = {
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}


def new_hash(algorithm: str) -> hashlib._Hash:
    """A hash object for ``sha256`` or ``md5``.

    Raises:
        ValueError: another algorithm.
    """
    if algorithm not in _HASHES:
        message = f"checksums are sha256 or md5, not {algorithm}"
        raise ValueError(message)
    return _HASHES[algorithm]()


class FileWriter:
    """Makes the bytes of one backup file: ``first``, then ``add`` for each segment, then ``last``.

    The returned bytes are to be written in the order of the calls. Not thread-safe: one thread writes a file.
    """

    def __init__(self, algorithm: str = "sha256", codec: FileCodec = FileCodec.GZIP) -> None:
        self.algorithm = algorithm
        self._framing = FRAMINGS[codec]
        self.size = 0
        self.raw_size = 0
        self.members = 0
        self._hash = new_hash(algorithm)
        self._labels = hashlib.sha256()
        self._extents = ExtentBuilder()

    @property
    def extents(self) -> tuple[Extent, ...]:
        """The runs of objects so far."""
        return self._extents.extents()

    @property
    def rows(self) -> int | None:
        """Rows so far, over the objects whose rows are counted; None where none are."""
        return self._extents.rows()

    @property
    def checksum(self) -> str:
        """Hex digest of all bytes so far; of the whole file after ``last``."""
        return self._hash.hexdigest()

    def first(self, facts: BackupFacts) -> bytes:
        """The members that carry the facts.

        Raises:
            ValueError: the facts speak of another codec than this file has.
            IntegrityError: no reader would take them as they are.
        """
        if facts.codec is not self._framing.codec:
            raise ValueError(f"the facts say {facts.codec}, the file is {self._framing.codec}")
        payload = encode_facts(facts, self.algorithm)
        _refuse_changed("facts", facts, decode_facts(payload)[0])
        return self._payload(MemberKind.FACTS, payload)

    def add(self, segment: RawSegment, deflated: Deflated) -> bytes:
        """The member of a segment, which another thread has compressed."""
        name = clip_name(segment.object_name)
        number = self._extents.number(name)
        starts = self._extents.begins_run(segment.section, name)
        label = Label(
            segment.section,
            number,
            segment.raw_size,
            0,
            segment.rows,
            segment.continues,
            segment.continued,
        )
        offset = self.size
        member = self._emit(self._framing.encode(deflated, label, name=name if starts else None))
        sized = Label(label.section, number, label.raw_size, len(member), label.rows, label.continues, label.continued)
        self._extents.add(sized, name, offset)
        self.raw_size += segment.raw_size
        return member

    def last(self, closing: Closing) -> bytes:
        """The members that seal the file. Raises IntegrityError: no reader would take the seal as it is."""
        seal = Seal(
            members=self.members,
            objects=self._extents.objects,
            raw_bytes=self.raw_size,
            file_bytes=self.size,
            rows=self.rows,
            tables=len(closing.tables),
            tables_sha256=tables_digest(closing.tables),
            labels_sha256=self._labels.hexdigest(),
            algorithm=self.algorithm,
            digest=self.checksum,
            finished_at=closing.finished_at,
            duration_seconds=closing.duration_seconds,
            schema_info=closing.schema_info,
            warnings=closing.warnings,
        )
        payload = encode_seal(seal)
        _refuse_changed("seal", seal, decode_seal(payload))
        return self._payload(MemberKind.SEAL, payload)

    def _payload(self, kind: MemberKind, payload: bytes) -> bytes:
        return b"".join(self._emit(member) for member in encode_payload(self._framing, kind, payload))

    def _emit(self, member: bytes) -> bytes:
        self._labels.update(member[: self._framing.header_size(member)])
        self._hash.update(member)
        self.size += len(member)
        self.members += 1
        return member


def _refuse_changed(what: str, written: object, read: object) -> None:
    """A file that says what no reader takes could never be restored: it must not become a backup."""
    if written != read:
        raise IntegrityError(f"the backup's {what} would not be read as they were written")
