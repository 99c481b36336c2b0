"""Backup files as somebody writes them who knows the format and means harm: each label's checksum is right."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import zstandard

from tests.dumpfile.samples import closing, facts, segment
from vya_backupd.dumpfile.codec import LADDER, deflate
from vya_backupd.dumpfile.facts import encode_facts
from vya_backupd.dumpfile.label import Label, MemberKind, encode_header, encode_subfields
from vya_backupd.dumpfile.segment import FRAMINGS
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.model.backup import Section
from vya_backupd.model.file_codec import FileCodec

GZIP, ZSTD = FRAMINGS[FileCodec.GZIP], FRAMINGS[FileCodec.ZSTD]
Record = dict[str, Any]


def member(
    label: Label,
    body: bytes,
    *,
    name: str | None = None,
    payload: bytes = b"",
    size: int | None = None,
    codec: Any = GZIP,
) -> bytes:
    """A member with any body, whose label says ``size`` (its real one by default) and whatever else it likes."""
    more = encode_subfields(label.kind, name, payload)
    prefix = codec.FIXED + codec._SIZE.pack(codec.smallest_header - codec.prefix_size + len(more))
    whole = len(prefix) + codec.smallest_header - codec.prefix_size + len(more) + len(body)
    return encode_header(prefix, label, whole if size is None else size, more) + body


def facts_member(change: Callable[[Record], Any] = lambda record: record, codec: Any = GZIP) -> bytes:
    """The first member, with facts that were changed, or replaced by other bytes."""
    record = json.loads(encode_facts(facts(codec=codec.codec), "sha256"))
    changed = change(record)
    payload = changed if isinstance(changed, bytes) else json.dumps(changed if changed is not None else record).encode()
    label = Label(Section.HEADER, 0, 0, 0, kind=MemberKind.FACTS)
    return member(label, codec.EMPTY, payload=payload, codec=codec)


@cache
def _zeros(raw_size: int, codec: FileCodec) -> bytes:
    """The body of a member that inflates to so many zero bytes, made without having them at once."""
    piece, count = bytes(1 << 20), raw_size >> 20
    machine: Any
    if codec is FileCodec.GZIP:
        machine = zlib.compressobj(1, zlib.DEFLATED, -15)
        trailer = bytes(4) + (raw_size & 0xFFFFFFFF).to_bytes(4, "little")
    else:
        machine = zstandard.ZstdCompressor(level=1, write_checksum=True).compressobj(size=raw_size)
        trailer = b""
    parts: list[bytes] = [machine.compress(piece) for _ in range(count)]
    return b"".join([*parts, machine.flush(), trailer])


def bomb(raw_size: int, said: int, codec: Any = GZIP) -> bytes:
    """A file of facts and one segment of ``raw_size`` zeros, whose label says that it is ``said`` bytes."""
    label = Label(Section.DATA, 0, said, 0)
    return facts_member(codec=codec) + member(label, _zeros(raw_size, codec.codec), name="t", codec=codec)


def whole(*texts: tuple[Section, str, bytes], **about: Any) -> bytes:
    """A file in which everything agrees: these texts, in this order."""
    writer = FileWriter("sha256", FileCodec.GZIP)
    parts = [writer.first(facts(**about))]
    for section, name, text in texts:
        made = segment(section, name, text)
        parts.append(writer.add(made, deflate(made, next(iter(LADDER)))))
    parts.append(writer.last(replace(closing(), tables=frozenset())))
    return b"".join(parts)
