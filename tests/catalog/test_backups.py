from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.exc import StatementError

from tests.catalog.samples import EXTENTS, NIGHT, backup, event
from vya_backupd.catalog import Catalog, LastSize
from vya_backupd.catalog.backups import Place
from vya_backupd.errors import UsageError
from vya_backupd.model.backup import BackupType, Hold, Outline, Proof, StoredBackup


async def ids(catalog: Catalog, *args: object, **kwargs: object) -> list[str]:
    return [each.id for each in await catalog.backups.find(*args, **kwargs)]  # type: ignore[arg-type]


async def test_a_recorded_backup_comes_back_as_it_was_but_for_its_extents(catalog: Catalog) -> None:
    stored = backup(extents=EXTENTS)
    await catalog.backups.record(stored, event())
    found = await catalog.backups.get("b1")
    assert found == replace(stored, manifest=replace(stored.manifest, extents=()))


async def test_outlines_are_what_retention_looks_at(catalog: Catalog) -> None:
    plain = backup("plain")
    facts = replace(plain.manifest.facts, id="held", run="slot", database="@globals", type=BackupType.GLOBALS)
    hold = Hold("audit", "anna", NIGHT, NIGHT)
    held = StoredBackup(replace(plain.manifest, facts=facts, hold=hold), "held.sql.gz")
    for each in (plain, held, backup("other", instance="my-01")):
        await catalog.backups.record(each, None)
    found = {each.id: each for each in await catalog.backups.outlines(["pg-01"])}
    assert found == {
        "plain": Outline(
            "plain", plain.path, "site", "pg-01", "shop", BackupType.FULL, NIGHT, size_bytes=1000
        ),
        "held": Outline(
            "held", "held.sql.gz", "site", "pg-01", "@globals", BackupType.GLOBALS, NIGHT, 1000, hold=hold, run="slot"
        ),
    }  # fmt: skip
    assert len(await catalog.backups.outlines()) == 3
    assert await catalog.backups.outlines([]) == []


async def test_recording_twice_keeps_one(catalog: Catalog) -> None:
    await catalog.backups.record(backup(size=1), event())
    await catalog.backups.record(backup(size=2), event())
    (found,) = await catalog.backups.find()
    assert found.manifest.size_bytes == 2


async def test_a_new_backup_at_a_path_takes_the_place_of_the_old(catalog: Catalog) -> None:
    await catalog.backups.record(backup("b1"), event())
    await catalog.backups.record(replace(backup("b2"), path=backup("b1").path), event())
    assert await ids(catalog) == ["b2"]


async def test_backups_are_found_by_database_type_and_time_newest_first(catalog: Catalog) -> None:
    for each in (
        backup("old", hours=-48),
        backup("new", hours=0),
        backup("mid", hours=-24),
        backup("blog", database="blog", hours=-1),
        backup("other", instance="my-01", hours=1),
        backup("globals", database="@globals", backup_type=BackupType.GLOBALS, hours=2),
    ):
        await catalog.backups.record(each, None)
    assert await ids(catalog) == ["globals", "other", "new", "blog", "mid", "old"]
    assert await ids(catalog, "pg-01", "shop") == ["new", "mid", "old"]
    assert await ids(catalog, "pg-01", "shop", before=NIGHT - timedelta(hours=24)) == ["mid", "old"]
    assert await ids(catalog, "pg-01", limit=2) == ["globals", "new"]
    assert await ids(catalog, backup_type=BackupType.GLOBALS) == ["globals"]
    latest = await catalog.backups.latest("pg-01", "shop")
    assert latest is not None
    assert latest.id == "new"
    assert await catalog.backups.latest("pg-01", "shop", NIGHT - timedelta(hours=48, microseconds=1)) is None
    at_the_instant = await catalog.backups.latest("pg-01", "shop", NIGHT - timedelta(hours=48))
    assert at_the_instant is not None
    earliest = await catalog.backups.earliest("pg-01", "shop")
    assert earliest is not None
    assert at_the_instant.id == earliest.id == "old"


async def test_times_are_compared_as_instants_whatever_their_zone(catalog: Catalog) -> None:
    await catalog.backups.record(backup(), None)
    local = NIGHT.astimezone(ZoneInfo("America/Sao_Paulo"))
    assert await catalog.backups.latest("pg-01", "shop", local) is not None
    assert await catalog.backups.latest("pg-01", "shop", local - timedelta(microseconds=1)) is None
    with pytest.raises(StatementError, match="offset-naive"):
        await catalog.backups.latest("pg-01", "shop", NIGHT.replace(tzinfo=None))


async def test_the_only_id_that_begins_so_is_enough(catalog: Catalog) -> None:
    for backup_id in ("abc1", "abd2", "a_c3"):
        await catalog.backups.record(backup(backup_id), None)
    for asked, found in (("abc", "abc1"), ("abc1", "abc1"), ("a_", "a_c3")):
        stored = await catalog.backups.get(asked)
        assert stored is not None
        assert stored.id == found
    with pytest.raises(UsageError, match="several"):
        await catalog.backups.get("ab")
    assert await catalog.backups.get("x") is None
    assert await catalog.backups.get("") is None
    assert await catalog.backups.get("%") is None


async def test_a_hold_is_followed_and_a_lost_backup_is_told(catalog: Catalog) -> None:
    stored = backup()
    await catalog.backups.record(stored, None)
    manifest = replace(stored.manifest, proof=Proof.VERIFIED, verified_at=NIGHT, hold=Hold("audit", "anna", NIGHT))
    held = replace(stored, manifest=manifest)
    assert await catalog.backups.set_manifest(held, event("backup.held"))
    assert await catalog.backups.get("b1") == held
    assert not await catalog.backups.set_manifest(backup("b2"), event("backup.held"))
    assert [each.event.name for each in await catalog.events.after()] == ["backup.held"]


async def test_a_removed_backup_is_gone_and_removing_again_reports_nothing(catalog: Catalog) -> None:
    await catalog.backups.record(backup(), None)
    assert await catalog.backups.remove("b1", event("backup.deleted"))
    assert not await catalog.backups.remove("b1", event("backup.deleted"))
    assert await catalog.backups.find() == []
    assert len(await catalog.events.after()) == 1


async def test_the_last_size_is_of_the_newest(catalog: Catalog) -> None:
    assert await catalog.backups.last_size("pg-01", "shop") is None
    await catalog.backups.record(backup("b2", size=7), None)
    await catalog.backups.record(backup("b1", size=5, hours=-1), None)
    assert await catalog.backups.last_size("pg-01", "shop") == LastSize(7, 70)


async def test_rebuilding_replaces_everything_and_is_remembered(catalog: Catalog, url: str) -> None:
    assert catalog.needs_rebuild
    await catalog.backups.record(backup("gone"), None)
    many = [backup(f"b{number:05}", hours=number) for number in range(1234)]
    assert await catalog.backups.replace_all(iter(many), event("catalog.rebuilt")) == 1234
    assert await catalog.backups.count() == 1234
    assert await catalog.backups.paths() == {each.id: each.path for each in many}
    assert await catalog.backups.find() == many[::-1]
    again = Catalog(url)
    await again.open()
    assert not again.needs_rebuild
    assert await again.backups.count() == 1234
    await again.close()


async def test_pages_of_a_list_make_the_whole_list(catalog: Catalog) -> None:
    many = [backup(f"b{number:02}", hours=number // 3, database="ab"[number % 2]) for number in range(20)]
    await catalog.backups.replace_all(many)
    whole = await catalog.backups.find()
    for size in (1, 3, 7, 20):
        found: list[StoredBackup] = []
        while page := await catalog.backups.find(
            limit=size, after=Place(_taken(found[-1]), found[-1].id) if found else None
        ):
            found += page
        assert found == whole
    last = whole[9]
    await catalog.backups.remove(last.id, None)
    assert await catalog.backups.find(after=Place(_taken(last), last.id)) == whole[10:]


def _taken(stored: StoredBackup) -> datetime:
    return stored.manifest.facts.taken_at


async def test_a_file_that_was_copied_is_listed_once(catalog: Catalog) -> None:
    copy = StoredBackup(backup("b1").manifest, "site/copy/b1.sql.gz")
    assert await catalog.backups.replace_all([backup("b1"), copy]) == 1
    assert await catalog.backups.find() == [copy]
    assert await catalog.backups.unlisted([copy.path, backup("b1").path]) == {backup("b1").path}


async def test_a_rebuild_leaves_no_gap_in_the_list(catalog: Catalog) -> None:
    await catalog.backups.replace_all([backup("b1"), backup("gone", hours=1)])
    await catalog.backups.enter([backup("b1"), backup("b2", hours=2)])
    assert [each.id for each in await catalog.backups.find()] == ["b2", "gone", "b1"]
    await catalog.backups.keep_only({"b1", "b2"})
    assert [each.id for each in await catalog.backups.find()] == ["b2", "b1"]


async def test_deletions_that_were_begun_are_remembered_until_they_end(catalog: Catalog) -> None:
    for number in range(3):
        await catalog.backups.record(backup(f"b{number}"), None)
    reports = {f"b{number}": event("backup.expired", data={"path": f"p{number}"}) for number in range(3)}
    await catalog.backups.intend(reports)
    await catalog.backups.intend({"b1": reports["b1"]})
    assert await catalog.backups.intended() == reports
    await catalog.backups.desist(["b0"])
    await catalog.backups.remove("b1", reports["b1"])
    assert await catalog.backups.intended() == {"b2": reports["b2"]}
    await catalog.backups.replace_all([backup("b2")])
    assert await catalog.backups.intended() == {}
