"""Who may connect and what they may do: real processes of other users. Needs root to become them."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from vya_backupd.api.access import Access, Peer, Role, peer_of
from vya_backupd.api.listen import bind_unix
from vya_backupd.errors import ConfigError

NOBODY = 65534

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv to become another user"
)


def answers_of(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    return True


@needs_root
async def test_supplementary_groups_decide_the_role(start_control: Any, two_groups: list[grp.struct_group]) -> None:
    operators, viewers = two_groups
    async with start_control((operators.gr_name,), (viewers.gr_name,)) as control:

        async def ask(groups: list[int], method: str, route: str, gid: int = NOBODY) -> int:
            status: int = (await control.ask_as(NOBODY, gid, groups, method, route))[0]
            return status

        assert await ask([], "GET", "/v1/status") == 0
        assert await ask([operators.gr_gid], "POST", "/v1/backups/b1/release") == 200
        assert await ask([], "POST", "/v1/backups/b1/release", gid=operators.gr_gid) == 200
        assert await ask([viewers.gr_gid], "GET", "/v1/status") == 200
        status, answer = await control.ask_as(NOBODY, NOBODY, [viewers.gr_gid], "POST", "/v1/backups/b2/release")
        assert status == 403
        assert '"code": "denied"' in answer
        assert "control.operators" in answer
        # Even where the file lets somebody in, the role decides.
        control.path.chmod(0o666)
        assert await ask([], "GET", "/v1/status") == 403
        assert await ask([1234], "GET", "/v1/status") == 403
    assert [call[:2] for call in control.service.calls] == [("release", "b1"), ("release", "b1")]
    assert f"({NOBODY})" in control.service.calls[0][2]


@needs_root
async def test_the_socket_file_is_of_the_operators_group(open_folder: Path, two_groups: list[grp.struct_group]) -> None:
    path = open_folder / "c.sock"
    with bind_unix(path, group=two_groups[0].gr_gid):
        status = path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o660, two_groups[0].gr_gid)


def test_peers_are_read_from_the_kernel() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        peer = peer_of(left)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert peer.gids == {os.getegid(), *os.getgroups()}


def test_roles() -> None:
    access = Access(["root"], ["no-such-group-here"])
    assert access.role(Peer(1, 0, frozenset({7}))) is Role.OPERATOR
    assert access.role(Peer(1, os.geteuid(), frozenset())) is Role.OPERATOR
    assert access.role(Peer(1, 4_000_000, frozenset({7}))) is Role.NONE
    assert access.role(Peer(1, 4_000_000, frozenset({0}))) is Role.OPERATOR


def test_a_dead_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "run" / "c.sock"
    first = bind_unix(path)
    with pytest.raises(ConfigError) as taken:
        bind_unix(path)
    assert taken.value.code == "socket_in_use"
    assert answers_of(path)
    first.close()
    with bind_unix(path):
        assert answers_of(path)


def test_a_new_folder_lets_clients_pass_and_the_socket_is_never_wider(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with bind_unix(tmp_path / "run" / "c.sock"):
            assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o755
    finally:
        os.umask(before)
    os.umask(0)
    try:
        with bind_unix(tmp_path / "run" / "d.sock"):
            assert stat.S_IMODE((tmp_path / "run" / "d.sock").stat().st_mode) == 0o660
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_not_a_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path, precious = tmp_path / "c.sock", tmp_path / "precious"
    precious.write_text("keep me")
    if kind == "file":
        path.write_text("keep me")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(precious)
    with pytest.raises(ConfigError) as refused:
        bind_unix(path)
    assert refused.value.code == "socket_in_use"
    assert path.is_symlink() or path.is_dir() or path.read_text() == "keep me"
    assert precious.read_text() == "keep me"


def test_a_path_that_is_too_long_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot make the control socket"):
        bind_unix(tmp_path / ("x" * 120))
