"""What a crash leaves lying, and what the next start makes of it."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ServerPool
from tests.e2e.killing import Scene, heard, locked, staged
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def scene(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    backup = {"lock_wait_timeout": "1s"}
    with staged(server_pool.get("postgresql"), tmp_path_factory.mktemp("crashes"), "crashes", backup=backup) as scene:
        yield scene


@pytest.fixture(autouse=True)
def _running(scene: Scene) -> None:
    scene.gate.disarm()
    scene.arm("")
    if scene.product.process.poll() is not None:
        scene.product.start()


def backed_up(scene: Scene) -> tuple[str, Path]:
    """A new backup: its id and its data file."""
    backup_id = scene.succeeded(scene.control.back_up())["steps"][0]["backup_id"]
    return backup_id, scene.store.backups()[backup_id]


def manifest_of(data: Path) -> Path:
    return data.with_name(f"{data.name}.metadata.json")


def test_running_and_waiting_operations_are_interrupted_and_their_clients_told(scene: Scene) -> None:
    scene.gate.arm("data")
    running = scene.product.begin("backup")
    scene.gate.held()
    heard(running, "running")
    waits = scene.control.back_up()
    assert scene.control.operation(waits)["operation"]["state"] == "queued"
    scene.product.kill()
    scene.gate.disarm()
    scene.product.start()
    _, said = running.communicate(timeout=PATIENCE)
    asked = scene.product.ctl("operations", "watch", waits)
    for code, text in ((running.returncode, said), (asked.code, asked.err)):
        assert code == 130, text
        assert "interrupted" in text
    listed = scene.control.ask("GET", "/v1/operations?state=interrupted")["operations"]
    assert len(listed) == 2
    assert {each["error"]["code"] for each in listed} == {"interrupted"}
    shown = scene.product.ok("operations", "show", listed[0]["id"])
    assert shown["operation"]["state"] == "interrupted"
    ends = [each for each in scene.product.events("operation.finished") if each["state"] == "interrupted"]
    assert {each["operation"] for each in ends} == {each["id"] for each in listed}
    assert scene.control.ask("GET", "/v1/operations?state=running")["operations"] == []
    scene.succeeded(scene.control.back_up())


def test_partial_files_are_swept_and_other_files_are_not(scene: Scene) -> None:
    scene.product.kill()
    left = scene.product.temp_path / "vya-20260109T020000-0badcafe.partial"
    left.write_bytes(b"half a dump")
    theirs = scene.product.temp_path / "notes.txt"
    theirs.write_text("not ours")
    scene.product.start()
    assert not left.exists()
    assert theirs.exists()
    theirs.unlink()
    scene.clean()


def test_a_file_without_a_manifest_is_adopted(scene: Scene) -> None:
    backup_id, data = backed_up(scene)
    scene.product.kill()
    before = manifest_of(data).read_bytes()
    manifest_of(data).unlink()
    data.with_name(f"{data.name}.sha256").unlink()
    scene.product.start()
    assert manifest_of(data).read_bytes() == before
    assert backup_id in scene.control.backups()
    scene.clean()


def test_a_backup_that_was_never_recorded_is(scene: Scene) -> None:
    scene.arm("store.manifest=kill")
    before = scene.store.backups().keys()
    scene.control.back_up()
    scene.product.process.wait(PATIENCE)
    scene.arm("")
    (backup_id,) = scene.store.backups().keys() - before
    scene.product.start()
    assert backup_id in scene.control.backups()
    scene.clean()


@contextmanager
def refusing(scene: Scene, change: str) -> Iterator[None]:
    """The catalog refuses one kind of change: a rule in the real file, which the daemon's database obeys."""
    with closing(sqlite3.connect(scene.product.state_dir / "catalog.db", isolation_level=None)) as catalog:
        catalog.execute(f"CREATE TRIGGER refuses BEFORE {change} BEGIN SELECT RAISE(ABORT, 'not now'); END")
        try:
            yield
        finally:
            catalog.execute("DROP TRIGGER refuses")


def test_a_backup_that_the_catalog_refused_is_listed_as_soon_as_it_can_be(scene: Scene) -> None:
    before = scene.store.backups().keys()
    with refusing(scene, "INSERT ON backups"):
        (step,) = scene.control.finished(scene.control.back_up())["steps"]
    (backup_id,) = scene.store.backups().keys() - before
    assert step["state"] == "failed"
    assert scene.store.backups()[backup_id].name in step["error"]["message"]
    assert "will be listed" in step["error"]["hint"]
    scene.product.signal(signal.SIGHUP)  # the daemon looks at itself after each reload
    until(lambda: backup_id in scene.control.backups())
    with closing(sqlite3.connect(scene.product.state_dir / "catalog.db")) as catalog:
        told = catalog.execute("SELECT name FROM events WHERE data LIKE ?", [f"%{backup_id}%"]).fetchall()
    assert told == [("backup.published",)]
    scene.clean()


def test_an_end_that_cannot_be_recorded_keeps_no_other_database_from_its_backup(scene: Scene) -> None:
    change = f"UPDATE ON steps WHEN NEW.state = 'succeeded' AND NEW.database = '{scene.database}'"
    with refusing(scene, change):
        record = scene.control.finished(scene.control.back_up(globals=True))
    states = {step["database"]: step["state"] for step in record["steps"]}
    assert states == {scene.database: "failed", "@globals": "succeeded"}
    assert record["operation"]["state"] == "failed"
    assert "not now" in record["operation"]["error"]["message"]
    scene.clean()


def test_a_damaged_file_without_a_manifest_is_left_alone_and_reported(scene: Scene) -> None:
    backup_id, data = backed_up(scene)
    scene.product.kill()
    whole, manifest = data.read_bytes(), manifest_of(data).read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    manifest_of(data).unlink()
    scene.product.start()
    assert backup_id not in scene.control.backups()
    assert data.exists()
    rebuilt = scene.product.ok("catalog", "rebuild")
    (step,) = rebuilt["steps"]
    assert [each["file"] for each in step["detail"]["damaged"]] == [str(data.relative_to(scene.product.base_path))]
    scene.product.kill()
    data.write_bytes(whole)
    manifest_of(data).write_bytes(manifest)
    scene.product.start()
    assert backup_id in scene.control.backups()
    scene.clean()


def test_a_checksum_file_that_says_something_else_is_made_anew(scene: Scene) -> None:
    backup_id, data = backed_up(scene)
    scene.product.ok("backups", "hold", backup_id, "--note", "audit")
    beside = data.with_name(f"{data.name}.sha256")
    true = beside.read_text()
    beside.write_text(true.translate(str.maketrans("0123456789", "1234567890")))
    verify = ("verify", "--file", str(data))
    assert scene.product.ctl(*verify).code == 5
    assert scene.control.backups()[backup_id]["proof"] == "none"
    rebuilt = scene.product.ok("catalog", "rebuild")
    assert rebuilt["steps"][0]["detail"]["adopted"] == [str(data.relative_to(scene.product.base_path))]
    assert beside.read_text() == true
    scene.product.ok(*verify)
    shown = scene.control.backups()[backup_id]
    assert (shown["proof"], shown["held"]) == ("verified", True)
    scene.product.ok("backups", "release", backup_id)
    scene.clean()


def test_a_deletion_that_was_cut_short_is_ended_and_never_undone(scene: Scene) -> None:
    for point in ("store.tombstone", "store.emptied", "store.deleted"):
        backup_id, data = backed_up(scene)
        scene.arm(f"{point}=kill")
        assert scene.product.ctl("backups", "delete", backup_id, "--yes").code != 0
        scene.product.process.wait(PATIENCE)
        scene.arm("")
        scene.product.start()
        assert backup_id not in scene.control.backups()
        assert not list(data.parent.glob(f"{data.name}*"))
        scene.clean()


def test_a_dump_behind_a_lock_gives_up_in_time(scene: Scene) -> None:
    with locked(scene.server, scene.database):
        step = scene.failed(scene.control.back_up(), {"lock_timeout"})
    assert step["error"]["retryable"] is True


def test_a_failing_publication_is_taken_back_and_the_first_failure_told(scene: Scene) -> None:
    for point in ("store.synced", "store.placed", "store.checksum", "store.manifest"):
        scene.arm(f"{point}=fail")
        step = scene.failed(scene.control.back_up(), {"internal"})
        assert point in step["error"]["message"]
        scene.arm("")
    scene.succeeded(scene.control.back_up())


def test_backups_that_are_all_gone_at_once_stay_listed(scene: Scene) -> None:
    """A start before the backup file system is mounted must not empty the index."""
    backup_id, _ = backed_up(scene)
    listed = {each["id"] for each in scene.control.ask("GET", "/v1/backups")["backups"]}
    assert backup_id in listed
    base, elsewhere = scene.product.base_path, scene.product.root / "unmounted"
    scene.product.stop()
    base.rename(elsewhere)
    base.mkdir()
    scene.product.start()
    assert {each["id"] for each in scene.control.ask("GET", "/v1/backups")["backups"]} == listed
    assert scene.product.events("store.all_backups_missing")
    scene.product.stop()
    base.rmdir()
    elsewhere.rename(base)
    scene.product.start()
    assert {each["id"] for each in scene.control.ask("GET", "/v1/backups")["backups"]} == listed
