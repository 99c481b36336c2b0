"""What prune deletes, and above all what it does not: on real folders and a real catalog."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.operations.rig import INSTANCE, NOW, Rig, Run, rig
from vya_backupd.api.route import Asked
from vya_backupd.api.wire import parse_time
from vya_backupd.config.credentials_schema import Entry
from vya_backupd.errors import NotFoundError, StorageError, UsageError
from vya_backupd.model.backup import GLOBALS_NAME, Hold, Proof
from vya_backupd.model.operation import Operation, OperationKind, State, Step
from vya_backupd.operations import holds
from vya_backupd.operations.claims import claimed
from vya_backupd.operations.judging import judge, last_applied
from vya_backupd.operations.prune import PruneHandler, after_backup
from vya_backupd.operations.requests import BackupRequest
from vya_backupd.operations.verify import VerifyHandler
from vya_backupd.panels.retention import RetentionPanel
from vya_backupd.policy.retention import LAST_SUCCESS, Verdict


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as house:
        yield house


async def three(house: Rig) -> None:
    """Of ``a``, ``b`` and ``c``, ``a`` is the oldest, and expires."""
    for number, name in enumerate("abc"):
        await house.backup(name, 3 - number)


async def judged(*args: Any) -> list[Verdict]:
    return [verdict async for verdicts in judge(*args) for verdict in verdicts]


async def test_the_plan_is_one_json_object_whatever_names_and_notes_hold(house: Rig) -> None:
    odd = 'q"\\\n\u2028\U0001f600'
    for number in range(3):
        await house.backup(f"odd{number}", 3 - number, odd)
    await house.backup("plain", 1)
    await holds.hold(house.site, "odd0", odd, None, "anna")
    panel = RetentionPanel(house.site)
    text = b"".join([piece async for piece in panel._plan(Asked("anna"))])
    plan = json.loads(text)
    verdicts = {verdict.backup.id: verdict for verdict in await judged(house.site)}
    assert {each["id"] for each in plan["backups"]} == verdicts.keys() == {"odd0", "odd1", "odd2", "plain"}
    for each in plan["backups"]:
        verdict = verdicts[each["id"]]
        assert each["file"] == str(house.site.store.absolute(verdict.backup.path))
        assert (each["database"], each["keep"]) == (verdict.backup.database, verdict.keep)
        assert each["reasons"] == list(verdict.reasons)
        assert (each["held"], each["type"], each["size_bytes"]) == (each["id"] == "odd0", "full", 1000)
        assert parse_time(each["taken_at"]) == verdict.backup.taken_at
    assert plan["totals"] == {"kept": 4, "kept_bytes": 4000, "expired": 0, "expired_bytes": 0}
    nothing = b"".join(
        [piece async for piece in panel._plan(Asked("anna", query={"instance": INSTANCE, "database": odd}))]
    )
    assert len(json.loads(nothing)["backups"]) == 3


async def test_what_expires_goes_from_store_and_catalog_and_leaves_its_reasons(house: Rig) -> None:
    await three(house)
    await house.backup("blog", 3000, "blog")
    done = await house.prune()
    assert done.step == Step(INSTANCE, "shop", State.SUCCEEDED, detail={"kept": 2, "expired": 1, "freed_bytes": 1000})
    assert done.result == {"kept": 3, "expired": 1, "freed_bytes": 1000, "cleanup_enabled": True}
    assert house.stored() == await house.listed() == {"b", "c", "blog"}
    (event,) = await house.events("backup.expired")
    assert (event.operation_id, event.actor, event.instance, event.database) == ("op", "anna", INSTANCE, "shop")
    assert event.data["backup_id"] == "a"
    assert event.data["reasons"] == ["2 newer ones stay"]
    totals = {each.name: each.value for each in await house.site.catalog.totals()}
    assert totals == {"vya_backups_expired": 1}


async def test_a_second_run_finds_nothing_to_do(house: Rig) -> None:
    await three(house)
    await house.prune()
    again = await house.prune()
    assert (again.steps, again.result["expired"]) == ({}, 0)


async def test_one_database_or_instance_alone(house: Rig) -> None:
    await three(house)
    for number in range(3):
        await house.backup(f"blog{number}", number, "blog")
        await house.backup(f"other{number}", number, instance="my-01")
    await house.prune(instances=[INSTANCE], database="blog")
    assert house.stored() == {"a", "b", "c", "blog0", "blog1", "other0", "other1", "other2"}
    await house.prune(instances=["my-01"])
    assert house.stored() == {"a", "b", "c", "blog0", "blog1", "other0", "other1"}
    assert await house.site.catalog.marks.get(LAST_SUCCESS) is None
    await house.prune()
    assert house.stored() == {"b", "c", "blog0", "blog1", "other0", "other1"}
    assert await last_applied(house.site) == NOW


async def test_an_instance_may_have_rules_of_its_own(house: Rig) -> None:
    await three(house)
    own = {"id": INSTANCE, "type": "postgresql", "host": "h", "username": "u", "retention": {"daily_keep": 1}}
    house.site.settings = replace(house.site.settings, entries={INSTANCE: Entry.model_validate(own)})
    await house.prune()
    assert house.stored() == {"c"}


async def test_a_hold_that_the_catalog_does_not_know_of_protects(house: Rig) -> None:
    await house.backup("z", 4)
    await three(house)
    stored = await house.site.catalog.backups.get("a")
    assert stored is not None
    manifest = house.site.store.read_manifest(stored.path)
    house.site.store.rewrite_manifest(stored, replace(manifest, hold=Hold("audit", "anna", NOW)))
    done = await house.prune()
    assert done.step.detail["skipped"] == ["a: held since the catalog was read"]
    assert house.stored() == {"a", "b", "c"}
    (verdict,) = [each for each in await judged(house.site) if each.backup.id == "a"]
    assert verdict.reasons == ("held by anna: audit",)


async def test_a_backup_in_which_damage_was_found_takes_no_place_of_a_good_one(house: Rig) -> None:
    for number, name in enumerate("abcd"):
        stored = await house.backup(name, 4 - number)
    found = await VerifyHandler(house.site).run(Run({"backup_id": "d"}))  # it holds no dump at all
    assert found["verified"][0]["error"]["code"] in {"damaged_file", "incomplete_file"}
    assert house.site.store.read_manifest(stored.path).proof is Proof.NONE
    (event,) = await house.events("backup.damaged")
    assert (event.database, event.data["backup_id"]) == ("shop", "d")
    run = await house.prune(instances=None)
    assert run.step.state is State.SUCCEEDED
    assert house.stored() == {"b", "c", "d"}, "the newest two good ones, and the damaged one for a person to judge"
    newest = (await house.site.catalog.figures.read(NOW)).newest
    assert [each.taken_at for each in newest] == [NOW - timedelta(days=2)], "nor is it the newest one to health"
    await VerifyHandler(house.site).run(Run({"backup_id": "d"}))
    assert len(await house.events("backup.damaged")) == 1


async def test_a_note_that_no_manifest_can_hold_is_refused_and_changes_nothing(house: Rig) -> None:
    stored = await house.backup("a", 2)
    for note in ("cut \udcff", "zero \0"):
        with pytest.raises(UsageError, match="note"):
            await holds.hold(house.site, "a", note, None, "anna")
    assert house.site.store.read_manifest(stored.path).hold is None


async def test_a_hold_protects_until_its_end_and_no_longer(house: Rig) -> None:
    await three(house)
    await holds.hold(house.site, "a", "audit", NOW + timedelta(days=1), "anna")
    assert (await house.prune()).steps == {}
    house.now += timedelta(days=1)
    (verdict,) = [each for each in await judged(house.site) if each.backup.id == "a"]
    assert verdict.reasons == ("2 newer ones stay", "the hold by anna has ended")
    assert (await house.prune()).result["expired"] == 1


async def test_a_backup_whose_hold_has_ended_can_be_deleted_by_hand(house: Rig) -> None:
    await three(house)
    await holds.hold(house.site, "c", "audit", NOW + timedelta(days=1), "anna")
    house.now += timedelta(days=1)
    await holds.delete(house.site, "c", "anna")
    assert house.stored() == {"a", "b"}


async def test_nothing_goes_while_a_backup_that_is_to_stay_is_not_there(house: Rig) -> None:
    await three(house)
    await house.backup("x", 9, "blog")
    await house.backup("y", 8, "blog")
    await house.backup("z", 7, "blog")
    data = house.site.store.absolute(await _path(house, "c"))
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    done = await house.prune()
    failed = done.steps[(INSTANCE, "shop")]
    assert failed.error is not None
    assert failed.error["code"] == "storage_failed"
    assert "c.sql.gz" in failed.error["message"]
    assert failed.detail["expired"] == 0
    assert done.steps[(INSTANCE, "blog")].state is State.SUCCEEDED
    assert house.stored() == {"a", "b", "c", "y", "z"}
    assert await house.site.catalog.marks.get(LAST_SUCCESS) is None
    assert await house.events("retention.applied") == []
    data.write_bytes(whole)
    await house.prune()
    assert house.stored() == {"b", "c", "y", "z"}


async def _path(house: Rig, backup_id: str) -> str:
    return (await house.site.catalog.backups.paths())[backup_id]


async def test_a_manifest_that_cannot_be_read_saves_its_backup_and_no_other(house: Rig) -> None:
    for number, name in enumerate("wxy"):
        await house.backup(name, 9 - number)
    await house.backup("z", 1)
    manifest = house.site.store.absolute(await _path(house, "w") + ".metadata.json")
    whole = manifest.read_bytes()
    for broken in (b"{}", None):
        manifest.unlink()
        if broken is not None:
            manifest.write_bytes(broken)
        done = await house.prune()
        assert done.step.error is not None
        assert (done.step.state, done.step.error["code"]) == (State.FAILED, "damaged_manifest")
        assert await house.listed() == {"w", "y", "z"}
    manifest.write_bytes(whole)
    await house.prune()
    assert house.stored() == await house.listed() == {"y", "z"}


async def test_a_file_that_is_not_the_backup_of_the_catalog_stays(house: Rig) -> None:
    await three(house)
    stored = await house.site.catalog.backups.get("a")
    assert stored is not None
    other = replace(stored.manifest, facts=replace(stored.manifest.facts, taken_at=NOW))
    house.site.store.rewrite_manifest(stored, other)
    done = await house.prune()
    assert done.step.error is not None
    assert done.step.error["code"] == "damaged_manifest"
    assert house.stored() == {"a", "b", "c"}


async def test_a_backup_that_somebody_took_away_is_struck_off(house: Rig) -> None:
    await three(house)
    for path in house.site.store.base_path.rglob("a.sql.gz*"):
        path.unlink()
    done = await house.prune()
    assert (done.step.state, done.result["expired"]) == (State.SUCCEEDED, 0)
    assert await house.listed() == {"b", "c"}
    assert len(await house.events("backup.vanished")) == 1


async def test_another_folder_in_the_place_of_the_store_is_not_pruned(house: Rig) -> None:
    await three(house)
    base = house.site.store.base_path
    base.rename(base.with_name("unmounted"))
    for there in (False, True):
        if there:
            base.mkdir()
        with pytest.raises(StorageError):
            await house.prune()
        with pytest.raises(StorageError):
            await holds.delete(house.site, "a", "anna")
    base.rmdir()
    base.with_name("unmounted").rename(base)
    assert (await house.prune()).result["expired"] == 1


async def test_a_catalog_that_was_not_made_from_the_store_yet_is_no_ground_to_delete(house: Rig) -> None:
    await three(house)
    await house.site.catalog._database.write(lambda connection: connection.exec_driver_sql("DELETE FROM marks"))
    with pytest.raises(StorageError, match="catalog"):
        await house.prune()


async def test_while_cleanup_is_disabled_it_only_says(tmp_path: Path) -> None:
    async with rig(tmp_path, cleanup_enabled=False) as house:
        await three(house)
        done = await house.prune()
        assert done.result == {
            "kept": 2, "expired": 0, "freed_bytes": 0, "cleanup_enabled": False, "would_expire": 1,
        }  # fmt: skip
        assert house.stored() == {"a", "b", "c"}
        assert await last_applied(house.site) is None


async def test_other_hosts_files_stay_and_count_for_nothing(house: Rig) -> None:
    await three(house)
    for number in range(4):
        await house.backup(f"there{number}", number / 10, hostname="there")
    await house.prune()
    assert house.stored() == {"b", "c", *(f"there{number}" for number in range(4))}


async def test_globals_go_after_the_databases_they_belong_to(house: Rig) -> None:
    for days in range(4):
        await house.backup(f"g{days}", days, GLOBALS_NAME)
        await house.backup(f"s{days}", days + 0.1)
    done = await house.prune()
    assert list(done.steps) == [(INSTANCE, "shop"), (INSTANCE, GLOBALS_NAME)]
    assert house.stored() == {"g0", "g1", "s0", "s1"}


async def test_what_does_not_exist_is_said(house: Rig) -> None:
    await three(house)
    with pytest.raises(NotFoundError, match="nosuch"):
        await judged(house.site, ["nosuch"])
    with pytest.raises(NotFoundError, match="shopp") as caught:
        await judged(house.site, None, "shopp")
    assert "shop" in caught.value.hint


async def test_cancelled_in_the_midst_of_a_deletion_it_ends_that_deletion(house: Rig) -> None:
    await house.backup("z", 5)
    await three(house)
    here, go_on = threading.Event(), threading.Event()

    def step(name: str) -> None:
        if name == "tombstone":
            here.set()
            assert go_on.wait(60)

    house.site.store._step = step
    running = asyncio.ensure_future(PruneHandler(house.site).run(Run({})))
    await asyncio.to_thread(here.wait, 60)
    running.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert house.stored() == await house.listed() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("request_", "taken"),
    [
        ({"backup_id": "a"}, {"a"}),
        ({"file": "{base}/site/pg-01/b.sql.gz"}, {"b"}),
        ({"instance": INSTANCE, "database": "shop", "latest": True}, {"a", "b", "c", "g"}),
        ({"instance": INSTANCE, "all": True}, {"a", "b", "c", "g", "x"}),
        ({"instance": "elsewhere", "all": True}, set()),
        ({"file": "/nowhere"}, set()),
    ],
)
@pytest.mark.parametrize("kind", [OperationKind.RESTORE, OperationKind.VERIFY])
async def test_what_others_will_read_is_claimed(
    house: Rig, kind: OperationKind, request_: dict[str, Any], taken: set[str]
) -> None:
    await three(house)
    await house.backup("x", 1, "blog")
    await house.backup("g", 1, GLOBALS_NAME)
    text = {key: str(value).format(base=house.site.store.base_path) for key, value in request_.items()}
    operations = house.site.catalog.operations
    await operations.submit(Operation("r", kind, State.QUEUED, text, NOW, "anna"))
    outlines = await house.site.catalog.backups.outlines()
    assert await claimed(house.site, outlines) == dict.fromkeys(taken, f"in use: {kind} r waits")
    house.site.in_use.append("c")
    assert (await claimed(house.site, outlines))["c"] == "in use: it is being read"


async def test_a_backup_that_somebody_begins_to_read_meanwhile_is_left_for_the_next_time(house: Rig) -> None:
    await house.backup("z", 5)
    await three(house)

    def step(name: str) -> None:
        house.site.in_use[:] = ["a"]

    house.site.store._step = step
    done = await house.prune()
    assert done.step.detail["skipped"] == ["a: in use: it is being read"]
    assert house.stored() == await house.listed() == {"a", "b", "c"}


async def test_after_a_backup_a_prune_of_what_was_backed_up_is_queued(house: Rig) -> None:
    operations = house.site.catalog.operations
    made = (Step("one", "a", State.SUCCEEDED, "x"), Step("two", "a", State.FAILED))
    for steps, request, wanted in (
        (made, BackupRequest(), [None]),
        (made, BackupRequest(databases=("a",)), [["one"]]),
        (made, BackupRequest(instances=("one", "two")), [["one"]]),
        ((Step("two", "a", State.FAILED),), BackupRequest(), []),
    ):
        house.submitted.clear()
        run = Run({})
        run.operation = replace(run.operation, id=f"b{id(request)}", kind=OperationKind.BACKUP, steps=steps)
        await operations.submit(run.operation)
        await after_backup(house.site, run, request)
        assert house.submitted == [(OperationKind.PRUNE, {"instances": each}) for each in wanted]


async def test_a_request_of_nonsense_is_refused(house: Rig) -> None:
    handler = PruneHandler(house.site)
    assert handler.resources({}) == {"catalog"}
    with pytest.raises(Exception, match="days"):
        handler.resources({"days": 3})


async def test_a_deletion_that_failed_half_way_is_ended_by_the_next_one(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is a tombstone by then: nobody may say that the backup is damaged, or has vanished."""
    await house.backup("z", 4)
    await three(house)

    def refuses(*_: object) -> None:
        raise StorageError("input/output error", code="storage_failed")

    with monkeypatch.context() as patched:
        patched.setattr("vya_backupd.storage.local.bury", refuses)
        failed = await house.prune()
    assert failed.step.state is State.FAILED
    assert await house.events("backup.expired") == []
    await house.prune()
    assert await house.listed() == house.stored() == {"b", "c"}
    assert sorted(each.data["backup_id"] for each in await house.events("backup.expired")) == ["a", "z"]
    assert await house.events("backup.vanished") == []


async def test_a_deletion_that_the_catalog_refused_is_told_as_what_it_was(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three(house)

    async def refuses(*_: object) -> bool:
        raise StorageError("the catalog is locked", code="storage_failed")

    with monkeypatch.context() as patched:
        patched.setattr(house.site.catalog.backups, "remove", refuses)
        await house.prune()
    assert house.stored() == {"b", "c"}
    assert await house.listed() == {"a", "b", "c"}
    await house.prune()
    assert await house.listed() == {"b", "c"}
    assert len(await house.events("backup.expired")) == 1
    assert await house.events("backup.vanished") == []
