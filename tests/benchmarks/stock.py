"""A store of very many backups with its catalog, made in a minute: one tiny dump under other ids, names and times.

Every file is a real one and verifies; every manifest and checksum file fits. Nothing is synced, and the rows of the
catalog come from a rebuild, as with a user.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vya_backupd.dumpfile.codec_choice import CodecChooser
from vya_backupd.dumpfile.manifest import checksum_line, encode_manifest
from vya_backupd.dumpfile.seal import Closing
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.model.backup import BackupFacts, BackupType, Manifest, SchemaInfo, Section, StoredBackup
from vya_backupd.model.instance import EngineKind
from vya_backupd.policy.naming import Naming, Subject

HOSTNAME = "testhost"
_TABLES = 4
"""Tables of the dump: what a small application has; their extents are what makes a manifest long."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """How many instances, databases of each, and nightly backups of each database."""

    instances: int = 50
    databases: int = 20
    nights: int = 100

    @property
    def backups(self) -> int:
        """All of them."""
        return self.instances * self.databases * self.nights

    def places(self) -> Iterator[tuple[str, str]]:
        """Every database of every instance."""
        for number in range(self.instances):
            for database in range(self.databases):
                yield f"pg-{number:05}", f"app_{database:03}"


def _segments() -> list[RawSegment]:
    rows = b"".join(b"%d\n" % number for number in range(20))
    parts = [
        (Section.HEADER, "", b"SET client_encoding = 'UTF8';\n"),
        *((Section.SCHEMA, "", b"CREATE TABLE public.t%d (i integer);\n" % each) for each in range(_TABLES)),
        *(
            (Section.DATA, f"public.t{each}", b"COPY public.t%d (i) FROM stdin;\n%s\\.\n" % (each, rows))
            for each in range(_TABLES)
        ),
        (Section.FOOTER, "", b"--\n-- PostgreSQL database dump complete\n--\n"),
    ]
    return [RawSegment(section, name, [text], len(text)) for section, name, text in parts]


def make_files(base: Path, naming: Naming, shape: Shape, until: datetime) -> Iterator[StoredBackup]:
    """Write the backups of every place, the last one taken at ``until``; each as it is there."""
    segments = _segments()
    chooser = CodecChooser(6)
    deflated = [chooser.compress(each) for each in segments]
    tables = frozenset(f"public.t{number}" for number in range(_TABLES))
    for number, (instance, database) in enumerate(shape.places()):
        for night in range(shape.nights):
            taken_at = until - timedelta(days=night, seconds=number % 3600)
            facts = _facts(f"{taken_at:%Y%m%dT%H%M%S}-{number:06x}{night:04x}", instance, database, taken_at)
            writer = FileWriter()
            data = [writer.first(facts), *map(writer.add, segments, deflated)]
            end = Closing(taken_at + timedelta(seconds=2), 2.0, SchemaInfo(_TABLES, 0, 0, "ab" * 32), tables, ())
            data.append(writer.last(end))
            subject = Subject(HOSTNAME, instance, database, facts.engine, facts.type, taken_at)
            path = naming.path(subject)
            manifest = Manifest(
                facts, Path(path).name, writer.size, writer.raw_size, writer.members, "sha256", writer.checksum,
                2.0, end.finished_at, end.schema_info, writer.extents,
            )  # fmt: skip
            _write(base / path, b"".join(data), manifest)
            yield StoredBackup(manifest, path)


def _facts(backup_id: str, instance: str, database: str, taken_at: datetime) -> BackupFacts:
    return BackupFacts(
        backup_id, instance, database, EngineKind.POSTGRESQL, BackupType.FULL, HOSTNAME, taken_at, taken_at,
        "18.0", "pg_dump 18.0", 6, {"encoding": "UTF8"}, run=f"{instance}@{taken_at:%Y-%m-%dT%H}:00:00+00:00",
    )  # fmt: skip


def _write(path: Path, data: bytes, manifest: Manifest) -> None:
    folder = path.parent
    if not folder.exists():
        folder.mkdir(mode=0o750, parents=True)
    for name, content in (
        (path.name, data),
        (f"{path.name}.sha256", checksum_line(manifest).encode()),
        (f"{path.name}.metadata.json", encode_manifest(manifest)),
    ):
        fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        os.write(fd, content)
        os.close(fd)


def midnight() -> datetime:
    """The last midnight in UTC: a time that lies in the past, whenever this runs."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
