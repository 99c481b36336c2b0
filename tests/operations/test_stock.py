"""What a start makes of a store that somebody left in the midst of something, or changed: on real folders and a catalog."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.operations.rig import INSTANCE, NOW, Rig, rig
from tests.storage.samples import manifest_for
from vya_backupd.errors import StorageError
from vya_backupd.model.backup import StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.instance import EngineKind, Instance
from vya_backupd.model.operation import Operation, OperationKind, State, Step
from vya_backupd.model.secret import Secret
from vya_backupd.operations import holds, stock
from vya_backupd.operations.rebuild import rebuild
from vya_backupd.operations.site import Settings
from vya_backupd.policy.naming import Subject
from vya_backupd.storage.base import MANIFEST_SUFFIX, TOMBSTONE_SUFFIX


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as house:
        known = Instance(INSTANCE, EngineKind.POSTGRESQL, "h", 5432, None, "u", Secret("p"), ("*",), ())
        house.site.settings = Settings(house.site.config, {INSTANCE: known})
        yield house


async def published(house: Rig, backup_id: str, database: str = "shop", days: float = 1) -> StoredBackup:
    """A backup in the store, under the name that the configuration gives it, and in no catalog."""
    taken_at = NOW - timedelta(days=days)
    manifest = manifest_for(b"x" * 100, backup_id, database=database, taken_at=taken_at)
    manifest = replace(manifest, facts=replace(manifest.facts, instance=INSTANCE))
    facts = manifest.facts
    path = house.site.naming.path(Subject("site", INSTANCE, database, facts.engine, facts.type, taken_at))
    partial = await house.site.store.new_partial(backup_id)
    os.write(partial.fd, b"x" * 100)
    return await house.site.store.publish(partial, path, manifest)


async def running(house: Rig, state: State = State.RUNNING, database: str = "shop") -> str:
    """A backup operation on record whose step for this database is in a state."""
    operations = house.site.catalog.operations
    request = {"instances": [INSTANCE]}
    wanted = Operation(
        "made", OperationKind.BACKUP, State.QUEUED, request, NOW, "anna", steps=(Step(INSTANCE, database),)
    )
    await operations.submit(wanted)
    await operations.advance("made", State.RUNNING, event=Event("operation.started", NOW, "made"))
    if state is State.RUNNING:
        await operations.update_step("made", Step(INSTANCE, database, State.RUNNING))
    return "made"


async def test_a_backup_that_a_dead_process_published_is_listed_before_anything_else(house: Rig) -> None:
    await running(house)
    ours, theirs = await published(house, "ours"), await published(house, "theirs", "blog")
    await stock.settle_cut_short(house.site)
    assert await house.listed() == {"ours"}
    (event,) = await house.events("backup.adopted")
    assert (event.database, event.data["path"]) == ("shop", ours.path)
    await stock.compare(house.site)
    assert await house.listed() == {"ours", "theirs"}
    assert theirs.path in {each.data["path"] for each in await house.events("backup.adopted")}


async def test_nothing_is_sought_for_work_that_had_not_begun(house: Rig) -> None:
    await running(house, State.QUEUED)
    await published(house, "theirs")
    await stock.settle_cut_short(house.site)
    assert await house.listed() == set()


class _Died(BaseException):
    """The end of the process, as far as the code under test can see."""


@pytest.mark.parametrize("step", ["tombstone", "emptied", "deleted"])
async def test_a_deletion_that_was_cut_short_is_told_as_what_it_was(house: Rig, step: str) -> None:
    for number, name in enumerate("abc"):
        await house.backup(name, 3 - number)

    def die(passed: str) -> None:
        if passed == step:
            raise _Died

    house.site.store._step = die
    with pytest.raises(_Died):
        await house.prune(instances=None)
    house.site.store._step = lambda _: None
    assert await house.listed() == {"a", "b", "c"}
    await stock.settle_cut_short(house.site)
    assert await house.listed() == house.stored() == {"b", "c"}
    (event,) = await house.events("backup.expired")
    assert (event.operation_id, event.actor, event.data["backup_id"]) == ("op", "anna", "a")
    assert event.data["reasons"] == ["2 newer ones stay"]
    totals = {each.name: each.value for each in await house.site.catalog.totals()}
    assert totals["vya_backups_expired"] == 1
    await stock.settle_cut_short(house.site)
    assert await house.events("backup.vanished") == []
    assert len(await house.events("backup.expired")) == 1


async def test_a_deletion_by_hand_that_was_cut_short_is_ended(house: Rig) -> None:
    await house.backup("a", 1)
    await house.backup("b", 2)

    def die(_: str) -> None:
        raise _Died

    house.site.store._step = die
    with pytest.raises(_Died):
        await holds.delete(house.site, "a", "anna")
    house.site.store._step = lambda _: None
    await stock.settle_cut_short(house.site)
    assert await house.listed() == house.stored() == {"b"}
    (event,) = await house.events("backup.deleted")
    assert (event.actor, event.data["size_bytes"]) == ("anna", 1000)


async def test_a_deletion_that_was_noted_and_not_begun_is_forgotten(house: Rig) -> None:
    stored = await house.backup("a", 1)
    await house.site.catalog.backups.intend({"a": Event("backup.expired", NOW, data={"path": stored.path})})
    await stock.settle_cut_short(house.site)
    assert await house.listed() == house.stored() == {"a"}
    assert await house.site.catalog.backups.intended() == {}


async def test_a_store_that_is_not_mounted_ends_no_deletion(house: Rig) -> None:
    stored = await house.backup("a", 1)
    await house.site.catalog.backups.intend({"a": Event("backup.expired", NOW, data={"path": stored.path})})
    base = house.site.store.base_path
    base.rename(base.with_name("elsewhere"))
    base.mkdir()
    await stock.settle_cut_short(house.site)
    await stock.compare(house.site)
    assert await house.listed() == {"a"}
    base.rmdir()
    base.with_name("elsewhere").rename(base)
    await stock.settle_cut_short(house.site)
    assert await house.listed() == house.stored() == {"a"}


async def test_what_somebody_is_recording_is_not_adopted(house: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "POSTPONED_SECONDS", 0.01)
    operation = await running(house)
    house.site.stock.begin()
    stored = await published(house, "mine")
    postponed = asyncio.Event()
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        postponed.set()
        await real_sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    comparing = asyncio.create_task(stock.compare(house.site))
    await asyncio.wait_for(postponed.wait(), 30)
    await house.site.catalog.backups.record(stored, Event("backup.published", NOW, operation))
    await asyncio.wait_for(comparing, 30)
    assert await house.events("backup.adopted") == []
    assert await house.listed() == {"mine"}


async def test_what_an_ended_operation_left_is_adopted_in_the_end(house: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "POSTPONED_SECONDS", 0.01)
    await running(house)
    house.site.stock.begin()
    await published(house, "left")
    comparing = asyncio.create_task(stock.compare(house.site))
    await asyncio.sleep(0)
    await house.site.catalog.operations.advance(
        "made", State.FAILED, event=Event("operation.finished", NOW, "made"), unfinished=State.FAILED
    )
    assert (await asyncio.wait_for(comparing, 30)).adopted
    assert await house.listed() == {"left"}


async def test_deleting_by_rule_waits_for_the_comparison(house: Rig) -> None:
    for number, name in enumerate("abc"):
        await house.backup(name, 3 - number)
    house.site.stock.begin()
    pruning = asyncio.create_task(house.prune(instances=None))
    await asyncio.sleep(0)
    assert house.stored() == {"a", "b", "c"}
    part = stock.Stocktaking(house.site)
    await part.run()
    await pruning
    assert house.stored() == {"b", "c"}
    assert part.complaint is None


async def test_a_store_that_cannot_be_read_is_told_and_nothing_is_deleted(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.backup("a", 1)
    house.site.stock.begin()

    def refuse(_: str = "") -> None:
        raise StorageError("cannot read site/pg-01")

    monkeypatch.setattr(house.site.store, "names", refuse)
    part = stock.Stocktaking(house.site)
    comparing = asyncio.create_task(part.run())
    with pytest.raises(StorageError, match="cannot read"):
        await house.prune(instances=None)
    assert part.complaint == "catalog and store could not be compared: cannot read site/pg-01"
    comparing.cancel()


async def test_a_small_store_is_compared_at_once_and_a_large_one_later(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.backup("a", 1)
    await published(house, "theirs")
    monkeypatch.setattr(stock, "AT_ONCE", 0)
    await stock.settle_stock(house.site)
    assert not house.site.stock.compared.is_set()
    assert await house.listed() == {"a"}
    monkeypatch.setattr(stock, "AT_ONCE", 1)
    await stock.settle_stock(house.site)
    assert await house.listed() == {"a", "theirs"}


@pytest.mark.parametrize("seed", range(6))
async def test_after_any_changes_a_comparison_lists_what_a_rebuild_would(house: Rig, seed: int) -> None:
    chance = random.Random(seed)
    base = house.site.store.base_path
    for number in range(12):
        stored = await published(house, f"b{number}", chance.choice(["shop", "blog"]), days=1 + number)
        if chance.random() < 0.7:
            await house.site.catalog.backups.record(stored, None)
        data, fate = base / stored.path, chance.random()
        manifest = data.with_name(data.name + MANIFEST_SUFFIX)
        if fate < 0.15:
            data.unlink()
        elif fate < 0.3:
            manifest.rename(data.with_name(data.name + TOMBSTONE_SUFFIX))
        elif fate < 0.4:
            manifest.unlink()  # not a dump of ours: it does not prove itself
        elif fate < 0.5:
            data.unlink()
            manifest.unlink()
    await stock.settle_cut_short(house.site)
    await stock.compare(house.site, gently=chance.random() < 0.5)
    compared = {each.id: each for each in await house.site.catalog.backups.find()}
    tombstones = list(base.rglob(f"*{TOMBSTONE_SUFFIX}"))
    await rebuild(house.site, "anna")
    assert compared == {each.id: each for each in await house.site.catalog.backups.find()}
    assert tombstones == []


async def test_where_a_database_lies_is_known_without_its_times(house: Rig) -> None:
    subject = Subject(
        "site", INSTANCE, "shop", EngineKind.POSTGRESQL, (await house.backup("a", 1)).manifest.facts.type, NOW
    )
    folder = house.site.naming.folder(subject)
    assert folder == f"site/{INSTANCE}/shop"
    assert house.site.naming.path(subject).startswith(f"{folder}/2026-03-05/")


async def test_a_hold_that_the_catalog_was_not_told_of_is_told_by_the_next_start(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest was rewritten, and then the catalog refused; a process that dies there leaves the same."""
    await house.backup("a", 2)
    await house.backup("b", 1)

    async def refuses(*_: object) -> bool:
        raise StorageError("the disk is full", code="disk_full")

    with monkeypatch.context() as patched:
        patched.setattr(house.site.catalog.backups, "set_manifest", refuses)
        with pytest.raises(StorageError):
            await holds.hold(house.site, "a", "audit", None, "anna")
    known = await house.site.catalog.backups.get("a")
    assert known is not None
    assert house.site.store.read_manifest(known.path).hold is not None
    assert known.manifest.hold is None
    await stock.settle_cut_short(house.site)
    told = await house.site.catalog.backups.get("a")
    assert told is not None
    assert told.manifest.hold is not None
    (event,) = await house.events("backup.held")
    assert (event.actor, event.data["note"]) == ("anna", "audit")
    await stock.settle_cut_short(house.site)
    assert len(await house.events("backup.held")) == 1


async def test_the_next_change_of_a_manifest_does_not_forget_the_one_before(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.backup("a", 2)
    await house.backup("b", 1)

    async def refuses(*_: object) -> bool:
        raise StorageError("the disk is full", code="disk_full")

    with monkeypatch.context() as patched:
        patched.setattr(house.site.catalog.backups, "set_manifest", refuses)
        with pytest.raises(StorageError):
            await holds.hold(house.site, "a", "audit", None, "anna")
    await holds.hold(house.site, "b", "audit", None, "anna")
    held = [(await house.site.catalog.backups.get(each)) for each in ("a", "b")]
    assert [each is not None and each.manifest.hold is not None for each in held] == [True, True]
