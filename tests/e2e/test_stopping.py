"""The daemon told to stop while it works, a client that leaves, an operation that is cancelled."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.conftest import ServerPool
from tests.e2e.killing import Scene, all_gone, family, heard, staged
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def scene(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with staged(server_pool.get("postgresql"), tmp_path_factory.mktemp("stopping"), "stopping") as scene:
        yield scene


@pytest.fixture(autouse=True)
def _running(scene: Scene) -> None:
    scene.gate.disarm()
    scene.arm("")
    if scene.product.process.poll() is not None:
        scene.product.start()


def restarted(scene: Scene, **application: str) -> None:
    """The daemon anew, with these settings of the section ``application``."""
    scene.product.stop()
    scene.product.settings["application"] |= application
    scene.product.write_config()
    scene.product.start()


def told_to_stop(scene: Scene, comes: str = "daemon.draining") -> None:
    """SIGTERM, and the log's word that the stop has come so far."""
    before = len(scene.product.events(comes))
    scene.product.signal(signal.SIGTERM)
    until(lambda: len(scene.product.events(comes)) > before, otherwise=f"no {comes}")


def test_a_stop_lets_running_work_end_and_takes_nothing_new(scene: Scene) -> None:
    scene.gate.arm("data")
    operation = scene.control.back_up()
    scene.gate.held()
    waits = scene.control.back_up()
    told_to_stop(scene)
    until(lambda: scene.control.operation(waits)["operation"]["state"] == "interrupted", otherwise="still waiting")
    refused = scene.product.ctl("backup", "--output", "json")
    assert refused.code == 6
    assert refused.json["error"]["code"] == "daemon_stopping"
    status, _ = scene.product.get("/health/ready")
    assert status == 503
    scene.gate.release()
    assert scene.product.process.wait(PATIENCE) == 0
    assert scene.product.events("daemon.stopped")[-1]["clean"] is True
    scene.product.start()
    scene.succeeded(operation)


def test_work_beyond_the_deadline_is_aborted_with_its_reason(scene: Scene) -> None:
    restarted(scene, stop_deadline="1s")
    scene.gate.arm("data")
    operation = scene.control.back_up()
    scene.gate.held()
    children = family(scene.product.process.pid)
    assert scene.product.stop() == 0
    all_gone(children)
    assert scene.store.strays() == []
    assert scene.store.secrets() == []
    restarted(scene, stop_deadline="5m")
    step = scene.failed(operation, {"interrupted"}, "interrupted")
    assert "deadline of 1 s" in step["error"]["message"]


def test_a_second_signal_ends_it_at_once(scene: Scene) -> None:
    scene.gate.arm("data")
    operation = scene.control.back_up()
    scene.gate.held()
    children = family(scene.product.process.pid)
    told_to_stop(scene)
    scene.product.signal(signal.SIGTERM)
    # In good order it would wait for the work, whose deadline is five minutes.
    assert scene.product.process.wait(PATIENCE) == 128 + signal.SIGTERM
    all_gone(children, 3.0)
    scene.gate.disarm()
    scene.product.start()
    scene.failed(operation, {"interrupted"}, "interrupted")


@pytest.mark.parametrize("point", ["store.synced", "store.placed", "store.checksum", "store.manifest"])
def test_a_stop_while_publishing_leaves_a_whole_backup(scene: Scene, point: str) -> None:
    restarted(scene, stop_deadline="1s")
    scene.arm(f"{point}=hang")
    operation = scene.control.back_up()
    until(lambda: scene.hangs, otherwise="it does not come to the point")
    told_to_stop(scene, "daemon.aborting")
    scene.arm("")
    assert scene.product.process.wait(PATIENCE) == 0
    assert scene.store.strays() == []
    before = scene.store.backups()
    restarted(scene, stop_deadline="5m")
    assert scene.store.backups() == before
    # The steps of publishing are not cut short: the backup is there, and so it is listed.
    record = scene.control.operation(operation)
    assert record["operation"]["state"] in {"succeeded", "interrupted"}
    scene.clean()


def test_a_client_that_leaves_says_that_the_work_goes_on(scene: Scene) -> None:
    scene.gate.arm("data")
    watching = scene.product.begin("backup")
    scene.gate.held()
    heard(watching, "running")
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 130, said
    (operation,) = scene.control.ask("GET", "/v1/operations?state=running")["operations"]
    assert operation["id"] in said
    assert "goes on" in said
    scene.gate.release()
    scene.succeeded(operation["id"])


@pytest.mark.parametrize("section", ["data", "end"])
def test_cancelling_ends_the_tool_and_takes_the_partial_file_away(scene: Scene, section: str) -> None:
    scene.gate.arm(section)
    operation = scene.control.back_up()
    scene.gate.held()
    children = family(scene.product.process.pid)
    scene.product.ok("operations", "cancel", operation)
    all_gone(children)
    step = scene.failed(operation, {"cancelled"}, "cancelled")
    assert step["state"] == "cancelled"
    scene.gate.disarm()
    scene.succeeded(scene.control.back_up())


def test_a_standalone_client_that_is_killed_takes_its_tool_along(scene: Scene) -> None:
    scene.product.stop()
    scene.gate.arm("data")
    alone = scene.product.begin("backup", "--standalone", "--config", str(scene.product.config_path))
    scene.gate.held()
    children = family(alone.pid)
    assert [each for each in children if "pg_dump" in each.command]
    alone.kill()
    alone.communicate()
    all_gone(children, 3.0)
    scene.gate.disarm()
    scene.product.start()
    (ended, *_) = scene.control.ask("GET", "/v1/operations")["operations"]
    assert ended["state"] == "interrupted"
    assert ended["error"]["code"] == "interrupted"
    scene.clean()
