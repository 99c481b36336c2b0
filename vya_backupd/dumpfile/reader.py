"""The reading side: hops from label to label, checks the row of members, gives back what the file says of itself.

Sans-IO: bytes come through a function ``read_at(offset, size)``. The rules of the row, which ``Walk`` holds: facts
first, segments after them, the seal last and nothing behind it; every run of an object begins with its name; the
counts and digests of the seal agree with what was walked over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vya_backupd.dumpfile.extents import ExtentBuilder
from vya_backupd.dumpfile.facts import decode_facts
from vya_backupd.dumpfile.framing import BodyError, Framing
from vya_backupd.dumpfile.seal import Seal, decode_seal
from vya_backupd.dumpfile.segment import (
    LARGEST_PAYLOAD,
    SMALLEST_HEADER,
    Label,
    MemberHeader,
    MemberKind,
    framing_of,
    header_size,
    parse_header,
)
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import BackupFacts, Manifest

ReadAt = Callable[[int, int], bytes]
"""``read_at(offset, size)``: that many bytes from there, fewer only at the end of the file."""

_HINT = "Restore from another backup; this file must not be trusted."


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a file: its number (from 0), its place, its label and the name of its object."""

    number: int
    offset: int
    label: Label
    name: str

    @property
    def place(self) -> str:
        """Where it is, in words for an error."""
        kind = self.label.kind
        what = f"section {self.label.section.name.lower()}, object {self.name!r}"
        return f"byte {self.offset}, member {self.number}, {what if kind is MemberKind.SEGMENT else kind.name.lower()}"


def damaged(place: str, what: str, code: str = "damaged_file") -> IntegrityError:
    """The error for damage at a place, in the one form that all of them have."""
    return IntegrityError(f"damaged at {place}: {what}", code=code, hint=_HINT)


class Walk:
    """What a reader knows after each label, and whether the next one may follow. Feed it every header in order."""

    def __init__(self) -> None:
        self.members = 0
        self.size = 0
        self.raw_size = 0
        self.facts: BackupFacts | None = None
        self.algorithm = ""
        self.framing: Framing | None = None
        self.seal: Seal | None = None
        self.extents = ExtentBuilder()
        self._payload = bytearray()
        self._labels = hashlib.sha256()
        self._before_seal = (0, 0, "")

    def accept(self, header: bytes) -> Member:
        """Take the header at the present end of the walk (``size``); afterwards ``size`` is behind its member.

        Raises:
            IntegrityError: it is damaged, or may not come here. The message names the place.
        """
        try:
            parsed = parse_header(header)
            self._keep_to(framing_of(header))
            member = Member(self.members, self.size, parsed.label, self._name_of(parsed))
            self._place(parsed, member)
        except IntegrityError as error:
            error.message = f"damaged at byte {self.size}, member {self.members}: {error.message}"
            error.args = (error.message,)
            error.hint = error.hint or _HINT
            raise
        self._labels.update(header[: parsed.size])
        self.members += 1
        self.size += parsed.label.member_size
        return member

    def finish(self, size: int) -> Seal:
        """The seal, at the end of a file of ``size`` bytes.

        Raises:
            IntegrityError: there is none (``incomplete_file``), or it contradicts what was walked over.
        """
        if self.seal is None or self.facts is None:
            where = f"byte {self.size}, member {self.members}"
            raise damaged(where, "the file ends without a seal", "incomplete_file")
        members, at, labels = self._before_seal
        said = self.seal
        claims = (
            ("hash algorithm", said.algorithm, self.algorithm),
            ("members", said.members, members),
            ("bytes before the seal", said.file_bytes, at),
            ("bytes of dump", said.raw_bytes, self.raw_size),
            ("objects", said.objects, self.extents.objects),
            ("rows", said.rows, self.extents.rows()),
            ("digest of labels", said.labels_sha256, labels),
            ("bytes of file", self.size, size),
        )
        for what, expected, found in claims:
            if expected != found:
                raise damaged(f"byte {at}, the seal", f"{what}: {expected} expected, {found} found")
        return said

    def _keep_to(self, framing: Framing | None) -> None:
        self.framing = self.framing or framing
        if framing is not self.framing:
            raise IntegrityError("the member is not compressed as those before it")

    def _name_of(self, parsed: MemberHeader) -> str:
        if parsed.label.kind is not MemberKind.SEGMENT:
            return ""
        if parsed.name is None:
            return self.extents.open_name
        return parsed.name

    def _place(self, parsed: MemberHeader, member: Member) -> None:
        label = parsed.label
        if self.seal is not None:
            raise IntegrityError("something follows the seal")
        if label.kind is MemberKind.SEGMENT:
            self._place_segment(parsed, member)
            return
        if label.continued != bool(self._payload) or (label.kind is MemberKind.FACTS) != (self.facts is None):
            raise IntegrityError("facts or seal are out of order")
        if label.kind is MemberKind.SEAL and not label.continued:
            self._before_seal = (self.members, self.size, self._labels.hexdigest())
        self._payload += parsed.payload
        if len(self._payload) > LARGEST_PAYLOAD:
            raise IntegrityError(f"facts or seal are larger than {LARGEST_PAYLOAD >> 20} MiB")
        if label.continues:
            return
        payload, self._payload = bytes(self._payload), bytearray()
        if label.kind is MemberKind.FACTS:
            self.facts, self.algorithm = decode_facts(payload)
            if self.framing is None or self.facts.codec is not self.framing.codec:
                raise IntegrityError(f"the facts say that the file is {self.facts.codec}, and it is not")
        else:
            self.seal = decode_seal(payload)

    def _place_segment(self, parsed: MemberHeader, member: Member) -> None:
        label = parsed.label
        if self.facts is None or self._payload:
            raise IntegrityError("a segment stands where facts or seal should go on")
        starts = self.extents.begins_run(label.section, member.name)
        if starts != (parsed.name is not None) or self.extents.number(member.name) != label.object:
            raise IntegrityError("the object's number and name do not go together")
        self.extents.add(label, member.name, member.offset)
        self.raw_size += label.raw_size


def read_header(read_at: ReadAt, offset: int) -> bytes:
    """The bytes of the header at ``offset``; what is there, where it is none (``Walk.accept`` will say so).

    Raises:
        IntegrityError: ``incomplete_file``: the file ends inside it.
    """
    first = read_at(offset, SMALLEST_HEADER)
    size = header_size(first)
    if size is None or size <= len(first):
        return first
    header = first + read_at(offset + len(first), size - len(first))
    if len(header) < size:
        raise damaged(f"byte {offset}", "the file ends inside a label", "incomplete_file")
    return header


def members(read_at: ReadAt, size: int, walk: Walk | None = None) -> Iterator[Member]:
    """All members of a file of ``size`` bytes, by labels alone; the seal has agreed when this ends.

    Raises:
        IntegrityError: the first damage that labels can show.
    """
    walk = walk or Walk()
    while walk.size < size:
        member = walk.accept(read_header(read_at, walk.size))
        if walk.size > size:
            raise damaged(member.place, "the file ends inside this member", "incomplete_file")
        yield member
    walk.finish(size)


def inflate(member: Member, data: bytes) -> bytes:
    """The dump text of a member, whose bytes are ``data``. Releases the GIL.

    Checksum and length are compared with what label and body say.

    Raises:
        IntegrityError: the body is damaged.
    """
    framing = framing_of(data)
    size = None if framing is None else framing.header_size(data)
    if framing is None or size is None or len(data) != member.label.member_size:
        raise damaged(member.place, "the file ends inside this member", "incomplete_file")
    if member.label.kind is not MemberKind.SEGMENT:
        if data[size:] != framing.EMPTY:
            raise damaged(member.place, "the body is not empty")
        return b""
    try:
        return framing.inflate(data, size, member.label.raw_size)
    except BodyError as error:
        # Which of the library's complaints a flipped bit meets is chance; the operator gets one sentence for all.
        raise damaged(member.place, "its compressed bytes are not those that were written") from error


def describe(read_at: ReadAt, size: int, filename: str, checksum: str) -> Manifest:
    """The manifest of a file, from its labels alone. ``checksum`` needs the whole file read: it comes from the caller.

    Raises:
        IntegrityError: the labels are damaged, or the file is not one of ours.
    """
    walk = Walk()
    for _ in members(read_at, size, walk):
        pass
    return manifest_of(walk, filename, checksum)


def manifest_of(walk: Walk, filename: str, checksum: str) -> Manifest:
    """The manifest of a file that was walked over to its end.

    Raises:
        IntegrityError: the walk has not seen facts and seal.
    """
    if walk.facts is None or walk.seal is None:
        raise damaged(f"byte {walk.size}", "the file ends without a seal", "incomplete_file")
    return Manifest(
        facts=walk.facts,
        filename=filename,
        size_bytes=walk.size,
        raw_size_bytes=walk.raw_size,
        members=walk.members,
        checksum_algorithm=walk.algorithm,
        checksum=checksum,
        duration_seconds=walk.seal.duration_seconds,
        finished_at=walk.seal.finished_at,
        schema_info=walk.seal.schema_info,
        extents=walk.extents.extents(),
        warnings=walk.seal.warnings,
    )
