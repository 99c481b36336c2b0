import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.catalog.conftest import Damage
from tests.catalog.samples import NIGHT, backup, event
from vya_backupd.catalog import Catalog, migrate, tables
from vya_backupd.catalog.backup_rows import as_row
from vya_backupd.catalog.tables import _EPOCH as EPOCH
from vya_backupd.catalog.tables import _MICROSECOND as MICROSECOND
from vya_backupd.dumpfile.manifest import manifest_to_json
from vya_backupd.errors import StorageError
from vya_backupd.model.backup import Hold
from vya_backupd.model.operation import State


@pytest.fixture
def url(sqlite_url: str) -> str:
    return sqlite_url


def file_of(url: str) -> Path:
    return Path(url.split("///", 1)[1])


async def fill(url: str, count: int = 300) -> None:
    catalog = Catalog(url)
    await catalog.open()
    await catalog.backups.replace_all([backup(f"b{number}") for number in range(count)])
    await catalog.close()


async def test_folder_and_file_are_for_the_owner_alone(catalog: Catalog, url: str) -> None:
    path = file_of(url)
    await catalog.backups.record(backup(), event())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


async def test_commits_are_synced_and_readers_never_wait(catalog: Catalog) -> None:
    async with catalog._database.reading() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert await connection.scalar(sa.text(f"PRAGMA {pragma}")) == value
        await catalog.backups.record(backup(), event())


async def test_a_new_catalog_and_a_migrated_one_have_the_same_tables(
    catalog: Catalog, url: str, tmp_path: Path
) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate._MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == tables.REVISION
    seen: list[dict[str, str]] = []
    for path in (file_of(url), tmp_path / "migrated.db"):
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            if not seen:
                assert migrate.current_revision(connection) == tables.REVISION
            else:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
            made = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))
            seen.append({name: re.sub(r"\s+", " ", sql) for name, sql in made})
            seen[-1]["revision"] = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        engine.dispose()
    assert seen[0] == seen[1]


async def test_a_catalog_of_the_first_tables_keeps_its_backups_and_learns_their_times(url: str, tmp_path: Path) -> None:
    path = tmp_path / "first.db"
    verified = replace(backup("one"), manifest=replace(backup("one").manifest, verified_at=NIGHT))
    held = replace(backup("two"), manifest=replace(backup("two").manifest, hold=Hold("audit", "root", NIGHT, NIGHT)))
    config = Config()
    config.set_main_option("script_location", str(migrate._MIGRATIONS))
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for stored in (verified, held):
            later = {"verified_at", "held_until", "run", "read_at", "previous_raw_size_bytes"}
            known = {key: value for key, value in as_row(stored).items() if key not in later}
            known["manifest"] = json.dumps(manifest_to_json(stored.manifest))
            known |= {key: (known[key] - EPOCH) // MICROSECOND for key in ("taken_at", "finished_at")}
            names = ", ".join(known)
            values = ", ".join(f":{key}" for key in known)
            connection.execute(sa.text(f"INSERT INTO backups ({names}) VALUES ({values})"), known)
    engine.dispose()
    catalog = Catalog(f"sqlite+aiosqlite:///{path}")
    await catalog.open()
    try:
        assert {each.id: each for each in await catalog.backups.find()} == {each.id: each for each in (verified, held)}
        async with catalog._database.reading() as connection:
            columns = tables.backups.c
            query = sa.select(columns.id, columns.verified_at, columns.held_until, columns.read_at).order_by(columns.id)
            rows = [tuple(row) for row in await connection.execute(query)]
            assert await connection.scalar(sa.text("PRAGMA freelist_count")) == 0
    finally:
        await catalog.close()
    assert rows == sorted([(verified.id, NIGHT, None, NIGHT), (held.id, None, NIGHT, held.manifest.finished_at)])


async def test_a_catalog_of_a_later_release_is_left_alone(url: str) -> None:
    await fill(url, 1)
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    catalog = Catalog(url)
    with pytest.raises(StorageError, match="later release"):
        await catalog.open()
    assert catalog.moved_aside is None


def _text(path: Path) -> None:
    path.write_bytes(b"this is no database\n" * 1000)


def _torn(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [_text, _torn, _cut])
async def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(url: str, damage: Damage) -> None:
    await fill(url)
    damage(file_of(url))
    wreck = file_of(url).read_bytes()
    catalog = Catalog(url)
    await catalog.open()
    assert catalog.needs_rebuild
    assert catalog.moved_aside is not None
    assert ".damaged-" in catalog.moved_aside.name
    assert catalog.moved_aside.read_bytes() == wreck
    assert await catalog.backups.find() == []
    await catalog.backups.record(backup(), event())
    await catalog.close()


async def test_an_empty_file_is_a_new_catalog(url: str) -> None:
    path = file_of(url)
    path.parent.mkdir()
    path.touch()
    catalog = Catalog(url)
    await catalog.open()
    assert catalog.moved_aside is None
    await catalog.check()
    await catalog.close()


async def test_a_writer_of_another_process_is_waited_for(catalog: Catalog, url: str) -> None:
    other = sqlite3.connect(file_of(url), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(catalog.backups.record(backup(), event()))
    _, pending = await asyncio.wait([writing], timeout=0.1)
    assert pending
    await asyncio.to_thread(other.execute, "COMMIT")
    await writing
    other.close()
    assert await catalog.backups.get("b1") is not None


async def test_who_comes_behind_a_writer_that_waited_in_vain_tries_once(
    catalog: Catalog, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    def hurry(dbapi: object, *_: object) -> None:
        nonlocal attempts
        attempts += 1
        dbapi.execute("PRAGMA busy_timeout = 10")  # type: ignore[attr-defined]

    sa.event.listen(catalog._database._ready().sync_engine, "checkout", hurry)
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    with contextlib.closing(sqlite3.connect(file_of(url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for expected in (5, 6, 7):
            with pytest.raises(StorageError, match="locked") as caught:
                await catalog.backups.record(backup(), event())
            assert (caught.value.retryable, attempts) == (True, expected)
        other.execute("ROLLBACK")
    await catalog.backups.record(backup(), event())
    assert await catalog.backups.get("b1") is not None


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_a_file_that_is_taken_from_under_us_is_missed(catalog: Catalog, url: str, suffix: str) -> None:
    await catalog.backups.record(backup(), event())
    await catalog.check()
    path = file_of(url)
    away = path.with_name(f"{path.name}{suffix}")
    kept = away.read_bytes()
    away.unlink()
    away.write_bytes(kept)
    with pytest.raises(StorageError, match=f"{away.name} of the catalog .* was removed or replaced"):
        await catalog.check()


async def test_a_closed_catalog_says_so(url: str) -> None:
    catalog = Catalog(url)
    with pytest.raises(StorageError, match="closed"):
        await catalog.backups.find()
    await catalog.open()
    await catalog.close()
    await catalog.close()
    with pytest.raises(StorageError, match="closed"):
        await catalog.backups.record(backup(), event())


async def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        await Catalog(f"sqlite+aiosqlite:///{tmp_path}/file/catalog.db").open()
    assert caught.value.code == "storage_unwritable"


async def test_a_full_disk_is_told_as_one(catalog: Catalog) -> None:
    async with catalog._database.reading() as connection:
        pages = await connection.scalar(sa.text("PRAGMA page_count"))

    def limit(dbapi: object, *_: object) -> None:
        dbapi.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]

    sa.event.listen(catalog._database._ready().sync_engine, "checkout", limit)
    with pytest.raises(StorageError) as caught:
        await catalog.backups.replace_all([backup(f"b{number}") for number in range(2000)])
    assert caught.value.code == "disk_full"


KILLED = """
import asyncio, os, signal, sys
from tests.catalog.samples import NIGHT, backup, event, operation
from vya_backupd.catalog import Catalog
from vya_backupd.model.operation import State

async def main():
    catalog = Catalog(sys.argv[1])
    await catalog.open()
    await catalog.operations.submit(operation(), event("operation.submitted"))
    await catalog.operations.advance("op1", State.RUNNING, event=event("operation.started"))
    async def change(connection):
        await connection.exec_driver_sql("DELETE FROM operations")
        os.kill(os.getpid(), signal.SIGKILL)
    await catalog._ledger.write(change)

asyncio.run(main())
"""


async def test_a_killed_writer_leaves_what_was_committed_and_no_more(url: str) -> None:
    root = Path(__file__).parents[2]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, url], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    catalog = Catalog(url)
    await catalog.open()
    found = await catalog.operations.get("op1")
    assert found is not None
    assert found.state is State.RUNNING
    assert [each.event.name for each in await catalog.events.after()] == ["operation.submitted", "operation.started"]
    await catalog.close()


async def test_queries_use_their_indexes(catalog: Catalog) -> None:
    async with catalog._database.reading() as connection:
        for where, index in (
            ("", "backups_by_age"),
            ("WHERE instance = 'x'", "backups_of_instance"),
            ("WHERE instance = 'x' AND database = 'y' AND taken_at <= 5", "backups_of_database"),
        ):
            query = f"EXPLAIN QUERY PLAN SELECT * FROM backups {where} ORDER BY taken_at DESC, id DESC LIMIT 5"
            plan = str((await connection.execute(sa.text(query))).all())
            assert index in plan
            assert "TEMP B-TREE" not in plan
