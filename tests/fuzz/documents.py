"""Documents: manifests, credentials, configurations, lines of the audit."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.dumpfile.samples import build, manifest
from tests.fuzz.target import Target, seeds_of
from vya_backupd.config import credentials, load
from vya_backupd.config.keys import KeyMethod
from vya_backupd.dumpfile.manifest import decode_manifest, encode_manifest, manifest_from_fields
from vya_backupd.errors import ConfigError, IntegrityError, StorageError
from vya_backupd.observe.audit_chain import GENESIS, Head, parse, seal
from vya_backupd.observe.audit_file import AuditFile
from vya_backupd.panels.audit import Wanted, entries, verified

_JSON_WORDS = (
    b"null", b"true", b"-1", b"1e999", b"-Infinity", b"NaN", b'""', b"{}", b"[]", b"[" * 3000, b'{"a":' * 3000,
    b"9" * 5000, b'"\\ud800"', b'"\\u0000"', b"0.1", b'"2026-01-09T10:00:00"', b'"9999-12-31T23:59:59-23:59"',
)  # fmt: skip
_YAML_WORDS = (
    b"null", b"-1", b"1e999", b"[" * 3000, b"{" * 3000, b"- " * 3000, b"&a [*a, *a]", b"<<: *a", b"!!python/object:os.system x",
    b"\xef\xbb\xbf", b"\x00", b"? ", b"|\n", b"file:/dev/zero", b"env:HOME", b"fernet:gAAAAA", b"9" * 5000, b"../", b"{db_name}",
    b"Europe/../../etc", b"1h30m", b"\xd9\xa3",
)  # fmt: skip


def _manifest(data: bytes) -> None:
    """What is accepted says the same when it is written again. (Other keys may be in it: a later release's.)"""
    try:
        found = decode_manifest(data)
    except IntegrityError:
        pass
    else:
        assert decode_manifest(encode_manifest(found)) == found
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        found = manifest_from_fields(fields)
    except IntegrityError:
        return
    assert decode_manifest(encode_manifest(found)) == found


def _manifest_seeds() -> list[bytes]:
    return [encode_manifest(manifest(build()[1])), *seeds_of("*.metadata.json")]


class _Folder:
    """A private folder in memory for as long as the process lives; a file in it is rewritten for each input."""

    def __init__(self) -> None:
        shared = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(prefix="vya-fuzz-", dir=shared if shared.is_dir() else None)
        self.path = Path(self._folder.name)

    def write(self, name: str, data: bytes) -> Path:
        path = self.path / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path


def _in_folder(body: Callable[[_Folder, bytes], None]) -> Callable[[bytes], None]:
    made: list[_Folder] = []

    def run(data: bytes) -> None:
        if not made:
            made.append(_Folder())
        body(made[0], data)

    return run


PLAIN = {
    "version": "1.0",
    "encryption": {"method": "fernet", "key_derivation": "key-file"},
    "databases": [
        {
            "id": "prod-mysql-01",
            "enabled": True,
            "type": "mysql",
            "host": "db.example",
            "port": 3306,
            "username": "backup",
            "password": "pa\"ss'w\\ord",
            "database": "*",
            "exclude_databases": ["information_schema"],
            "ssl": {"enabled": True, "ca_cert": "ca.pem", "mode": "verify-full"},
        },
        {
            "id": "pg",
            "type": "postgresql",
            "socket": "/run/postgresql",
            "username": "u",
            "password": "p",
            "database": ["a", "b*"],
        },
    ],
}


def _credentials(folder: _Folder, data: bytes) -> None:
    """As it comes, as if it were encrypted already; and as plain text that is to be encrypted, read back the same."""
    place = credentials.Location(folder.path / "credentials.json", folder.path / "credentials.key")
    folder.write("credentials.key", b"q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\n")
    folder.write("credentials.json", data)
    with contextlib.suppress(ConfigError):
        credentials.read(place)
    try:
        written = credentials.encrypt(folder.write("plain.json", data), place, KeyMethod.KEY_FILE)
    except ConfigError:
        return
    assert credentials.read(place).instances == written.instances


def _config(folder: _Folder, data: bytes) -> None:
    """What is accepted can be shown, as JSON."""
    try:
        config = load.load(folder.write("config.yaml", data), {})
    except ConfigError:
        return
    json.dumps(load.show(config))


def _config_seeds() -> list[bytes]:
    examples = Path(__file__).parents[2] / "config"
    return [path.read_bytes() for path in sorted(examples.glob("*.y*ml"))] + seeds_of("*.yaml")


def _audit(folder: _Folder, data: bytes) -> None:
    """A line is taken, or is told to be none; also with a digest that is right. Files of them are shown and judged."""
    sealed = b'%b,"hash":"%b"}\n' % (data, hashlib.sha256(data).hexdigest().encode())
    for line in (data, sealed):
        try:
            found = parse(line)
        except ValueError:
            continue
        assert len(found.hash) == 64
    path = folder.write("audit.log", sealed + data)
    packed = folder.write("audit.log.1.gz", data if data[:2] == b"\x1f\x8b" else gzip.compress(data, 1, mtime=0))
    wanted = Wanted(since=datetime(2026, 1, 1, tzinfo=UTC), actor="a", kind="backup.*")
    for paths in ([path], [packed, path]):
        with contextlib.suppress(StorageError):
            assert verified(paths, Head(2, GENESIS, 2, ""), None)["lines"] >= 1
    for each in (Wanted(), wanted):
        with contextlib.suppress(StorageError):
            json.dumps(entries(path, each, None))
    file = AuditFile(path, lambda: "2026-01-09T10:00:00Z")
    file.recover(Head(1, GENESIS, 1, ""))
    file.close()


def _audit_seeds() -> list[bytes]:
    line, _ = seal(Head(), 1, {"event": "backup.finished", "actor": "a"}, opened="2026-01-09T10:00:00Z")
    return [
        line,
        line.rpartition(b',"hash"')[0],
        b'{"seq":1,"event":1,"catalog":"","prev":"' + GENESIS.encode() + b'","entry":{}',
    ]


TARGETS = (
    Target("manifest", _manifest, _manifest_seeds, _JSON_WORDS, examples=150),
    Target("credentials", _in_folder(_credentials), lambda: [json.dumps(PLAIN).encode()], _JSON_WORDS, examples=150),
    Target("config", _in_folder(_config), _config_seeds, _YAML_WORDS, examples=40),
    Target("audit", _in_folder(_audit), _audit_seeds, _JSON_WORDS, examples=100),
)
