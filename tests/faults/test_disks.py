"""Disks under store, state and log that fill up, die or dawdle while the daemon works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import ServerPool
from tests.e2e.killing import Scene, small_file_system, staged
from tests.faults.disks import Disk, can_mount, disk, slow
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root: run as root")


def waited_for(scene: Scene, path: str, status: int) -> str:
    """Have the daemon look, and wait until this page has this status."""
    scene.product.signal(signal.SIGHUP)

    def asked() -> str:
        found, text = scene.product.get(path)
        return text if found == status else ""

    return until(asked, otherwise=f"{path} does not become {status}")


def held(scene: Scene, point: str) -> str:
    scene.arm(f"{point}=hang")
    operation = scene.control.back_up()
    until(lambda: scene.hangs)
    return operation


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_file_system(tmp_path_factory.mktemp("state") / "disk", "3m") as folder:
        yield folder


@pytest.fixture(scope="module")
def scene(state: Path, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """State and log on a small file system of their own."""
    application = {"state_dir": str(state / "state")}
    logging = {"output": "both", "file_path": str(state / "daemon.log")}
    root = tmp_path_factory.mktemp("fulls")
    with staged(server_pool.get("postgresql"), root, "fulls", application=application, logging=logging) as scene:
        scene.product.state_dir = state / "state"
        scene.succeeded(scene.control.back_up())
        yield scene


def test_a_full_disk_under_catalog_and_log_is_told_and_harms_no_backup(scene: Scene, state: Path) -> None:
    before = scene.store.backups().keys()
    with filled(state):
        _refused_and_told(scene, state)
    waited_for(scene, "/health/ready", 200)
    scene.succeeded(scene.control.back_up())
    assert before < scene.store.backups().keys()


def test_a_start_on_a_full_disk_names_it_and_the_next_one_works(scene: Scene, state: Path) -> None:
    product = scene.product
    product.stop()
    with filled(state):
        command = [sys.executable, "-m", "vya_backupd", "--config", str(product.config_path)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert f"vya-backupd: the catalog {product.state_dir}" in ran.stderr
    assert "ree space" in ran.stderr
    product.start()
    scene.succeeded(scene.control.back_up())


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Not a byte is free on the file system of this folder."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            continue
    assert shutil.disk_usage(folder).free == 0
    try:
        yield
    finally:
        ballast.unlink()


def _refused_and_told(scene: Scene, state: Path) -> None:
    answer = scene.control.ask("POST", "/v1/operations", {"kind": "backup", "request": {"globals": False}})
    assert answer["error"]["code"] == "disk_full", answer
    assert str(state) in answer["error"]["hint"]
    assert "full" in waited_for(scene, "/health/ready", 503)
    assert scene.product.get("/health/live")[0] == 200


@pytest.mark.skipif(not can_mount(), reason="no loop device: run as root where /dev/loop-control is")
def test_a_disk_that_dies_under_a_backup_fails_it_and_the_next_works(server_pool: ServerPool, tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as made:
        local = {"base_path": str(made.folder / "backups"), "temp_path": str(made.folder / ".partial")}
        with staged(server_pool.get("postgresql"), tmp_path / "site", "dying", storage={"local": local}) as scene:
            scene.product.base_path = made.folder / "backups"
            scene.product.temp_path = made.folder / ".partial"
            scene.succeeded(scene.control.back_up())
            for point in ("backup.dumping", "store.placed"):
                _die(scene, made, point)
                waited_for(scene, "/health/ready", 200)
                scene.product.stop()
                scene.product.start()  # which sweeps what the dead disk could not
                scene.succeeded(scene.control.back_up())


def _die(scene: Scene, made: Disk, point: str) -> None:
    operation = held(scene, point)
    made.pull()
    scene.arm("")
    record = scene.control.finished(operation)
    (step,) = record["steps"]
    assert record["operation"]["state"] == "failed", record
    assert step["error"]["code"] == "storage_failed"
    assert "Input/output error" in step["error"]["message"]
    assert "storage_failed" in waited_for(scene, "/health/ready", 503)
    made.plug()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing; get it by: apt-get install strace")
def test_a_slow_disk_only_takes_its_time(scene: Scene) -> None:
    operation = held(scene, "backup.dumped")
    with slow(scene.product.process.pid, 0.1):
        scene.arm("")
        assert scene.product.get("/health/live")[0] == 200
        scene.succeeded(operation)
