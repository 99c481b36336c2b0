"""Files made for tests: facts, segments, and a whole file of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from vya_backupd.dumpfile.chooser import new_chooser
from vya_backupd.dumpfile.codec import deflate
from vya_backupd.dumpfile.reader import ReadAt
from vya_backupd.dumpfile.seal import Closing
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.model.backup import BackupFacts, BackupType, Manifest, SchemaInfo, Section
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.model.instance import EngineKind

MOMENT = datetime(2026, 1, 9, 10, 0, tzinfo=UTC)


def facts(**changes: object) -> BackupFacts:
    """Facts of some backup."""
    values: dict[str, object] = {
        "id": "01JBACKUP",
        "instance": "prod-pg-01",
        "database": 'shöp "1"',
        "engine": EngineKind.POSTGRESQL,
        "type": BackupType.FULL,
        "hostname": "host-1",
        "started_at": MOMENT,
        "taken_at": MOMENT,
        "server_version": "15.14",
        "tool": "pg_dump 15.14",
        "compression_level": 6,
        "properties": {"encoding": "UTF8"},
        "database_sql": ("COMMENT ON DATABASE {database} IS 'x';",),
    }
    return BackupFacts(**(values | changes))  # type: ignore[arg-type]


def segment(section: Section, name: str, text: bytes, **more: object) -> RawSegment:
    """A segment of one part."""
    return RawSegment(section, name, [text], len(text), **more)  # type: ignore[arg-type]


def segments() -> list[RawSegment]:
    """A small dump: two tables, one of them in two segments, a long unit in two pieces."""
    return [
        segment(Section.HEADER, "", b"SET x = 1;\n"),
        segment(Section.SCHEMA, "", b"CREATE TABLE a (i int);\n" * 9),
        segment(Section.DATA, "public.a", b"COPY a FROM stdin;\n1\n2\n\\.\n", rows=2),
        segment(Section.DATA, "public.a", b"COPY a FROM stdin;\n3\n\\.\n", rows=1),
        segment(Section.DATA, "public.b\udcff", b"COPY b FROM stdin;\nxxxx", rows=0, continues=True),
        segment(Section.DATA, "public.b\udcff", b"yyyy\n\\.\n", rows=1, continued=True),
        segment(Section.POST, "", b"ALTER TABLE a ADD PRIMARY KEY (i);\n"),
        segment(Section.FOOTER, "", b"-- done\n"),
    ]


def closing() -> Closing:
    """The end of the small dump."""
    return Closing(MOMENT, 1.5, SchemaInfo(2, 0, 0, "ab"), frozenset({"public.a", "public.b"}), ("a warning",))


def build(parts: Sequence[RawSegment] | None = None, *, known: BackupFacts | None = None) -> tuple[bytes, FileWriter]:
    """A whole file, and the writer that made it; of the codec that the facts name."""
    known = known or facts()
    writer, chooser = FileWriter(codec=known.codec), new_chooser(known.codec, known.compression_level)
    data = [writer.first(known)]
    data += [writer.add(part, deflate(part, chooser.choose(part))) for part in (segments() if parts is None else parts)]
    data.append(writer.last(closing()))
    return b"".join(data), writer


def manifest(writer: FileWriter, codec: FileCodec = FileCodec.GZIP) -> Manifest:
    """The manifest of what ``build`` made."""
    end = closing()
    return Manifest(
        facts(codec=codec),
        "x.sql.gz",
        writer.size,
        writer.raw_size,
        writer.members,
        "sha256",
        writer.checksum,
        end.duration_seconds,
        end.finished_at,
        end.schema_info,
        writer.extents,
        end.warnings,
    )


def reading(data: bytes) -> ReadAt:
    """A ``read_at`` over bytes."""
    return lambda offset, size: data[offset : offset + size]
