"""Backups that expire, on a real server: by themselves, on request, killed at each step, and beside a restore."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool
from tests.e2e.killing import Scene, staged
from tests.waiting import PATIENCE, until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

KEEP_TWO = {"strategy": "simple", "daily_keep": 2}


@pytest.fixture(scope="module")
def scene(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A daemon that keeps two backups, and deletes nothing until a test says so."""
    storage = {"retention": {**KEEP_TWO, "cleanup_enabled": False}}
    with staged(
        server_pool.get("postgresql"), tmp_path_factory.mktemp("retention"), "retention", storage=storage
    ) as it:
        yield it


@pytest.fixture(autouse=True)
def _running(request: pytest.FixtureRequest) -> None:
    if "scene" in request.fixturenames:
        scene: Scene = request.getfixturevalue("scene")
        scene.arm("")
        enable(scene, wanted=False)


def enable(scene: Scene, *, wanted: bool) -> None:
    """Put ``cleanup_enabled`` into force."""
    scene.product.settings["storage"]["retention"]["cleanup_enabled"] = wanted
    scene.product.write_config()
    if scene.product.process.poll() is not None:
        scene.product.start()
        return
    known = len(scene.product.events("config.reloaded"))
    scene.product.signal(signal.SIGHUP)
    until(lambda: len(scene.product.events("config.reloaded")) > known)


def backed_up(scene: Scene, number: int) -> list[str]:
    """New backups, the oldest first."""
    records = [scene.control.finished(scene.control.back_up()) for _ in range(number)]
    return [record["backups"][0]["id"] for record in records]


def prune(scene: Scene, **request: Any) -> str:
    answer = scene.control.ask("POST", "/v1/operations", {"kind": "prune", "request": request})
    return str(answer["operation"]["id"])


def verdicts(scene: Scene) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in scene.control.ask("GET", "/v1/retention/plan")["backups"]}


def test_the_plan_says_why_and_applying_it_does_what_it_says(scene: Scene) -> None:
    first, second, third = backed_up(scene, 3)[-3:]
    planned = scene.product.ok("retention", "plan", "--database", "retention")
    keep = {each["id"]: each["keep"] for each in planned["backups"]}
    assert (keep[first], keep[second], keep[third]) == (False, True, True)
    reasons = {each["id"]: each["reasons"] for each in planned["backups"]}
    assert reasons[third] == ["newest complete backup", "newest 1 of 2"]
    assert reasons[first] == ["2 newer ones stay"]
    shown = scene.product.ctl("retention", "plan")
    assert "2 newer ones stay" in shown.out
    assert "cleanup_enabled is false" in shown.err

    refused = scene.product.ctl("retention", "apply", "--output", "json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "confirmation_required")
    said = scene.product.ok("retention", "apply", "--yes")
    assert (said["expired"], said["cleanup_enabled"]) == (0, False)
    assert said["would_expire"] == planned["totals"]["expired"]
    assert first in scene.store.backups()

    enable(scene, wanted=True)
    done = scene.product.ok("retention", "apply", "--yes", "--instance", "one")
    assert done["expired"] == planned["totals"]["expired"]
    assert done["freed_bytes"] == planned["totals"]["expired_bytes"]
    assert scene.store.backups().keys() == {second, third}
    scene.clean()
    again = scene.product.ok("retention", "apply", "--yes")
    assert (again["expired"], again["steps"]) == (0, [])
    assert scene.product.ctl("retention", "plan", "--instance", "two").code == 4
    assert scene.product.ctl("retention", "plan", "--database", "nosuch").code == 4


def test_each_backup_is_followed_by_a_prune(scene: Scene) -> None:
    backed_up(scene, 2)
    known = len(scene.product.events("retention.applied"))
    enable(scene, wanted=True)
    (newest,) = backed_up(scene, 1)
    applied = until(lambda: scene.product.events("retention.applied")[known:])[-1]
    assert (applied["everything"], applied["actor"]) == (True, "daemon")
    assert scene.product.events("backup.expired")[-1]["reasons"] == ["2 newer ones stay"]
    assert newest in scene.store.backups()
    assert len(scene.store.backups()) == 2
    scene.clean()
    metrics = scene.product.get("/metrics")[1]
    assert f'vya_backups_expired_total{{database_id="one"}} {len(scene.product.events("backup.expired"))}.0' in metrics


def test_nothing_goes_for_a_backup_that_is_not_complete(scene: Scene) -> None:
    """Neither for one that fails nor for one of which all but the last file is there; for a complete one it does."""
    enable(scene, wanted=True)
    older, newer = backed_up(scene, 2)
    assert scene.control.finished(prune(scene))["operation"]["state"] == "succeeded"
    assert scene.store.backups().keys() == {older, newer}
    scene.gate.arm("data")
    operation = scene.control.back_up()
    os.kill(scene.gate.held(), signal.SIGKILL)
    scene.gate.disarm()
    scene.failed(operation, {"tool_killed"})
    assert scene.control.finished(prune(scene))["expired"] == 0

    scene.arm("store.checksum=hang")
    operation = scene.control.back_up()
    until(lambda: scene.hangs, otherwise="it does not come to the point")
    pruning = prune(scene)
    assert scene.store.backups().keys() == {older, newer}
    scene.arm("")
    newest = str(scene.control.finished(operation)["steps"][0]["backup_id"])
    assert scene.control.finished(pruning)["operation"]["state"] == "succeeded"
    until(lambda: scene.control.backups().keys() == {newer, newest}, otherwise="the oldest does not go")
    assert scene.store.backups().keys() == {newer, newest}
    scene.clean()


@pytest.mark.parametrize("point", ["store.tombstone", "store.emptied", "store.deleted"])
def test_a_daemon_that_is_killed_while_it_deletes_finishes_at_its_next_start(scene: Scene, point: str) -> None:
    stay = backed_up(scene, 4)[-2:]
    enable(scene, wanted=True)
    scene.arm(f"{point}=kill")
    operation = prune(scene)
    assert scene.product.process.wait(PATIENCE) == -signal.SIGKILL
    scene.arm("")
    scene.product.start()
    assert scene.control.finished(operation)["operation"]["state"] == "interrupted"
    scene.clean()
    assert len(scene.store.backups()) > 2
    assert scene.control.finished(prune(scene))["operation"]["state"] == "succeeded"
    assert scene.store.backups().keys() == set(stay)
    scene.clean()


_WAITS = """
create function waits() returns boolean language plpgsql as $$
begin
    while (pg_stat_file('{flag}', true)).size is null loop perform pg_sleep(0.02); end loop;
    return true;
end $$;
create table slow (a int check (public.waits()));
insert into slow values (1)
"""
"""A table that nobody can load rows into before the file is there."""


def test_what_a_restore_reads_or_waits_for_stays(scene: Scene) -> None:
    flag = scene.server.directory / "flag"
    flag.touch()
    scene.server.sql(_WAITS.format(flag=flag), "retention")
    oldest, other, *_ = backed_up(scene, 4)
    enable(scene, wanted=True)
    flag.unlink()
    try:
        running = restore(scene, oldest, "retention_a")
        waiting = restore(scene, other, "retention_b")
        until(lambda: verdicts(scene)[oldest]["reasons"] == ["in use: it is being read"])
        assert verdicts(scene)[other]["reasons"] == [f"in use: restore {waiting} waits"]
        assert scene.control.finished(prune(scene))["operation"]["state"] == "succeeded"
        assert {oldest, other} <= scene.store.backups().keys()
        flag.touch()
        for each in (running, waiting):
            assert scene.control.finished(each)["operation"]["state"] == "succeeded"
    finally:
        flag.touch()
        scene.server.sql("drop table slow; drop function waits", "retention")
        for name in ("retention_a", "retention_b"):
            scene.server.drop_database(name)
    assert scene.control.finished(prune(scene))["expired"] == 2
    assert not {oldest, other} & scene.store.backups().keys()


def restore(scene: Scene, backup_id: str, target: str) -> str:
    request = {"backup_id": backup_id, "target_instance": "one", "target_database": target}
    answer = scene.control.ask("POST", "/v1/operations", {"kind": "restore", "request": request})
    return str(answer["operation"]["id"])


def test_a_client_that_works_alone_prunes_before_it_ends(
    any_postgresql: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    any_postgresql.create_database(fresh_name)
    retention = {"strategy": "simple", "daily_keep": 1, "cleanup_enabled": True}
    product = Product(
        tmp_path,
        [instance(any_postgresql, "one", database=[fresh_name])],
        servers=[any_postgresql],
        config={"storage": {"retention": retention}},
    )
    try:
        first = {each["id"] for each in product.ok("backup", "--standalone")["backups"]}
        second = {each["id"] for each in product.ok("backup", "--standalone")["backups"]}
        left = {each["id"]: each for each in product.ok("retention", "plan", "--standalone")["backups"]}
        assert left.keys() == second
        assert not first & second
        assert {each["type"] for each in left.values()} == {"full", "globals"}
        assert len(product.files()) == 2
    finally:
        any_postgresql.drop_database(fresh_name)
