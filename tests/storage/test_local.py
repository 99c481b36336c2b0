"""The local store beyond the contract: modes, links, orphans, leftovers, other people's files."""

import asyncio
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.storage.contract import StoreContract
from tests.storage.samples import CODEC, PATH, manifest_for, publish, renamed
from vya_backupd.errors import BusyError, ConfigError, NotFoundError, StorageError
from vya_backupd.model.backup import BackupType, StoredBackup
from vya_backupd.storage.base import Damaged, Orphan, Tombstone
from vya_backupd.storage.local import LocalStore
from vya_backupd.storage.placing import Placement


def make(path: Path, **options: object) -> LocalStore:
    return LocalStore(path / "backups", CODEC, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = make(tmp_path)
    store.prepare()
    return store


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[[], LocalStore]:
    return lambda: make(tmp_path)


def files_below(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*") if not each.is_dir())


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestContract(StoreContract):
    """By hard links, as on every common file system."""


class TestContractByRename(StoreContract):
    """By RENAME_NOREPLACE, as where there are no hard links."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        store = make(tmp_path)
        store.prepare()
        store._placement = Placement.RENAME
        return store


async def test_three_files_lie_there_and_nothing_is_left_in_the_temporary_folder(store: LocalStore) -> None:
    await publish(store)
    assert files_below(store.base_path) == [PATH, PATH + ".metadata.json", PATH + ".sha256"]
    assert files_below(store.temp_path) == []
    assert (store.base_path / PATH).stat().st_nlink == 1


async def test_sha256sum_accepts_the_checksum_file(store: LocalStore) -> None:
    await publish(store, os.urandom(100_000))
    folder = (store.base_path / PATH).parent
    done = subprocess.run(
        ["sha256sum", "-c", Path(PATH).name + ".sha256"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_checksum_files_can_be_left_out(tmp_path: Path) -> None:
    store = make(tmp_path, checksum_files=False)
    store.prepare()
    await publish(store)
    assert files_below(store.base_path) == [PATH, PATH + ".metadata.json"]


async def test_modes_keep_strangers_out_and_globals_to_the_owner(store: LocalStore) -> None:
    await publish(store)
    await publish(store, b"g", "site/g.sql.gz", manifest_for(b"g", "g", backup_type=BackupType.GLOBALS))
    for suffix in ("", ".sha256", ".metadata.json"):
        assert permissions(store.base_path / (PATH + suffix)) == 0o640
        assert permissions(store.base_path / ("site/g.sql.gz" + suffix)) == 0o600
    assert permissions(store.temp_path) == 0o700
    assert permissions(store.base_path / "site") & 0o007 == 0


async def test_a_partial_is_for_the_owner_alone(store: LocalStore) -> None:
    partial = await store.new_partial("b1")
    assert permissions(partial.path) == 0o600
    store.abort(partial)


async def test_a_symbolic_link_in_the_tree_leads_nowhere(store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "pg-01").mkdir(parents=True)
    (outside / "pg-01" / "stolen.sql.gz").write_bytes(b"secret")
    (store.base_path / "site").symlink_to(outside)
    partial = await store.new_partial("b1")
    with pytest.raises(StorageError) as caught:
        await store.publish(partial, PATH, manifest_for(b""))
    assert "symbolic links" in caught.value.hint
    with pytest.raises(StorageError):
        store.open_data("site/pg-01/stolen.sql.gz")
    assert list(store.list()) == []
    assert files_below(outside) == ["pg-01/stolen.sql.gz"]


async def test_a_link_in_place_of_a_data_file_is_not_opened(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (store.base_path / "x.sql.gz").symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError):
        store.open_data("x.sql.gz")
    os.mkfifo(store.base_path / "pipe.sql.gz")
    with pytest.raises(NotFoundError):
        store.open_data("pipe.sql.gz")


async def test_a_data_file_without_manifest_is_an_orphan_until_it_is_adopted(store: LocalStore) -> None:
    stored = await publish(store, b"whole")
    (store.base_path / (PATH + ".metadata.json")).unlink()
    (store.base_path / (PATH + ".sha256")).unlink()
    assert list(store.list()) == [Orphan(PATH, 5)]
    assert store.adopt(PATH, stored.manifest) == stored
    assert list(store.list()) == [stored]
    assert (store.base_path / (PATH + ".sha256")).exists()


async def test_a_worthless_orphan_is_discarded_with_its_empty_folders(store: LocalStore) -> None:
    await publish(store)
    (store.base_path / (PATH + ".metadata.json")).unlink()
    store.discard(PATH)
    assert list(store.base_path.iterdir()) == []


async def test_a_manifest_of_another_file_is_not_adopted(store: LocalStore) -> None:
    stored = await publish(store)
    with pytest.raises(ValueError, match="cannot describe"):
        store.adopt(PATH, renamed(stored.manifest, "other.sql.gz"))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b"{" * 100_000])
async def test_an_unreadable_manifest_is_reported_and_can_be_replaced(store: LocalStore, content: bytes) -> None:
    stored = await publish(store)
    (store.base_path / (PATH + ".metadata.json")).write_bytes(content)
    (entry,) = store.list()
    assert isinstance(entry, Damaged)
    assert (entry.path, entry.error.code, entry.data_exists) == (PATH, "damaged_manifest", True)
    store.adopt(PATH, stored.manifest)
    assert list(store.list()) == [stored]


async def test_one_flipped_bit_anywhere_in_a_manifest_is_found(store: LocalStore) -> None:
    await publish(store)
    path = store.base_path / (PATH + ".metadata.json")
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        (entry,) = store.list()
        assert isinstance(entry, Damaged), place


async def test_a_manifest_without_its_data_is_damaged_and_its_name_is_not_given_away(store: LocalStore) -> None:
    await publish(store)
    (store.base_path / PATH).unlink()
    (entry,) = store.list()
    assert isinstance(entry, Damaged)
    assert not entry.data_exists
    second = await publish(store, b"new", manifest=manifest_for(b"new", "b2"))
    assert second.path.endswith("_full_2.sql.gz")


async def test_a_manifest_under_another_name_is_damaged(store: LocalStore) -> None:
    await publish(store)
    for suffix in ("", ".metadata.json"):
        (store.base_path / (PATH + suffix)).rename(store.base_path / ("moved.sql.gz" + suffix))
    (entry,) = store.list()
    assert isinstance(entry, Damaged)
    assert "shop_20260109" in entry.error.message


async def test_a_tombstone_hides_a_backup_until_it_is_finished(store: LocalStore) -> None:
    kept = await publish(store, b"kept", "site/kept.sql.gz", manifest_for(b"kept", "b2"))
    await publish(store)
    manifest = store.base_path / (PATH + ".metadata.json")
    manifest.rename(store.base_path / (PATH + ".metadata.json.deleting"))
    assert list(store.list()) == [kept, Tombstone(PATH)]
    other = await publish(store, b"new", manifest=manifest_for(b"new", "b3"))
    assert other.path != PATH
    assert [(name.path, name.is_whole) for name in store.names("site/pg-01")] == [(PATH, False), (other.path, True)]
    assert store.entry_at(PATH) == Tombstone(PATH)
    assert store.finish_tombstones() == (PATH,)
    assert not store.finish_tombstone(PATH)
    assert store.entry_at(PATH) is None
    assert list(store.list()) == [kept, other]
    assert not (store.base_path / PATH).exists()
    assert list(store.names("site/nowhere")) == []


async def test_leftovers_of_the_dead_are_swept_and_of_the_living_spared(store: LocalStore, tmp_path: Path) -> None:
    (store.temp_path / "vya-dead.partial").write_bytes(b"half")
    (store.temp_path / "vya-0a.sidecar").write_bytes(b"half")
    (store.temp_path / "notes.partial").write_bytes(b"not ours")
    (store.base_path / ".vya-0a.probe").write_bytes(b"")
    living = await store.new_partial("living")
    make(tmp_path).prepare()
    assert files_below(store.temp_path) == ["notes.partial", "vya-living.partial"]
    assert files_below(store.base_path) == []
    store.abort(living)


async def test_other_peoples_files_are_not_mentioned_nor_touched(store: LocalStore) -> None:
    names = ["README", "site/old.dump", "site/a.sql", ".hidden"]
    (store.base_path / "site").mkdir()
    for name in names:
        (store.base_path / name).write_bytes(b"theirs")
    (store.base_path / "lost+found").mkdir()
    (store.base_path / "lost+found" / "x.sql.gz").write_bytes(b"")
    assert list(store.list()) == []
    store.prepare()
    assert files_below(store.base_path) == sorted([*names, "lost+found/x.sql.gz"])


async def test_a_backup_in_the_making_is_no_orphan(tmp_path: Path) -> None:
    placed, go_on = threading.Event(), threading.Event()

    def step(name: str) -> None:
        if name == "placed":
            placed.set()
            go_on.wait()

    store = make(tmp_path, step=step)
    store.prepare()
    publishing = asyncio.create_task(publish(store))
    await asyncio.to_thread(placed.wait)
    try:
        assert (store.base_path / PATH).exists()
        assert list(store.list()) == []
        for judge in (store.discard, lambda path: store.adopt(path, renamed(manifest_for(b""), Path(path).name))):
            with pytest.raises(BusyError):
                judge(PATH)
    finally:
        go_on.set()
    stored = await publishing
    assert list(store.list()) == [stored]


async def test_a_cancelled_publisher_waits_for_the_end_of_its_steps(tmp_path: Path) -> None:
    placed, go_on = threading.Event(), threading.Event()

    def step(name: str) -> None:
        if name == "placed":
            placed.set()
            go_on.wait()

    store = make(tmp_path, step=step)
    store.prepare()
    publishing = asyncio.create_task(publish(store))
    await asyncio.to_thread(placed.wait)
    publishing.cancel()
    _, pending = await asyncio.wait([publishing], timeout=0.05)
    assert pending
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    (entry,) = store.list()
    assert isinstance(entry, StoredBackup)


async def test_who_is_cancelled_while_a_partial_is_opened_leaves_none(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, go_on, create = threading.Event(), threading.Event(), store._temp.create

    def slowly(stem: str, kind: str) -> tuple[Path, int]:
        made = create(stem, kind)
        opened.set()
        go_on.wait()
        return made

    monkeypatch.setattr(store._temp, "create", slowly)
    opening = asyncio.create_task(store.new_partial("b1"))
    await asyncio.to_thread(opened.wait)
    opening.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert files_below(tmp_path) == []
    assert not [each for each in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(each)]


async def test_a_second_name_that_cannot_go_takes_no_backup_back(tmp_path: Path) -> None:
    def step(name: str) -> None:
        if name == "manifest":  # an entry that no unlink removes
            partial.path.unlink()
            partial.path.mkdir()

    store = make(tmp_path, step=step)
    store.prepare()
    partial = await store.new_partial("b1")
    stored = await store.publish(partial, PATH, manifest_for(b""))
    assert list(store.list()) == [stored]
    assert partial.fd == -1


@pytest.mark.parametrize("failing", ["synced", "placed", "checksum", "manifest"])
async def test_a_failure_at_any_step_leaves_nothing_visible(tmp_path: Path, failing: str) -> None:
    def step(name: str) -> None:
        if name == failing:
            raise StorageError("the disk died", code="storage_failed")

    store = make(tmp_path, step=step)
    store.prepare()
    partial = await store.new_partial("b1")
    with pytest.raises(StorageError, match="the disk died"):
        await store.publish(partial, PATH, manifest_for(b""))
    store.abort(partial)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("temp", ["backups/inside", "backups", "."])
def test_folders_inside_each_other_are_refused(tmp_path: Path, temp: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(tmp_path, temp_path=tmp_path / temp).prepare()
    assert caught.value.code == "storage_layout"


def test_another_folder_in_the_place_of_the_base_path_is_noticed(store: LocalStore, tmp_path: Path) -> None:
    store.check()
    store.base_path.rename(tmp_path / "away")
    store.base_path.mkdir()
    with pytest.raises(StorageError) as caught:
        store.check()
    assert caught.value.code == "storage_unwritable"
    assert files_below(tmp_path) == []


async def test_nothing_is_deleted_from_another_folder_in_the_place_of_the_base_path(
    store: LocalStore, tmp_path: Path
) -> None:
    stored = await publish(store)
    store.base_path.rename(tmp_path / "away")
    store.base_path.mkdir()
    for ask in (store.recognise, lambda: store.delete(stored)):
        with pytest.raises(StorageError):
            ask()
    store.base_path.rmdir()
    (tmp_path / "away").rename(store.base_path)
    store.recognise()
    assert store.holds(stored.path, 4)


def test_a_base_path_that_went_away_is_noticed(store: LocalStore) -> None:
    store.base_path.rmdir()
    with pytest.raises(StorageError, match="backups"):
        store.check()
    with pytest.raises(StorageError):
        list(store.list())


async def test_a_number_goes_before_the_ending(store: LocalStore) -> None:
    for name, second in (("a.b.sql.gz", "a.b_2.sql.gz"), ("a.gz", "a_2.gz")):
        await publish(store, path=name)
        assert (await publish(store, path=name)).path == second


async def test_strange_names_are_kept_as_they_are(store: LocalStore) -> None:
    names = ["-rf.sql.gz", "a b'\"c.sql.gz", "ü€😀.sql.gz", "%2Fslash.sql.gz", "new\nline.sql.gz", "back\\slash.sql.gz"]
    for number, name in enumerate(names):
        await publish(store, b"x", f"d/{name}", manifest_for(b"x", f"b{number}"))
    assert {entry.path for entry in store.list() if isinstance(entry, StoredBackup)} == {f"d/{name}" for name in names}
    done = subprocess.run(
        "cat -- *.sha256 | sha256sum -c", shell=True, cwd=store.base_path / "d", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_a_name_that_is_too_long_says_so(store: LocalStore) -> None:
    partial = await store.new_partial("b1")
    with pytest.raises(StorageError) as caught:
        await store.publish(partial, "x" * 250 + ".sql.gz", manifest_for(b""))
    assert "pattern" in caught.value.hint
    store.abort(partial)
    assert files_below(store.base_path) == []


async def test_deleting_and_publishing_into_one_folder_at_once_loses_nothing(store: LocalStore) -> None:
    async def come_and_go(number: int) -> None:
        for turn in range(10):
            name = f"day/{number}-{turn}.sql.gz"
            stored = await publish(store, b"x", name, manifest_for(b"x", f"b{number}-{turn}"))
            await asyncio.to_thread(store.delete, stored)

    await asyncio.gather(*(come_and_go(number) for number in range(4)))
    assert list(store.base_path.iterdir()) == []


async def test_checksums_by_md5_have_their_own_ending(store: LocalStore) -> None:
    manifest = replace(manifest_for(b"data"), checksum_algorithm="md5", checksum="8d777f385d3dfec8815d20f7496026dc")
    stored = await publish(store, manifest=manifest)
    done = subprocess.run(
        ["md5sum", "-c", Path(PATH).name + ".md5"],
        cwd=(store.base_path / PATH).parent,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    store.delete(stored)
    assert list(store.base_path.iterdir()) == []
