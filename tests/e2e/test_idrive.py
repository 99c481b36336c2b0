"""A sync client sees whole files and nothing else, whatever happens to the daemon; status says what it has yet to take."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

_WATCHER = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
root = sys.argv[1]
fd = libc.inotify_init()
CREATE, MOVED_TO, MODIFY = 0x100, 0x80, 0x2
places = {}

def watch(folder):
    places[libc.inotify_add_watch(fd, os.fsencode(folder), CREATE | MOVED_TO | MODIFY)] = folder
    for entry in os.scandir(folder):
        seen(entry.path, "appeared")

told = set()

def seen(path, what):
    if os.path.isdir(path):
        watch(path)
    elif (path, what) not in told:
        told.add((path, what))
        print(what, path, flush=True)

watch(root)
print("watching", root, flush=True)
while True:
    data, at = os.read(fd, 1 << 16), 0
    while at < len(data):
        place, mask, _, size = struct.unpack_from("iIII", data, at)
        name = data[at + 16 : at + 16 + size].rstrip(b"\\0").decode()
        seen(os.path.join(places[place], name), "changed" if mask & MODIFY else "appeared")
        at += 16 + size
"""


@contextmanager
def watched(folder: Path, log: Path) -> Iterator[None]:
    """Another process notes every file that appears below the folder, and every write into one."""
    with log.open("wb") as out:
        watcher = subprocess.Popen([sys.executable, "-c", _WATCHER, str(folder)], stdout=out)
    try:
        until(lambda: "watching" in log.read_text())
        yield
    finally:
        watcher.kill()
        watcher.wait()


def _appeared(log: Path) -> list[str]:
    return [line.split(" ", 1)[1] for line in log.read_text().splitlines() if line.startswith("appeared ")]


def _prove_whole(folder: Path) -> int:
    """Every manifest there has its data and checksum, and the data is what they say. Returns how many."""
    manifests = list(folder.rglob("*.metadata.json"))
    for manifest in manifests:
        facts = json.loads(manifest.read_text())["file_info"]
        data = manifest.with_name(facts["filename"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == facts["checksum"]
        assert facts["checksum"] in manifest.with_name(facts["filename"] + ".sha256").read_text()
    return len(manifests)


@pytest.fixture
def served(any_postgresql: PrivateServer, fresh_name: str) -> Iterator[PrivateServer]:
    any_postgresql.create_database(fresh_name)
    any_postgresql.sql("create table t as select md5(i::text) as a from generate_series(1, 5000) i", fresh_name)
    yield any_postgresql
    any_postgresql.drop_database(fresh_name)


def _product(root: Path, server: PrivateServer, database: str, sync: Path, **environ: str) -> Product:
    idrive: dict[str, Any] = {"enabled": True, "sync_folder": str(sync), "sync_mark": str(root / "mark")}
    config = {"storage": {"idrive": idrive}}
    return Product(
        root, [instance(server, "one", database=[database])], servers=[server], config=config, environ=environ
    )


@pytest.mark.parametrize(
    ("where", "points"),
    [("sync", ("backup.dumping", "store.placed", "store.manifest")), ("backups", ("store.placed",))],
)
def test_only_finished_files_appear_while_the_daemon_is_killed_at_each_step(
    served: PrivateServer, fresh_name: str, tmp_path: Path, where: str, points: tuple[str, ...]
) -> None:
    sync = tmp_path / where
    sync.mkdir()
    faults = tmp_path / "faults"
    product = _product(tmp_path, served, fresh_name, sync, VYA_FAULTS=f"@{faults}")
    with product:
        assert product.ctl("backup").code == 0
    log = tmp_path / "watched"
    with watched(sync, log):
        for point in points:
            product.start()
            faults.write_text(f"{point}=kill")
            product.ctl("backup", "--no-wait")  # which may not get its answer any more
            assert product.process.wait() == -signal.SIGKILL
            faults.unlink()
        product.start()
        assert product.ctl("backup").code == 0
        until(lambda: set(_files(sync)) == set(_files(product.base_path)))
    appeared = [path for path in _appeared(log) if not path.endswith(".probe")]
    assert [path for path in appeared if not path.endswith((".sql.gz", ".sha256", ".metadata.json"))] == []
    assert len(appeared) >= 6 * len(points)
    assert "changed " not in "".join(line for line in log.read_text().splitlines(True) if ".probe" not in line)
    assert _prove_whole(sync) == len(product.ok("backups", "list")["backups"]) >= 4
    product.stop()


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_status_counts_what_is_younger_than_the_mark_and_deleting_takes_the_links_away(
    served: PrivateServer, fresh_name: str, tmp_path: Path
) -> None:
    with _product(tmp_path, served, fresh_name, tmp_path / "sync") as product:
        made = product.ok("backup")["backups"]
        before = product.ok("status")["sync"]
        assert (before["waiting_files"], before["linked"], before["synced_at"]) == (len(made), True, None)
        assert before["waiting_bytes"] == sum(each["size_bytes"] for each in made)
        (tmp_path / "mark").touch()
        assert product.ok("status")["sync"]["waiting_files"] == 0
        again = product.ok("backup", "--database", fresh_name)["backups"]
        newest = max(os.stat(path).st_mtime for path in product.files())
        assert product.ok("status")["sync"]["waiting_files"] == len(again)
        os.utime(tmp_path / "mark", (newest + 1, newest + 1))
        shown = product.ctl("status").out
        assert f"{tmp_path / 'sync'}: 0 files" in shown
        for each in made:
            product.ok("backups", "delete", each["id"], "--yes")
        assert _files(tmp_path / "sync") == _files(product.base_path)
        assert _prove_whole(tmp_path / "sync") == len(again)


def test_a_sync_folder_that_refuses_degrades_until_it_is_caught_up(
    served: PrivateServer, fresh_name: str, tmp_path: Path
) -> None:
    with _product(tmp_path, served, fresh_name, tmp_path / "sync") as product:
        assert product.ctl("backup").code == 0
        assert product.get("/health")[0] == 200
        product.stop()
        (tmp_path / "sync").rename(tmp_path / "moved")
        (tmp_path / "sync").mkdir()
        (tmp_path / "sync" / "testhost").write_text("in the way")
        product.start()
        until(lambda: product.get("/health")[0] == 503)
        (reason,) = json.loads(product.get("/health")[1])["reasons"]
        assert "missing in the sync folder" in reason
        assert product.ctl("backup").code == 0
        product.stop()
        (tmp_path / "sync" / "testhost").unlink()
        product.start()
        until(lambda: set(_files(tmp_path / "sync")) == set(_files(product.base_path)))
        until(lambda: product.get("/health")[0] == 200)


def test_a_sync_folder_that_holds_partial_files_is_refused(
    any_postgresql: PrivateServer, fresh_name: str, tmp_path: Path
) -> None:
    product = _product(tmp_path, any_postgresql, fresh_name, tmp_path)
    refused = product.ctl("config", "validate")
    assert refused.code == 78
    assert "unfinished files would be uploaded" in refused.err
