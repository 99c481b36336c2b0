"""Dump tools that lie: what they write, what they say and how they end do not agree."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ServerPool
from tests.e2e.gate import Gate
from tests.e2e.killing import Scene, all_gone, family, staged
from tests.waiting import until
from vya_backupd.testing.product import Product
from vya_backupd.testing.servers import PrivateServer

_LIAR = """#!/bin/sh
lie=$(cat {folder}/lie)
case " $* " in *" --version "*|*" --schema-only "*) lie=none;; esac
case "$lie" in
none) exec {real} "$@";;
nothing) exit 0;;
tiny) echo '-- a dump';;
no-end) {real} "$@" | sed '/ump complete/,$d';;
half) {real} "$@" | head -c 300000;;
more) {real} "$@"; echo 'drop table a_rows;';;
other-token) {real} "$@" | sed 's/^.unrestrict .*/\\\\unrestrict anotherdump/';;
failure) {real} "$@"; exit 1;;
warning) {real} "$@"; status=$?; echo '{name}: warning: the moon is full, error prone' >&2; exit $status;;
less) first=$1; shift; exec {real} "$first" {less} "$@";;
hang) {real} "$@" | head -c 300000; sleep 600;;
esac
"""
"""Stands where the tool is configured and runs it, but for the lie of the hour."""


class Liar(Gate):
    """A dump tool that lies."""

    def __init__(self, folder: Path, server: PrivateServer) -> None:
        super().__init__(folder, server)
        real = server.tools["pg_dump" if server.kind == "postgresql" else "dump"]
        less = "--exclude-table=b_small" if server.kind == "postgresql" else "--ignore-table=lies.b_small"
        self.path.write_text(_LIAR.format(folder=folder, real=real, name=real.name, less=less))
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)
        self.tell("none")

    def tell(self, lie: str) -> None:
        """Lie so from now on."""
        (self.folder / "lie").write_text(lie)


@pytest.fixture(scope="module", params=["postgresql", "mariadb", "mysql"])
def scene(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("lies")
    with staged(server_pool.get(request.param), root, "lies", gate=Liar) as scene:
        yield scene


def reloaded(product: Product) -> None:
    """Put the settings into force."""
    before = len(product.events("config.reloaded"))
    product.write_config()
    product.signal(signal.SIGHUP)
    until(lambda: len(product.events("config.reloaded")) > before)


def told(scene: Scene, lie: str) -> str:
    """Back up with a tool that lies so. Returns the operation's id."""
    assert isinstance(scene.gate, Liar)
    scene.gate.tell(lie)
    return scene.control.back_up()


@pytest.mark.parametrize("lie", ["nothing", "tiny", "no-end", "half", "more"])
def test_what_is_no_whole_dump_is_no_backup_though_the_tool_ended_well(scene: Scene, lie: str) -> None:
    step = scene.failed(told(scene, lie), {"dump_incomplete"})
    assert step["error"]["retryable"] is True


def test_a_closing_token_that_is_not_the_opening_one_is_no_end(scene: Scene) -> None:
    if scene.server.kind != "postgresql":
        pytest.skip("only PostgreSQL's dumps have such tokens")
    step = scene.failed(told(scene, "other-token"), {"dump_incomplete"})
    assert "restrict" in step["error"]["message"]


def test_a_whole_dump_of_a_tool_that_failed_is_no_backup(scene: Scene) -> None:
    scene.failed(told(scene, "failure"), {"tool_failed", "tool_killed"})


def test_a_warning_is_no_failure(scene: Scene) -> None:
    scene.succeeded(told(scene, "warning"))


def test_a_dump_that_lacks_a_table_is_no_backup(scene: Scene) -> None:
    step = scene.failed(told(scene, "less"), {"dump_lacks_tables"})
    assert "b_small" in step["error"]["message"]


def test_a_tool_that_says_nothing_more_is_stopped(scene: Scene) -> None:
    # For this tool alone: on a busy machine an honest one may say nothing for two seconds.
    scene.product.settings["backup"]["stall_timeout"] = "2s"
    reloaded(scene.product)
    try:
        step = scene.failed(told(scene, "hang"), {"stalled"})
    finally:
        del scene.product.settings["backup"]["stall_timeout"]
        reloaded(scene.product)
    assert step["error"]["retryable"] is True
    all_gone(
        [each for each in family(scene.product.process.pid) if "sleep 600" in each.command or "dump" in each.command]
    )


def test_an_honest_tool_is_believed(scene: Scene) -> None:
    scene.succeeded(told(scene, "none"))
