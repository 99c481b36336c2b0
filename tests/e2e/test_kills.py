"""The real dump tool, the server and the daemon killed, in every section of a dump and before every step of publishing.

After each kill: no published backup that is not whole, a failed step that says why, no partial file, no child alive.
``VYA_KILLS=10`` kills ten times at each place instead of once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.conftest import ServerPool
from tests.e2e.gate import SECTIONS, wait_until
from tests.e2e.killing import Scene, all_gone, family, locked, staged, waiting_for_lock
from tests.waiting import PATIENCE

KILLS = int(os.environ.get("VYA_KILLS", "1"))
ENGINES = ("postgresql", "mariadb", "mysql")


@pytest.fixture(scope="module", params=ENGINES)
def scene(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with staged(server_pool.get(request.param), tmp_path_factory.mktemp("kills"), "kills") as scene:
        yield scene


@pytest.fixture(autouse=True)
def _ready(scene: Scene) -> Iterator[None]:
    """Each test finds a running daemon and a gate that is open."""
    scene.gate.disarm()
    scene.arm("")
    scene.server.start()
    if scene.product.process.poll() is not None:
        scene.product.start()
    yield
    scene.gate.disarm()


def test_a_whole_backup_passes_the_gate(scene: Scene) -> None:
    scene.gate.arm("data")
    operation = scene.control.back_up()
    scene.gate.held()
    scene.gate.release()
    scene.succeeded(operation)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
def test_the_tool_is_killed(scene: Scene, section: str, number: signal.Signals) -> None:
    scene.gate.arm(section)
    for _ in range(KILLS):
        operation = scene.control.back_up()
        os.kill(scene.gate.held(), number)
        step = scene.failed(operation, {"tool_killed"})
        assert step["error"]["retryable"] is True
        scene.gate.arm(section)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_server_is_killed(scene: Scene, section: str) -> None:
    for _ in range(KILLS):
        scene.gate.arm(section)
        operation = scene.control.back_up()
        scene.gate.held()
        scene.server.kill()
        scene.gate.release()
        if section in _LIVES_ON[scene.server.kind]:
            # The tool had asked the server everything: its dump is whole, and that is checked.
            scene.succeeded(operation)
        else:
            scene.failed(operation, {"server_lost"})
        scene.server.start()


_LIVES_ON = {"postgresql": {"post", "end"}, "mariadb": {"end"}, "mysql": {"end"}}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_daemon_is_killed_in_a_dump(scene: Scene, section: str) -> None:
    for _ in range(KILLS):
        before = scene.store.backups()
        scene.gate.arm(section)
        operation = scene.control.back_up()
        scene.gate.held()
        children = family(scene.product.process.pid)
        assert children
        scene.product.kill()
        all_gone(children, 3.0)
        assert len(scene.store.partials()) == 1
        scene.product.start()
        scene.failed(operation, {"interrupted"}, "interrupted")
        assert scene.store.backups() == before


_PUBLISHED = {
    "backup.dumped": False,
    "store.synced": False,
    "store.placed": True,
    "store.checksum": True,
    "store.manifest": True,
    "backup.recorded": True,
}
"""Each point of publishing, and whether a backup that was killed there is one after the next start."""


@pytest.mark.parametrize("point", _PUBLISHED)
def test_the_daemon_is_killed_while_it_publishes(scene: Scene, point: str) -> None:
    for _ in range(KILLS):
        before = scene.store.backups().keys()
        scene.arm(f"{point}=kill")
        operation = scene.control.back_up()
        assert scene.product.process.wait(PATIENCE) == -signal.SIGKILL
        scene.arm("")
        scene.product.start()
        record = scene.control.finished(operation)
        assert record["operation"]["state"] == "interrupted"
        assert [step["error"]["code"] for step in record["steps"]] == ["interrupted"]
        assert len(scene.store.backups().keys() - before) == _PUBLISHED[point]
        scene.clean()


def test_a_tool_that_waits_for_a_lock_does_not_outlive_the_daemon(scene: Scene) -> None:
    with locked(scene.server, scene.database):
        operation = scene.control.back_up()
        wait_until(lambda: waiting_for_lock(scene.server), PATIENCE, "the dump does not wait for the lock")
        children = family(scene.product.process.pid)
        assert [each.command for each in children if "dump" in each.command]
        scene.product.kill()
        all_gone(children, 3.0)
    scene.product.start()
    scene.failed(operation, {"interrupted"}, "interrupted")
