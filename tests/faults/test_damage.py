"""The daemon's own files are taken from it, damaged, swapped or locked, at rest and in the midst of work.

What it cannot do it says, with the way out; the backups are never harmed; and when all is back, all is well.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool
from tests.e2e.killing import Scene, small_file_system, staged
from tests.faults.damage import cut_in_half, flip_pages, locked, remove
from tests.waiting import until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root: run as root")


@pytest.fixture(scope="module")
def scene(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with staged(server_pool.get("postgresql"), tmp_path_factory.mktemp("damage"), "damage") as scene:
        scene.succeeded(scene.control.back_up())
        yield scene


@pytest.fixture(autouse=True)
def _well(scene: Scene) -> Iterator[None]:
    """However a test ends, the next one finds a daemon."""
    scene.arm("")
    if scene.product.process.poll() is not None:
        scene.product.start()
    yield
    scene.arm("")


def catalog(scene: Scene) -> Path:
    return scene.product.state_dir / "catalog.db"


def looked(scene: Scene) -> str:
    """Have the daemon read its configuration and look at everything. Returns the log's event."""
    names = ("config.reloaded", "config.reload_refused")
    before = {name: len(scene.product.events(name)) for name in names}
    scene.product.signal(signal.SIGHUP)
    return until(lambda: next((name for name in names if len(scene.product.events(name)) > before[name]), ""))


def refused_for(scene: Scene) -> str:
    """Why the last reload was refused."""
    return str(scene.product.events("config.reload_refused")[-1]["code"])


def ready(scene: Scene, status: int) -> str:
    """Wait until the daemon is ready, or not. Returns what it says."""

    def asked() -> str:
        found, text = scene.product.get("/health/ready")
        return text if found == status else ""

    return until(asked, otherwise=f"/health/ready does not become {status}")


def restarted(scene: Scene) -> None:
    """Stop and start. What is listed is what there is, and a backup succeeds."""
    scene.product.stop()
    scene.product.start()
    scene.clean()
    scene.succeeded(scene.control.back_up())


def held(scene: Scene, point: str) -> str:
    """A backup that has come to this point. Returns the operation's id."""
    scene.arm(f"{point}=hang")
    operation = scene.control.back_up()
    until(lambda: scene.hangs)
    return operation


# the catalog


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_catalog_that_is_removed_under_way_is_noticed_and_the_next_start_makes_a_new_one(
    scene: Scene, suffix: str
) -> None:
    operation = held(scene, "backup.dumped")
    path = catalog(scene)
    path.with_name(path.name + suffix).unlink()
    scene.arm("")
    assert scene.control.finished(operation)["operation"]["state"] == "succeeded"
    looked(scene)
    assert "removed or replaced" in ready(scene, 503)
    done = scene.product.ctl("catalog", "rebuild")
    assert done.code == 1
    assert "Restart the daemon" in done.err
    remove(path)
    restarted(scene)
    ready(scene, 200)


def test_a_catalog_that_is_damaged_under_way_is_told_and_the_next_start_makes_a_new_one(scene: Scene) -> None:
    operation = held(scene, "store.synced")
    flip_pages(catalog(scene))
    scene.arm("")
    answer = scene.control.ask(
        "POST", "/v1/operations", {"kind": "verify", "request": {"instance": "one", "all": True}}
    )
    assert "is damaged" in answer["error"]["message"]
    assert "Restart the daemon" in answer["error"]["hint"]
    looked(scene)
    assert "is damaged" in ready(scene, 503)
    scene.product.kill()
    scene.product.start()
    assert list(scene.product.state_dir.glob("catalog.db.damaged-*"))
    assert scene.control.ask("GET", f"/v1/operations/{operation}")["error"]["code"] == "unknown_operation"
    restarted(scene)


@pytest.mark.parametrize("harm", [remove, cut_in_half, flip_pages])
def test_a_catalog_that_was_harmed_between_two_runs_is_made_anew(scene: Scene, harm: Callable[[Path], None]) -> None:
    before = scene.control.backups()
    scene.product.stop()
    harm(catalog(scene))
    scene.product.start()
    assert scene.control.backups() == before
    assert scene.product.events("catalog.rebuilt")


def test_another_writer_is_waited_for(scene: Scene) -> None:
    operation = held(scene, "store.manifest")
    with locked(catalog(scene)):
        scene.arm("")
        waiting = scene.product.begin("status")
        assert scene.control.ask("GET", f"/v1/operations/{operation}")["operation"]["state"] == "running"
        waiting.communicate()
    scene.succeeded(operation)


# socket, configuration, credentials


def test_a_control_socket_that_was_removed_is_there_again(scene: Scene) -> None:
    path = scene.product.socket_path
    path.unlink()
    assert scene.product.ctl("status").code == 7
    looked(scene)
    until(path.is_socket)
    assert path.stat().st_mode & 0o777 == 0o660
    scene.succeeded(scene.control.back_up())
    assert scene.product.events("control.listening_anew")


def test_what_lies_in_the_sockets_place_is_left_alone_and_told(scene: Scene) -> None:
    path = scene.product.socket_path
    path.unlink()
    path.write_text("somebody else's")
    looked(scene)
    assert "socket_in_use" in ready(scene, 503)
    scene.product.stop()
    assert path.read_text() == "somebody else's"
    path.unlink()
    scene.product.start()
    ready(scene, 200)


def test_what_is_swapped_under_way_is_refused_and_the_work_goes_on(scene: Scene) -> None:
    operation = held(scene, "store.synced")  # which does not hold the event loop
    product = scene.product
    good = product.config_path.read_text()
    for bad, code in (
        (good.replace(str(product.base_path), str(product.root / "elsewhere")), "invalid_config"),
        (good.replace(f"state_dir: {product.state_dir}", f"state_dir: {product.root}/other"), "invalid_config"),
        ("backup: [", "invalid_config"),
    ):
        assert bad != good
        product.config_path.write_text(bad)
        assert looked(scene) == "config.reload_refused"
        assert refused_for(scene) == code
    product.config_path.write_text(good)
    scene.arm("")
    scene.succeeded(operation)
    assert not (product.root / "elsewhere").exists()
    assert looked(scene) == "config.reloaded"


def test_credentials_that_others_can_read_or_that_are_gone_are_refused(scene: Scene) -> None:
    path = Path(scene.product.settings["credentials"]["file"])
    away = path.with_suffix(".away")
    path.chmod(0o644)
    assert looked(scene) == "config.reload_refused"
    assert refused_for(scene) == "credentials_mode"
    path.rename(away)
    assert looked(scene) == "config.reload_refused"
    assert refused_for(scene) == "credentials_not_found"
    scene.succeeded(scene.control.back_up())
    away.rename(path)
    path.chmod(0o600)
    _set_port(path, 1)
    assert looked(scene) == "config.reloaded"
    scene.failed(scene.control.back_up(), {"connection_refused"})
    _set_port(path, scene.server.port)
    assert looked(scene) == "config.reloaded"
    scene.succeeded(scene.control.back_up())


def _set_port(path: Path, port: int) -> None:
    document: dict[str, Any] = json.loads(path.read_text())
    document["databases"][0]["port"] = port
    path.write_text(json.dumps(document))


# the folder of the backups


def _elsewhere(base: Path, away: Path) -> None:
    """Something else is where it was: another folder, through a link."""
    other = away.with_name("other")
    other.mkdir(exist_ok=True)
    base.symlink_to(other)


@pytest.mark.parametrize("then", [None, _elsewhere])
def test_a_base_path_that_goes_while_a_backup_is_written_gets_nothing(
    scene: Scene, then: Callable[[Path, Path], None] | None
) -> None:
    base = scene.product.base_path
    away = base.with_name("away")
    operation = held(scene, "backup.dumped")
    base.rename(away)
    if then is not None:
        then(base, away)
    scene.arm("")
    record = scene.control.finished(operation)
    assert record["operation"]["state"] == "failed"
    (step,) = record["steps"]
    assert step["error"]["code"] in {"storage_unwritable", "storage_failed"}
    looked(scene)
    assert "storage" in ready(scene, 503)
    if base.is_symlink():
        assert list(base.iterdir()) == []
        base.unlink()
    elif base.exists():
        base.rmdir()
    away.rename(base)
    looked(scene)
    ready(scene, 200)
    scene.succeeded(scene.control.back_up())


@needs_root
def test_a_base_path_that_is_unmounted_under_way_gets_nothing(server_pool: ServerPool, tmp_path: Path) -> None:
    with small_file_system(tmp_path / "disk", "8m") as disk:
        local = {"base_path": str(disk / "backups"), "temp_path": str(disk / ".partial")}
        with staged(server_pool.get("postgresql"), tmp_path / "site", "unmounted", storage={"local": local}) as scene:
            operation = held(scene, "backup.dumped")
            subprocess.run(["umount", "-l", str(disk)], check=True)
            scene.arm("")
            (step,) = scene.control.finished(operation)["steps"]
            assert step["error"]["code"] in {"storage_unwritable", "storage_failed"}
            assert list(disk.iterdir()) == []
            scene.product.stop()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)  # for whoever unmounts it
