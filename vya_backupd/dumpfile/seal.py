"""The seal: what the last member says of all that came before it. A file without one is a file cut short."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from vya_backupd.dumpfile.reading import WRONG, moment, natural, record_of, seconds, text
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import SchemaInfo


@dataclass(frozen=True, slots=True)
class Closing:
    """What only the end of a dump knows, and what a manifest made from the file alone needs."""

    finished_at: datetime
    duration_seconds: float
    schema_info: SchemaInfo = field(default_factory=SchemaInfo)
    tables: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seal:
    """Counts and digests over everything before the seal.

    ``members`` are those before the seal's own. ``labels_sha256`` is over all their headers in order; ``digest`` (hex,
    by ``algorithm``) over all their bytes, so that a file without a manifest can still prove itself.
    """

    members: int
    objects: int
    raw_bytes: int
    file_bytes: int
    rows: int | None
    tables: int
    tables_sha256: str
    labels_sha256: str
    algorithm: str
    digest: str
    finished_at: datetime
    duration_seconds: float
    schema_info: SchemaInfo
    warnings: tuple[str, ...]


def tables_digest(tables: Iterable[str]) -> str:
    """SHA-256 (hex) over the sorted names, each ended by a zero byte."""
    names = sorted(name.encode("utf-8", "surrogateescape") for name in tables)
    return hashlib.sha256(b"".join(name + b"\0" for name in names)).hexdigest()


def schema_info_of(record: dict[str, Any]) -> SchemaInfo:
    """Counts and digest of a record; WRONG where it is none."""
    digest = record["schema_hash"]
    return SchemaInfo(
        natural(record["tables_count"]),
        natural(record["views_count"]),
        natural(record["procedures_count"]),
        None if digest is None else text(digest),
    )


def encode_seal(seal: Seal) -> bytes:
    """The seal as compact JSON in ASCII."""
    record = asdict(seal)
    record["finished_at"] = seal.finished_at.isoformat()
    return json.dumps(record, separators=(",", ":")).encode("ascii")


def decode_seal(payload: bytes) -> Seal:
    """The seal of a payload; keys that a later release added are passed over.

    Raises:
        IntegrityError: it is not the JSON of a seal.
    """
    try:
        record = record_of(payload)
        return Seal(
            members=natural(record["members"]),
            objects=natural(record["objects"]),
            raw_bytes=natural(record["raw_bytes"]),
            file_bytes=natural(record["file_bytes"]),
            rows=None if record["rows"] is None else natural(record["rows"]),
            tables=natural(record["tables"]),
            tables_sha256=str(record["tables_sha256"]),
            labels_sha256=str(record["labels_sha256"]),
            algorithm=str(record["algorithm"]),
            digest=str(record["digest"]),
            finished_at=moment(record["finished_at"]),
            duration_seconds=seconds(record["duration_seconds"]),
            schema_info=schema_info_of(record["schema_info"]),
            warnings=tuple(str(warning) for warning in record["warnings"]),
        )
    except WRONG as error:
        raise IntegrityError(f"the file's seal cannot be read: {error!r}") from error
