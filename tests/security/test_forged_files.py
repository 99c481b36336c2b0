"""Files that lie in every place in which a file can: refused as damage, quickly, in bounded memory."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.dumpfile.samples import facts
from tests.security.forge import GZIP, ZSTD, bomb, facts_member, member, whole
from tests.storage.samples import CODEC
from vya_backupd.dumpfile.facts import facts_from_json, facts_to_json
from vya_backupd.dumpfile.label import LARGEST_SEGMENT, Label, MemberKind
from vya_backupd.dumpfile.manifest import decode_manifest, encode_manifest, manifest_to_json
from vya_backupd.dumpfile.reader import describe
from vya_backupd.dumpfile.seal import decode_seal
from vya_backupd.engines.postgresql_sql import create_database
from vya_backupd.errors import IntegrityError, NotFoundError, UsageError, VyaError
from vya_backupd.model.backup import Section
from vya_backupd.model.instance import EngineKind, ServerFacts
from vya_backupd.pipeline.files import open_source, read_companion
from vya_backupd.pipeline.foreign import foreign_text
from vya_backupd.pipeline.verify import verify
from vya_backupd.storage.local import LocalStore

END = b"--\n-- PostgreSQL database dump complete\n--\n"


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture
def bounded() -> Iterator[None]:
    """The test may take 256 MiB of memory beyond what the process had, and five seconds of one core."""
    page, began = resource.getpagesize(), time.process_time()
    before = int(Path("/proc/self/statm").read_text().split()[0]) * page
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (before + (256 << 20), old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
    assert time.process_time() - began < 5


def described(data: bytes) -> Any:
    return describe(lambda at, size: data[at : at + size], len(data), "x.sql.gz", "")


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("codec", [GZIP, ZSTD])
@pytest.mark.parametrize("said", [1 << 20, LARGEST_SEGMENT, 160 << 20, 0xFFFFFFFF])
async def test_what_inflates_to_more_than_its_label_says_is_never_inflated(
    tmp_path: Path, pool: ThreadPoolExecutor, codec: Any, said: int
) -> None:
    file = tmp_path / "bomb.sql.gz"
    file.write_bytes(bomb(192 << 20, said, codec))
    assert file.stat().st_size < 1 << 20
    with pytest.raises(IntegrityError, match="damaged at byte"):
        await verify(file, pool)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("codec", [GZIP, ZSTD])
@pytest.mark.parametrize("size", [0, 1, 43, 1 << 31])
def test_a_label_that_leads_back_to_itself_or_nowhere_is_damage(codec: Any, size: int) -> None:
    start = facts_member(codec=codec)
    more = Label(Section.DATA, 0, 0, 0)
    data = start + member(more, b"", name="t", codec=codec) + member(more, b"", size=size, codec=codec) + bytes(99)
    with pytest.raises(IntegrityError):
        described(data)


@pytest.mark.usefixtures("bounded")
def test_facts_without_an_end_are_given_up() -> None:
    label = Label(Section.HEADER, 0, 0, 0, kind=MemberKind.FACTS, continues=True)
    going_on = Label(Section.HEADER, 0, 0, 0, kind=MemberKind.FACTS, continues=True, continued=True)
    one = member(going_on, GZIP.EMPTY, payload=b" " * 60_000)
    data = member(label, GZIP.EMPTY, payload=b" " * 60_000) + one * 1_000
    with pytest.raises(IntegrityError, match="larger than"):
        described(data)


@pytest.mark.usefixtures("bounded")
def test_thousands_of_members_of_nothing_cost_little() -> None:
    empty = Label(Section.DATA, 0, 0, 0)
    data = facts_member() + member(empty, b"", name="t") + member(empty, b"") * 25_000
    with pytest.raises(IntegrityError, match="without a seal"):
        described(data)


NESTED = b"[" * 30_000 + b"]" * 30_000
DEEP_OBJECT = b'{"a":' * 10_000 + b"1" + b"}" * 10_000


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("payload", [NESTED, DEEP_OBJECT, b"", b"null", b"[]", b"\xff\xfe", b"9" * 50_000])
def test_json_that_is_none_or_too_deep_is_damage(payload: bytes) -> None:
    with pytest.raises(IntegrityError):
        described(facts_member(lambda _: payload))
    with pytest.raises(IntegrityError):
        decode_seal(payload)
    with pytest.raises(IntegrityError, match="manifest is damaged"):
        decode_manifest(payload)


LIES: dict[str, list[Any]] = {
    "taken_at": ["2026-01-09T10:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 5, None, ""],
    "started_at": ["2026-01-09", []],
    "compression_level": [float("inf"), float("nan"), -1, 1 << 70, "x", None],
    "streams": [float("inf"), -7],
    "id": ["\ud800", "a\0b"],
    "database": ["\udfff"],
    "hostname": ["\0"],
    "engine": ["oracle", {}],
    "codec": ["lz4", []],
    "properties": [[], "x", 7],
    "database_sql": [7, None],
}


@pytest.mark.parametrize(("key", "lie"), [(key, lie) for key, lies in LIES.items() for lie in lies])
def test_a_fact_that_is_none_is_damage_in_file_and_manifest(key: str, lie: Any) -> None:
    record = facts_to_json(facts()) | {key: lie}
    with pytest.raises(IntegrityError, match="facts cannot be read"):
        facts_from_json(json.loads(json.dumps(record)))


@pytest.mark.parametrize(
    ("path", "lie"),
    [
        (("file_info", "size_bytes"), -1),
        (("file_info", "size_bytes"), 1 << 64),
        (("file_info", "checksum_algorithm"), "../../../etc/x"),
        (("raw_size_bytes",), float("inf")),
        (("backup_info", "duration_seconds"), float("nan")),
        (("finished_at",), "2026-01-09T10:00:00"),
        (
            ("extents",),
            [{"section": "data", "name": "t", "offset": -5, "size": 1, "raw_size": 1, "rows": None, "segments": 1}],
        ),
        (("hold",), {"note": "x", "by": "y", "at": "2026-01-09T10:00:00", "until": None}),
        (("schema_info",), {"tables_count": 1}),
    ],
)
def test_a_manifest_whose_digest_is_right_and_whose_values_are_none(path: tuple[str, ...], lie: Any) -> None:
    record = manifest_to_json(described(whole((Section.DATA, "t", b"x\n"))))
    *above, last = path
    inner = record
    for key in above:
        inner = inner[key]
    inner[last] = lie
    with pytest.raises(IntegrityError, match="manifest is damaged"):
        decode_manifest(_sealed(record))


def _sealed(record: dict[str, Any]) -> bytes:
    """The bytes of a manifest as its writer would have written them, digest and all."""
    from vya_backupd.dumpfile import manifest

    record["manifest_digest"] = manifest._digest(record)
    return manifest._layout(record)


def test_two_seals_two_files_in_one_and_trailing_bytes() -> None:
    good = whole((Section.DATA, "t", b"x\n"))
    described(good)
    for more in (good, b"\0", b"\n", facts_member(), good[-200:], b"\x1f\x8b\x08\x00" + bytes(30)):
        with pytest.raises(IntegrityError):
            described(good + more)


@pytest.mark.parametrize("wanted", ["socket", "fifo", "directory", "device"])
@pytest.mark.usefixtures("bounded")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, wanted: str) -> None:
    import socket as sockets

    path = tmp_path / "x.sql.gz"
    with sockets.socket(sockets.AF_UNIX) as made:
        match wanted:
            case "fifo":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "socket":
                made.bind(str(path))
            case "device":
                path = Path("/dev/zero")
        with pytest.raises(NotFoundError) as told, open_source(path):
            pass
    assert told.value.code == "file_not_found"


@pytest.mark.usefixtures("bounded")
def test_a_manifest_that_is_a_pipe_or_has_no_end_is_no_trouble(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "backups", CODEC)
    store.prepare()
    data = store.base_path / "a.sql.gz"
    data.write_bytes(b"x")
    beside = data.with_name("a.sql.gz.metadata.json")
    with beside.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(IntegrityError, match="so large"):
        store.read_manifest("a.sql.gz")
    with pytest.raises(IntegrityError, match="so large"):
        read_companion(beside, 1 << 20)
    assert [type(entry).__name__ for entry in store.list()] == ["Damaged"]
    beside.unlink()
    os.mkfifo(beside)
    with pytest.raises(VyaError):
        store.read_manifest("a.sql.gz")
    assert [type(entry).__name__ for entry in store.list()] == ["Orphan"]


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "sub/a.sql.gz", "b.sql.gz", ".", ""])
def test_a_manifest_that_points_elsewhere_is_damaged(tmp_path: Path, name: str) -> None:
    store = LocalStore(tmp_path / "backups", CODEC)
    store.prepare()
    (store.base_path / "a.sql.gz").write_bytes(b"x")
    from dataclasses import replace

    described_elsewhere = replace(described(whole((Section.DATA, "t", b"x\n"))), filename=name)
    (store.base_path / "a.sql.gz.metadata.json").write_bytes(encode_manifest(described_elsewhere))
    with pytest.raises(IntegrityError):
        store.read_manifest("a.sql.gz")
    with pytest.raises(ValueError, match="cannot describe"):
        store.adopt("a.sql.gz", described_elsewhere)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.usefixtures("bounded")
def test_a_foreign_bomb_passes_in_small_pieces(tmp_path: Path, codec: str) -> None:
    import zlib

    import zstandard

    file = tmp_path / "bomb"
    chunk, count = bytes(1 << 20), 128
    machine: Any = zlib.compressobj(1, wbits=31) if codec == "gzip" else zstandard.ZstdCompressor().compressobj()
    file.write_bytes(b"".join(machine.compress(chunk) for _ in range(count)) + machine.flush())
    with open_source(file) as source:
        sizes = [len(text) for text, _ in foreign_text(source)]
    assert sum(sizes) == len(chunk) * count
    assert max(sizes) <= {"gzip": 2 << 20, "zstd": 64 << 20}[codec]


@pytest.mark.parametrize("provider", ["libc; DROP DATABASE prod; --", "icu'", "LIBC"])
def test_a_recorded_provider_cannot_become_sql(provider: str) -> None:
    server = ServerFacts(EngineKind.POSTGRESQL, (18, 0), "18.0", is_superuser=True)
    with pytest.raises(UsageError, match="no locale provider"):
        create_database("x", {"locale_provider": provider}, server)
