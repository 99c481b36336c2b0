"""The facts of a backup as JSON: in the file's first member, and again in its manifest."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from vya_backupd.dumpfile.reading import WRONG, moment, natural, record_of, text
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import BackupFacts, BackupType
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.model.instance import EngineKind

ALGORITHMS = ("sha256", "md5")
"""Hashes for checksums of files."""
_FIELDS = tuple(each.name for each in fields(BackupFacts))


def facts_to_json(facts: BackupFacts) -> dict[str, Any]:
    """Every field under its own name; times in ISO 8601 with their offset."""
    record = {name: getattr(facts, name) for name in _FIELDS}
    record["properties"] = dict(facts.properties)
    record["started_at"] = facts.started_at.isoformat()
    record["taken_at"] = facts.taken_at.isoformat()
    record["database_sql"] = list(facts.database_sql)
    return record


def facts_from_json(record: dict[str, Any]) -> BackupFacts:
    """The facts of a record; keys that a later release added are passed over.

    Raises:
        IntegrityError: a field is missing or is not what it should be.
    """
    try:
        return BackupFacts(
            id=text(record["id"]),
            instance=text(record["instance"]),
            database=text(record["database"]),
            engine=EngineKind(record["engine"]),
            type=BackupType(record["type"]),
            hostname=text(record["hostname"]),
            started_at=moment(record["started_at"]),
            taken_at=moment(record["taken_at"]),
            server_version=text(record["server_version"]),
            tool=text(record["tool"]),
            compression_level=natural(record["compression_level"]),
            properties={str(key): str(value) for key, value in record["properties"].items()},
            database_sql=tuple(str(statement) for statement in record["database_sql"]),
            product_version=text(record["product_version"]),
            run=text(record.get("run", "")),
            streams=natural(record.get("streams", 1)),
            codec=FileCodec(record.get("codec", FileCodec.GZIP)),
        )
    except WRONG as error:
        raise IntegrityError(f"the backup's facts cannot be read: {error!r}") from error


def encode_facts(facts: BackupFacts, algorithm: str) -> bytes:
    """The facts as compact JSON in ASCII, and which hash the file's digests are made with."""
    record = {"format": "vya-backupdb segments", "checksum_algorithm": algorithm, **facts_to_json(facts)}
    return json.dumps(record, separators=(",", ":")).encode("ascii")


def decode_facts(payload: bytes) -> tuple[BackupFacts, str]:
    """The facts of a payload, and the hash algorithm of the file (``sha256`` or ``md5``).

    Raises:
        IntegrityError: it is not the JSON of facts.
    """
    try:
        record = record_of(payload)
    except ValueError as error:
        raise IntegrityError(f"the backup's facts are not JSON: {error}") from error
    if record.get("checksum_algorithm") not in ALGORITHMS:
        raise IntegrityError("the backup's facts name no hash algorithm that is known")
    return facts_from_json(record), str(record["checksum_algorithm"])
