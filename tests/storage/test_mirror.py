"""The folder that a sync tool watches: whole files only, in step with the store, and nothing of other people's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.storage.contract import StoreContract
from tests.storage.samples import CODEC, PATH, manifest_for, publish
from vya_backupd.errors import ConfigError
from vya_backupd.model.backup import Proof
from vya_backupd.storage.base import MANIFEST_SUFFIX
from vya_backupd.storage.local import LocalStore
from vya_backupd.storage.mirror import MirroredStore


def make(path: Path) -> MirroredStore:
    return MirroredStore(path / "backups", CODEC, sync_folder=path / "sync")


@pytest.fixture
def store(tmp_path: Path) -> MirroredStore:
    store = make(tmp_path)
    store.prepare()
    return store


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[[], LocalStore]:
    return lambda: make(tmp_path)


class TestContract(StoreContract):
    """A mirrored store is a store."""


def below(folder: Path) -> dict[str, int]:
    """The files of a folder, each with the number of its inode."""
    return {str(each.relative_to(folder)): each.stat().st_ino for each in folder.rglob("*") if each.is_file()}


async def test_the_folder_shows_what_the_store_has_and_shares_its_bytes(store: MirroredStore, tmp_path: Path) -> None:
    first = await publish(store)
    second = await publish(store, b"other", manifest=manifest_for(b"other", "b2"))
    shown = below(tmp_path / "sync")
    assert shown == below(tmp_path / "backups")
    assert set(shown) == {
        f"{each.path}{suffix}" for each in (first, second) for suffix in ("", ".sha256", MANIFEST_SUFFIX)
    }
    store.rewrite_manifest(first, replace(first.manifest, proof=Proof.VERIFIED))
    assert below(tmp_path / "sync") == below(tmp_path / "backups")
    store.delete(first)
    store.delete(second)
    assert list((tmp_path / "sync").iterdir()) == []
    assert store.mirror.failures == 0


async def test_what_a_crash_left_out_is_made_good_and_what_others_put_there_stays(
    store: MirroredStore, tmp_path: Path
) -> None:
    stored = await publish(store)
    for path in sorted((tmp_path / "sync").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "sync" / "note.txt").write_text("of somebody else")
    (tmp_path / "sync" / "old.sql.gz").write_text("of an earlier time")
    again = make(tmp_path)
    again.prepare()
    compared = again.mirror.compare()
    assert (compared.renewed, compared.strays) == (1, 1)
    assert again.mirror.compare().renewed == 0
    assert below(tmp_path / "sync").keys() == below(tmp_path / "backups").keys() | {"note.txt", "old.sql.gz"}
    (tmp_path / "backups" / stored.path).unlink()  # by another hand: the link may be the last copy
    again.mirror.compare()
    assert (tmp_path / "sync" / stored.path).read_bytes() == b"data"


async def test_a_folder_that_refuses_fails_no_backup_and_is_caught_up_with(
    store: MirroredStore, tmp_path: Path
) -> None:
    (tmp_path / "sync" / "site").write_text("in the way")
    stored = await publish(store)
    assert list(store.list()) == [stored]
    assert (store.mirror.failures, store.mirror.behind) == (1, True)
    (tmp_path / "sync" / "site").unlink()
    assert store.mirror.compare().renewed == 1
    assert not store.mirror.behind
    assert below(tmp_path / "sync") == below(tmp_path / "backups")


async def test_a_comparison_does_not_bring_back_what_is_being_deleted(store: MirroredStore, tmp_path: Path) -> None:
    stored = await publish(store)
    with store.mirror.leaving(stored.path):
        store.mirror.compare()
        assert below(tmp_path / "sync") == {}
    store.mirror.compare()
    assert below(tmp_path / "sync") == below(tmp_path / "backups")


@pytest.mark.parametrize("folder", ["backups", "backups/inside", ".", ".backups.partial"])
def test_folders_inside_each_other_are_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ConfigError) as refused:
        MirroredStore(tmp_path / "backups", CODEC, sync_folder=tmp_path / folder).prepare()
    assert refused.value.code == "storage_layout"


def test_a_folder_on_another_mount_is_refused(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    folder = elsewhere / f"vya-sync-{os.getpid()}-{threading.get_ident()}"
    try:
        with pytest.raises(ConfigError, match="cannot be linked") as refused:
            MirroredStore(tmp_path / "backups", CODEC, sync_folder=folder).prepare()
        assert refused.value.code == "storage_layout"
        assert list(folder.iterdir()) == []
    finally:
        folder.rmdir()


_CRASHING = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.storage.samples import CODEC, PATH, publish
from vya_backupd.model.backup import StoredBackup
from vya_backupd.storage import mirror

folder, what, turn = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = mirror.MirroredStore(folder / "backups", CODEC, sync_folder=folder / "sync")
store.prepare()
real_link, real_unlink, calls = os.link, mirror.tree.unlink_if_there, []

def passed(real):
    def call(*arguments, **options):
        calls.append(1)
        if len(calls) == turn:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

os.link, mirror.tree.unlink_if_there = passed(real_link), passed(real_unlink)
if what == "publish":
    asyncio.run(publish(store, b"whole " * 1000))
else:
    store.delete(StoredBackup(store.read_manifest(PATH), PATH))
"""


def _crash(folder: Path, what: str, turn: int) -> int:
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", _CRASHING, str(folder), what, str(turn)], cwd=root).returncode


@pytest.mark.parametrize("turn", range(1, 8))
async def test_killed_between_any_two_links_the_next_start_agrees(tmp_path: Path, turn: int) -> None:
    ended = _crash(tmp_path, "publish", turn)
    assert ended == (-9 if turn <= 6 else 0)
    shown = below(tmp_path / "sync")
    assert all((tmp_path / "sync" / path).read_bytes() for path in shown)
    if any(path.endswith(MANIFEST_SUFFIX) for path in shown):
        assert len(shown) == 3
    store = make(tmp_path)
    store.prepare()
    store.mirror.compare()
    if (tmp_path / "backups" / (PATH + MANIFEST_SUFFIX)).exists():
        assert below(tmp_path / "sync") == below(tmp_path / "backups")
    else:
        assert below(tmp_path / "sync") == {}


@pytest.mark.parametrize("turn", [1, 3, 5, 7])
async def test_killed_while_deleting_nothing_stays_that_the_store_lacks(tmp_path: Path, turn: int) -> None:
    first = make(tmp_path)
    first.prepare()
    await publish(first)
    assert _crash(tmp_path, "delete", turn) == -9
    store = make(tmp_path)
    store.prepare()
    store.finish_tombstones()
    store.mirror.compare()
    assert below(tmp_path / "sync") == below(tmp_path / "backups")
    assert store.mirror.compare().strays == 0


@pytest.fixture(autouse=True)
def _no_leftovers(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.glob("sync/.vya-*"))
