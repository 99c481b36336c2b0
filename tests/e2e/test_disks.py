"""Real disks that are full, read-only or gone. What mounts a file system of its own needs root, and says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ServerPool
from tests.e2e.killing import Scene, small_file_system, staged
from tests.waiting import until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root: run as root")

DISK = "4m"
BALLAST = 3_500_000


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_file_system(tmp_path_factory.mktemp("disks") / "disk", DISK) as folder:
        yield folder


@pytest.fixture(scope="module")
def scene(disk: Path, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Backups on a file system of their own, of a database that packs badly: about 1 MB, packed."""
    server = server_pool.get("postgresql")
    local = {"base_path": str(disk / "backups"), "temp_path": str(disk / ".partial")}
    root = tmp_path_factory.mktemp("full")
    with staged(server, root, "disks", storage={"local": local}) as scene:
        scene.product.base_path = disk / "backups"
        scene.product.temp_path = disk / ".partial"
        noise = "insert into c_small select n, string_agg(md5(random()::text), '') from generate_series(10, 800) n,"
        server.sql(f"{noise} generate_series(1, 60) group by n", "disks")
        yield scene


@pytest.fixture(autouse=True)
def _freed(request: pytest.FixtureRequest) -> Iterator[None]:
    """However a test ends, the next finds room and a disk that can be written."""
    yield
    if "disk" in request.fixturenames:
        folder: Path = request.getfixturevalue("disk")
        remount(folder, "rw")
        (folder / "ballast").unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _emptied(request: pytest.FixtureRequest) -> None:
    """Each test begins without backups: the disk is small."""
    if "scene" in request.fixturenames:
        scene: Scene = request.getfixturevalue("scene")
        for backup_id in scene.control.backups():
            scene.product.ok("backups", "delete", backup_id, "--yes")


def restarted(scene: Scene, free_space_factor: float) -> None:
    """The daemon anew, with another factor."""
    scene.product.stop()
    scene.product.settings["backup"]["free_space_factor"] = free_space_factor
    scene.product.write_config()
    scene.product.start()


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def wait_for_health(scene: Scene, path: str, status: int) -> str:
    """Wait until this page of the public site has this status. Returns its text."""

    def asked() -> str:
        found, text = scene.product.get(path)
        return text if found == status else ""

    return until(asked, otherwise=f"{path} does not become {status}")


@needs_root
def test_a_disk_that_fills_up_fails_the_step_and_nothing_stays(scene: Scene, disk: Path) -> None:
    (disk / "ballast").write_bytes(bytes(BALLAST))
    step = scene.failed(scene.control.back_up(), {"disk_full"})
    assert "No space left" in step["error"]["message"]
    assert "Free space" in step["error"]["hint"]
    assert scene.store.strays() == []
    (disk / "ballast").unlink()
    scene.succeeded(scene.control.back_up())
    wait_for_health(scene, "/health", 200)


@needs_root
def test_too_little_room_is_known_before_the_dump(scene: Scene, disk: Path) -> None:
    if not scene.store.backups():
        scene.succeeded(scene.control.back_up())
    restarted(scene, 1.3)
    (disk / "ballast").write_bytes(bytes(2_600_000))
    step = scene.failed(scene.control.back_up(), {"insufficient_space"})
    assert "free" in step["error"]["message"]
    assert "free_space_factor" in step["error"]["hint"]
    done = scene.product.ctl("backup", "--dry-run", "--output", "json")
    assert done.code == 3  # the globals would fit
    assert done.json["steps"][0]["error"]["code"] == "insufficient_space"
    (disk / "ballast").unlink()
    scene.succeeded(scene.control.back_up())
    restarted(scene, 0)


@needs_root
def test_a_disk_that_turns_read_only_makes_the_daemon_unready_until_it_is_back(scene: Scene, disk: Path) -> None:
    wait_for_health(scene, "/health/ready", 200)
    remount(disk, "ro")
    scene.failed(scene.control.back_up(), {"storage_unwritable"})
    ready = json.loads(wait_for_health(scene, "/health/ready", 503))
    assert any("storage_unwritable" in reason for reason in ready["reasons"])
    assert scene.product.get("/health/live")[0] == 200
    assert scene.product.get("/health")[0] == 503
    remount(disk, "rw")
    scene.succeeded(scene.control.back_up())
    wait_for_health(scene, "/health/ready", 200)


def test_a_folder_that_went_away_is_not_written_into_anew(server_pool: ServerPool, tmp_path: Path) -> None:
    with staged(server_pool.get("postgresql"), tmp_path, "vanished") as scene:
        scene.succeeded(scene.control.back_up())
        wait_for_health(scene, "/health/ready", 200)
        base = scene.product.base_path
        away = base.with_name("unmounted")
        base.rename(away)
        base.mkdir()
        scene.product.signal(signal.SIGHUP)
        wait_for_health(scene, "/health/ready", 503)
        operation = scene.control.finished(scene.control.back_up())
        (step,) = operation["steps"]
        assert step["error"]["code"] == "storage_unwritable"
        assert list(base.iterdir()) == []
        base.rmdir()
        away.rename(base)
        scene.succeeded(scene.control.back_up())
        wait_for_health(scene, "/health/ready", 200)
