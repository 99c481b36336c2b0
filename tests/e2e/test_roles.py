"""Viewers look, operators act, strangers stay outside: the real client as other users, on a real daemon's socket."""

from __future__ import annotations

import grp
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ServerPool
from vya_backupd.client.main import run
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

NOBODY = 65534

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users: run the tests with sudo"),
]


@dataclass
class Guarded:
    """A daemon whose groups are known, and a backup to act upon."""

    product: Product
    server: PrivateServer
    operators: int
    viewers: int
    backup: str

    def ctl(self, *arguments: str, gid: int = NOBODY, groups: tuple[int, ...] = ()) -> Ran:
        """Run the client in a process of another user. It is forked, since others cannot read our interpreter."""
        command = ["--socket", str(self.product.socket_path), "--output", "json", *arguments]
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writer, json.dumps(_as_user(gid, groups, command)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        return Ran(*json.loads(told))


def _as_user(gid: int, groups: tuple[int, ...], command: list[str]) -> tuple[int, str, str]:
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = run(command)
    return code, out.getvalue(), err.getvalue()


def _groups() -> list[grp.struct_group]:
    """Two groups that this machine has and nobody is in."""
    found = [group for group in grp.getgrall() if group.gr_gid not in {0, NOBODY} and not group.gr_mem]
    if len(found) < 2:
        pytest.skip("needs two groups in /etc/group: make them with groupadd")
    return found[:2]


@pytest.fixture(scope="module")
def guarded(server_pool: ServerPool) -> Iterator[Guarded]:
    operators, viewers = _groups()
    server = server_pool.get("postgresql")
    server.create_database("guarded")
    # Other users must be able to reach the socket.
    root = Path(tempfile.mkdtemp(prefix="vya-roles-"))
    root.chmod(0o755)
    control = {"operators": [operators.gr_name], "viewers": [viewers.gr_name]}
    entry = instance(server, "one", database=["guarded"])
    try:
        with Product(root, [entry], servers=[server], config={"control": control}) as product:
            backup = product.ok("backup", "--database", "guarded")["backups"][0]["id"]
            there = Guarded(product, server, operators.gr_gid, viewers.gr_gid, backup)
            _load_the_client(there)
            yield there
    finally:
        shutil.rmtree(root)
        for name in ("guarded", "by_root"):
            server.drop_database(name)


def _load_the_client(there: Guarded) -> None:
    """Have every module of the client imported before a child gives up the right to read them."""
    restore = ["restore", "--backup", there.backup, "--target-database", "by_root"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        for arguments in (
            ["status"],
            ["operations", "list"],
            ["backups", "show", "x"],
            ["backup", "--dry-run"],
            restore,
        ):
            run(["--socket", str(there.product.socket_path), "--output", "json", *arguments])


LOOKING = (
    ("status",),
    ("config", "show"),
    ("backups", "list"),
    ("operations", "list"),
    ("backup", "--list-databases"),
    ("config", "test-connections"),
    ("health",),
)
ACTING = (
    ("backup", "--database", "guarded"),
    ("verify", "--instance", "one"),
    ("restore", "--instance", "one", "--database", "guarded", "--latest", "--target-database", "not_by_a_viewer"),
    ("backups", "hold", "{backup}", "--note", "n"),
    ("backups", "release", "{backup}"),
    ("catalog", "rebuild"),
)


def _acting(there: Guarded) -> list[list[str]]:
    acting = [*ACTING, ("backups", "delete", "{backup}", "--yes"), ("operations", "cancel", "x")]
    return [[part.format(backup=there.backup) for part in arguments] for arguments in acting]


@pytest.mark.parametrize("way", ["primary", "supplementary"])
def test_viewers_look_and_do_not_act(guarded: Guarded, way: str) -> None:
    gid, groups = (guarded.viewers, ()) if way == "primary" else (NOBODY, (1234567, guarded.viewers))
    for arguments in LOOKING:
        ran = guarded.ctl(*arguments, gid=gid, groups=groups)
        assert ran.code == 0, (arguments, ran)
        assert ran.json
    shown = guarded.ctl("backups", "show", guarded.backup, gid=gid, groups=groups)
    assert shown.code == 0
    for command in _acting(guarded):
        ran = guarded.ctl(*command, gid=gid, groups=groups)
        assert (ran.code, ran.json["error"]["code"]) == (8, "denied"), command
        assert "control.operators" in ran.json["error"]["hint"]
    assert len(guarded.product.files()) >= 1
    assert not guarded.server.sql("select 1 from pg_database where datname = 'not_by_a_viewer'")
    assert guarded.product.ok("backups", "show", guarded.backup)["backup"]["held"] is False


@pytest.mark.parametrize("way", ["primary", "supplementary"])
def test_operators_act(guarded: Guarded, way: str) -> None:
    gid, groups = (guarded.operators, ()) if way == "primary" else (NOBODY, (1234567, guarded.operators))
    for arguments in LOOKING:
        assert guarded.ctl(*arguments, gid=gid, groups=groups).code == 0, arguments
    made = guarded.ctl("backup", "--database", "guarded", gid=gid, groups=groups)
    assert made.code == 0, made
    mine = made.json["backups"][0]["id"]
    assert made.json["operation"]["submitted_by"] == f"nobody({NOBODY})"
    for acting in (
        ("backups", "hold", mine, "--note", "mine"),
        ("backups", "release", mine),
        ("verify", "--instance", "one"),
        ("restore", "--backup", mine, "--target-database", "by_an_operator"),
        ("backups", "delete", mine, "--yes"),
    ):
        ran = guarded.ctl(*acting, gid=gid, groups=groups)
        assert ran.code == 0, (acting, ran)
    guarded.server.drop_database("by_an_operator")


def test_strangers_are_kept_outside_and_denied_where_they_get_in(guarded: Guarded) -> None:
    for arguments in (["status"], ["backup"], ["backups", "delete", guarded.backup, "--yes"]):
        ran = guarded.ctl(*arguments, groups=(1234567,))
        assert (ran.code, ran.json["error"]["code"]) == (8, "denied")
        assert ran.json["error"]["hint"]
    # Even where the file lets everybody in, the role decides.
    mode = guarded.product.socket_path.stat().st_mode
    assert mode & 0o007 == 0
    guarded.product.socket_path.chmod(0o666)
    try:
        for arguments in (["status"], ["config", "show"], ["backup"]):
            ran = guarded.ctl(*arguments, groups=(1234567,))
            assert (ran.code, ran.json["error"]["code"]) == (8, "denied")
    finally:
        guarded.product.socket_path.chmod(mode)


def test_what_was_denied_is_in_the_audit(guarded: Guarded) -> None:
    denied = guarded.ctl("backups", "release", guarded.backup, gid=guarded.viewers)
    assert denied.code == 8
    assert guarded.ctl("audit", "show", gid=guarded.viewers).code == 8
    entries = guarded.product.ok("audit", "show", "--kind", "request.denied", "--actor", "nobody")["audit"]
    mine = [each for each in entries if each["facts"]["request"] == "GET /v1/audit"]
    assert (mine[-1]["result"], mine[-1]["error_code"], mine[-1]["from"]["uid"]) == ("refused", "denied", NOBODY)
    assert {"POST /v1/backups/{id}/release"} <= {each["facts"]["request"] for each in entries}


def test_what_the_daemon_writes_is_closed_to_others(guarded: Guarded) -> None:
    product = guarded.product
    paths = [product.base_path, *product.base_path.rglob("*"), product.state_dir, *product.state_dir.rglob("*")]
    modes: dict[Path, int] = {}
    for path in paths:
        with suppress(FileNotFoundError):  # the daemon lives: a journal or a trial file may be gone again
            modes[path] = path.stat().st_mode
    assert len(modes) > 8
    assert not [path for path, mode in modes.items() if mode & 0o007]
