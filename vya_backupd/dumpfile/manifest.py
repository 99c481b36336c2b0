"""The manifest as JSON: ``.metadata.json`` beside each backup file, for people, tools and speed.

The blocks ``backup_info``, ``file_info`` and ``schema_info`` are what existing tools read. All else is ours. The digest
in ``manifest_digest`` covers every other key; ``decode_manifest`` also insists on the very bytes that
``encode_manifest`` would have written, so that a flipped bit is found wherever it is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import datetime
from json.encoder import encode_basestring_ascii
from typing import Any

from vya_backupd.dumpfile.facts import ALGORITHMS, facts_from_json, facts_to_json
from vya_backupd.dumpfile.reading import WRONG, moment, natural, seconds, text
from vya_backupd.dumpfile.seal import schema_info_of
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Extent, Hold, Manifest, Proof, Section

MANIFEST_VERSION = "2.0.0"
LARGEST = 1 << 28
"""Bytes of a manifest that anybody reads: some millions of extents."""
_DIGEST = "manifest_digest"
_HINT = "`vyactl catalog rebuild` makes a new manifest from the backup file."


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values, with its own digest."""
    record = manifest_to_fields(manifest)
    record[_DIGEST] = _digest(record)
    return record


def manifest_to_fields(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values, without a digest: for whoever looks after the bytes by other means."""
    facts = manifest.facts
    return {
        "version": MANIFEST_VERSION,
        "backup_info": {
            "database_id": facts.instance,
            "database_name": facts.database,
            "database_type": facts.engine.value,
            "hostname": facts.hostname,
            "backup_type": facts.type.value,
            "timestamp": facts.taken_at.isoformat(),
            "duration_seconds": manifest.duration_seconds,
            "status": "success",
        },
        "file_info": {
            "filename": manifest.filename,
            "size_bytes": manifest.size_bytes,
            "size_human": human_size(manifest.size_bytes),
            "compression_level": facts.compression_level,
            "checksum_algorithm": manifest.checksum_algorithm,
            "checksum": manifest.checksum,
        },
        "schema_info": asdict(manifest.schema_info),
        "proof": manifest.proof.value,
        "verified_at": _time(manifest.verified_at),
        "hold": _hold_to_json(manifest.hold),
        "finished_at": manifest.finished_at.isoformat(),
        "raw_size_bytes": manifest.raw_size_bytes,
        "members": manifest.members,
        "warnings": list(manifest.warnings),
        "facts": facts_to_json(facts),
        "extents": [_extent_to_json(extent) for extent in manifest.extents],
    }


def manifest_from_json(record: dict[str, Any]) -> Manifest:
    """The manifest of JSON values; keys that a later release added are passed over.

    Raises:
        IntegrityError: ``damaged_manifest``: its digest is wrong, or a field is missing or no sense.
    """
    if not isinstance(record, dict) or record.get(_DIGEST) != _digest(record):
        raise _damaged("its digest does not fit its content")
    return manifest_from_fields(record)


def manifest_from_fields(record: dict[str, Any]) -> Manifest:
    """The manifest of JSON values that nobody can have changed; a digest among them is not looked at.

    Raises:
        IntegrityError: ``damaged_manifest``: a field is missing or no sense.
    """
    try:
        return _read(record)
    except IntegrityError as error:
        raise _damaged(error.message) from error
    except WRONG as error:
        raise _damaged(repr(error)) from error


def encode_manifest(manifest: Manifest) -> bytes:
    """The file ``.metadata.json``, to the byte.

    Raises:
        IntegrityError: ``damaged_manifest``: it would not be read as it was written, so it must not take any place.
    """
    data = _layout(manifest_to_json(manifest))
    if decode_manifest(data) != manifest:
        raise _damaged("it would not be read as it was written")
    return data


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in the bytes of a ``.metadata.json``.

    Raises:
        IntegrityError: ``damaged_manifest``: not one byte of it may differ from what was written.
    """
    try:
        record = json.loads(data)
        is_ours = isinstance(record, dict) and _layout(record) == data
    except WRONG as error:
        raise _damaged(f"it is not JSON: {error}") from error
    if not is_ours:
        raise _damaged("its bytes are not those that were written")
    return manifest_from_json(record)


def checksum_line(manifest: Manifest) -> str:
    """The content of the checksum file, as ``sha256sum -c`` or ``md5sum -c`` read it."""
    name = manifest.filename
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "" if escaped == name else "\\"
    return f"{mark}{manifest.checksum}  {escaped}\n"


def human_size(size: int) -> str:
    """A size for people: ``1.4 GiB``."""
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def _layout(record: dict[str, Any]) -> bytes:
    return (_indented(record, "\n") + "\n").encode("ascii")


def _indented(value: Any, line: str) -> str:
    """As ``json.dumps(value, indent=1)``, which is written in Python for whoever wants lines, and five times as slow.

    ``line`` ends a line and begins the next one at the depth of ``value`` itself.
    """
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if type(value) is int:
        return int.__repr__(value)
    if not value or not isinstance(value, (dict, list, tuple)):
        return json.dumps(value)
    deeper = line + " "
    if isinstance(value, dict):
        parts = [f"{encode_basestring_ascii(key)}: {_indented(each, deeper)}" for key, each in value.items()]
        return f"{{{deeper}{f',{deeper}'.join(parts)}{line}}}"
    return f"[{deeper}{f',{deeper}'.join([_indented(each, deeper) for each in value])}{line}]"


def _digest(record: dict[str, Any]) -> str:
    rest = {key: value for key, value in record.items() if key != _DIGEST}
    try:
        return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
    except WRONG:
        return ""


def _read(record: dict[str, Any]) -> Manifest:
    file_info = record["file_info"]
    return Manifest(
        facts=facts_from_json(record["facts"]),
        filename=text(file_info["filename"]),
        size_bytes=natural(file_info["size_bytes"]),
        raw_size_bytes=natural(record["raw_size_bytes"]),
        members=natural(record["members"]),
        checksum_algorithm=_algorithm(file_info["checksum_algorithm"]),
        checksum=text(file_info["checksum"]),
        duration_seconds=seconds(record["backup_info"]["duration_seconds"]),
        finished_at=moment(record["finished_at"]),
        schema_info=schema_info_of(record["schema_info"]),
        extents=tuple(_extent_from_json(extent) for extent in record["extents"]),
        warnings=tuple(str(warning) for warning in record["warnings"]),
        proof=Proof(record["proof"]),
        verified_at=_moment(record["verified_at"]),
        hold=_hold_from_json(record["hold"]),
    )


def _algorithm(name: Any) -> str:
    """It becomes the ending of a file's name, so it is one of those that are known."""
    if name not in ALGORITHMS:
        raise ValueError(f"{name!r} is no hash that is known")
    return str(name)


def _extent_to_json(extent: Extent) -> dict[str, Any]:
    span = {} if extent.span is None else {"span": extent.span}
    return {
        "section": extent.section.name.lower(),
        "name": extent.name,
        "offset": extent.offset,
        "size": extent.size,
        "raw_size": extent.raw_size,
        "rows": extent.rows,
        "segments": extent.segments,
        **span,
    }


def _extent_from_json(record: dict[str, Any]) -> Extent:
    return Extent(
        section=Section[str(record["section"]).upper()],
        name=str(record["name"]),
        offset=natural(record["offset"]),
        size=natural(record["size"]),
        raw_size=natural(record["raw_size"]),
        rows=None if record["rows"] is None else natural(record["rows"]),
        segments=natural(record["segments"]),
        span=None if "span" not in record else natural(record["span"]),
    )


def _hold_to_json(hold: Hold | None) -> dict[str, Any] | None:
    if hold is None:
        return None
    return {"note": hold.note, "by": hold.by, "at": hold.at.isoformat(), "until": _time(hold.until)}


def _hold_from_json(record: dict[str, Any] | None) -> Hold | None:
    if record is None:
        return None
    return Hold(text(record["note"]), text(record["by"]), moment(record["at"]), _moment(record["until"]))


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _moment(value: str | None) -> datetime | None:
    return None if value is None else moment(value)


def _damaged(what: str) -> IntegrityError:
    return IntegrityError(f"the manifest is damaged: {what}", code="damaged_manifest", hint=_HINT)
