"""The manifest: there and back, and no flipped bit unseen."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.dumpfile import samples
from vya_backupd.dumpfile.manifest import (
    checksum_line,
    decode_manifest,
    encode_manifest,
    human_size,
    manifest_from_json,
    manifest_to_json,
)
from vya_backupd.errors import IntegrityError
from vya_backupd.model.backup import Hold, Manifest, Proof


def made() -> Manifest:
    manifest = samples.manifest(samples.build()[1])
    hold = Hold("audit é", "ana", samples.MOMENT, datetime(2027, 1, 1, tzinfo=UTC))
    return replace(manifest, proof=Proof.VERIFIED, verified_at=samples.MOMENT, hold=hold)


def test_there_and_back() -> None:
    for manifest in (made(), replace(made(), hold=None, verified_at=None)):
        assert decode_manifest(encode_manifest(manifest)) == manifest
        assert manifest_from_json(json.loads(json.dumps(manifest_to_json(manifest)))) == manifest


def test_what_could_not_be_read_again_is_not_written() -> None:
    for wrong in (replace(made(), duration_seconds=-1.0), replace(made(), hold=Hold("\udcff", "ana", samples.MOMENT))):
        with pytest.raises(IntegrityError, match="the manifest is damaged"):
            encode_manifest(wrong)


def test_promised_blocks() -> None:
    record = manifest_to_json(made())
    assert record["version"] == "2.0.0"
    assert record["backup_info"] == {
        "database_id": "prod-pg-01",
        "database_name": 'shöp "1"',
        "database_type": "postgresql",
        "hostname": "host-1",
        "backup_type": "full",
        "timestamp": "2026-01-09T10:00:00+00:00",
        "duration_seconds": 1.5,
        "status": "success",
    }
    assert record["schema_info"]["tables_count"] == 2


def test_every_flipped_bit_is_found() -> None:
    data = encode_manifest(made())
    for at in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[at] ^= 1 << bit
            with pytest.raises(IntegrityError) as caught:
                decode_manifest(bytes(broken))
            assert caught.value.code == "damaged_manifest"


def test_cut_manifests_are_found() -> None:
    data = encode_manifest(made())
    for size in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(IntegrityError):
            decode_manifest(data[:size])


def test_a_missing_field_is_damage_and_a_new_one_is_not() -> None:
    record = manifest_to_json(made())
    with pytest.raises(IntegrityError):
        manifest_from_json({**record, "members": 3})
    with pytest.raises(IntegrityError):
        manifest_from_json({})


@pytest.mark.parametrize("name", ["plain.sql.gz", "with space.sql.gz", "back\\slash.gz", "new\nline.gz"])
def test_sha256sum_accepts_the_checksum_line(tmp_path: Path, name: str) -> None:
    data, writer = samples.build()
    (tmp_path / name).write_bytes(data)
    line = checksum_line(replace(samples.manifest(writer), filename=name))
    (tmp_path / "sums").write_text(line)
    subprocess.run(["sha256sum", "-c", "sums"], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")])
def test_human_size(size: int, text: str) -> None:
    assert human_size(size) == text
