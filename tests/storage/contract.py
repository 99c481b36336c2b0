"""What every store must do. An implementation inherits ``StoreContract`` and gives a ``store`` fixture."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.storage.samples import NIGHT, PATH, manifest_for, publish
from vya_backupd.errors import BusyError, NotFoundError, StorageError
from vya_backupd.model.backup import Hold, Proof, StoredBackup
from vya_backupd.storage.base import Orphan, Store

Factory = Callable[[], Store]


def read_data(store: Store, path: str) -> bytes:
    with open(store.open_data(path), "rb") as file:
        return file.read()


class StoreContract:
    """``store``: prepared and empty. ``reopen``: a fresh, unprepared store over the same place."""

    async def test_a_published_backup_is_listed_and_reads_back(self, store: Store) -> None:
        stored = await publish(store, b"some data")
        assert stored.path == PATH
        assert stored.manifest.filename == "shop_20260109_020000_full.sql.gz"
        assert list(store.list()) == [stored]
        assert store.read_manifest(PATH) == stored.manifest
        assert read_data(store, PATH) == b"some data"

    async def test_a_partial_is_invisible_until_it_is_published(self, store: Store) -> None:
        partial = await store.new_partial("b1")
        os.write(partial.fd, b"half")
        assert list(store.list()) == []
        store.abort(partial)
        store.abort(partial)
        assert list(store.list()) == []

    async def test_a_taken_name_is_never_written_over(self, store: Store) -> None:
        for number in range(1, 4):
            content = f"content {number}".encode()
            await publish(store, content, manifest=manifest_for(content, f"b{number}"))
        stem = PATH.removesuffix(".sql.gz")
        paths = [PATH, f"{stem}_2.sql.gz", f"{stem}_3.sql.gz"]
        found = {entry.id: entry for entry in store.list() if isinstance(entry, StoredBackup)}
        assert {found[f"b{number}"].path for number in (1, 2, 3)} == set(paths)
        for number, path in enumerate(paths, 1):
            assert read_data(store, path) == f"content {number}".encode()
            assert store.read_manifest(path).filename == path.rsplit("/", 1)[1]

    async def test_known_backups_can_be_left_out_of_the_list(self, store: Store) -> None:
        first = await publish(store)
        second = await publish(store, b"other", manifest=manifest_for(b"other", "b2"))
        assert list(store.list({first.path})) == [second]
        assert list(store.list({first.path, second.path, "gone.sql.gz"})) == []

    async def test_a_rewritten_manifest_is_what_the_next_start_reads(self, store: Store, reopen: Factory) -> None:
        stored = await publish(store)
        hold = Hold("audit of 2026", "anna", NIGHT)
        grown = replace(stored.manifest, proof=Proof.VERIFIED, verified_at=NIGHT, hold=hold)
        assert store.rewrite_manifest(stored, grown).manifest == grown
        again = reopen()
        again.prepare()
        assert list(again.list()) == [StoredBackup(grown, PATH)]

    async def test_a_deleted_backup_is_gone_and_deleting_again_is_no_failure(self, store: Store) -> None:
        first = await publish(store)
        second = await publish(store, b"other", manifest=manifest_for(b"other", "b2"))
        store.delete(first)
        store.delete(first)
        assert list(store.list()) == [second]
        with pytest.raises(NotFoundError):
            store.read_manifest(first.path)
        with pytest.raises(NotFoundError):
            store.open_data(first.path)
        with pytest.raises(NotFoundError):
            store.rewrite_manifest(first, first.manifest)

    async def test_it_knows_without_reading_whether_a_backup_is_whole(self, store: Store) -> None:
        stored = await publish(store)
        store.recognise()
        assert store.holds(stored.path, 4)
        assert not store.holds(stored.path, 5)
        assert not store.holds("site/nothing/here.sql.gz", 4)
        store.delete(stored)
        assert not store.holds(stored.path, 4)

    async def test_a_name_is_free_again_after_its_backup_was_deleted(self, store: Store) -> None:
        store.delete(await publish(store))
        assert (await publish(store)).path == PATH

    async def test_a_backup_cannot_be_discarded_like_an_orphan(self, store: Store) -> None:
        stored = await publish(store)
        with pytest.raises(BusyError):
            store.discard(stored.path)
        assert list(store.list()) == [stored]

    async def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        for ask in (store.read_manifest, store.open_data, store.discard):
            with pytest.raises(NotFoundError):
                ask("site/nothing/here.sql.gz")

    @pytest.mark.parametrize("path", ["/etc/passwd.sql.gz", "../out.sql.gz", "a/../../out.sql.gz", "", "a/\0.sql.gz"])
    async def test_no_path_leads_out_of_the_store(self, store: Store, path: str) -> None:
        manifest = manifest_for(b"x")
        partial = await store.new_partial("b1")
        with pytest.raises(StorageError):
            await store.publish(partial, path, manifest)
        store.abort(partial)
        with pytest.raises(StorageError):
            store.open_data(path)

    async def test_preparing_again_changes_nothing(self, store: Store, reopen: Factory) -> None:
        stored = await publish(store)
        again = reopen()
        again.prepare()
        again.prepare()
        again.check()
        assert list(again.list()) == [stored]
        assert not [entry for entry in again.list() if isinstance(entry, Orphan)]

    async def test_it_knows_its_room(self, store: Store) -> None:
        usage = store.usage()
        assert 0 < usage.free <= usage.total
        assert abs(store.free_bytes() - usage.free) < usage.total / 10
