"""The facts of a backup as JSON: in the file's first member, and again in its manifest."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import BackupFacts, BackupType
from vya_backupd.model.instance import EngineKind


def facts_to_json(facts: BackupFacts) -> dict[str, Any]:
    """Every field under its own name; times in ISO 8601 with their offset."""
    record = asdict(facts)
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
            id=str(record["id"]),
            instance=str(record["instance"]),
            database=str(record["database"]),
            engine=EngineKind(record["engine"]),
            type=BackupType(record["type"]),
            hostname=str(record["hostname"]),
            started_at=datetime.fromisoformat(record["started_at"]),
            taken_at=datetime.fromisoformat(record["taken_at"]),
            server_version=str(record["server_version"]),
            tool=str(record["tool"]),
            compression_level=int(record["compression_level"]),
            properties={str(key): str(value) for key, value in record["properties"].items()},
            database_sql=tuple(str(statement) for statement in record["database_sql"]),
            product_version=str(record["product_version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"the backup's facts cannot be read: {error!r}") from error


def encode_facts(facts: BackupFacts) -> bytes:
    """The facts as compact JSON in ASCII."""
    return json.dumps(facts_to_json(facts), separators=(",", ":")).encode("ascii")


def decode_facts(payload: bytes) -> BackupFacts:
    """The facts of a payload.

    Raises:
        IntegrityError: it is not the JSON of facts.
    """
    try:
        record = json.loads(payload)
    except ValueError as error:
        raise IntegrityError(f"the backup's facts are not JSON: {error}") from error
    return facts_from_json(record if isinstance(record, dict) else {})
