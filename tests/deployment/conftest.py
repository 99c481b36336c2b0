"""A machine on which the product is installed, and what is needed to configure it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ServerPool
from tests.deployment import machine as machines
from tests.deployment.machine import Machine
from tests.peers import require_peer
from vya_backupd.testing.servers import PrivateServer

VYACTL = str(Path(sys.executable).parent / "vyactl")


@pytest.fixture(scope="module")
def shop(server_pool: ServerPool) -> Iterator[PrivateServer]:
    """A PostgreSQL with one small database."""
    server = server_pool.get("postgresql")
    server.create_database("shop")
    server.sql("CREATE TABLE t AS SELECT n, md5(n::text) AS word FROM generate_series(1, 5000) n", "shop")
    yield server
    server.drop_database("shop")


@pytest.fixture(scope="module")
def machine(shop: PrivateServer) -> Iterator[Machine]:
    """Installed, not configured; in a folder with a short path, since sockets need one."""
    if os.geteuid() != 0:
        pytest.skip("only root can make mount namespaces and change users")
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("this root may not make mount namespaces: a container that is kept short of rights")
    for program in ("systemd-sysusers", "systemd-tmpfiles", "systemd-analyze"):
        require_peer(program)
    with tempfile.TemporaryDirectory(prefix="vya-m") as folder:
        top = Path(folder)
        top.chmod(0o755)
        tools = shop.tools["pg_dump"].parent
        lent = () if tools.is_relative_to("/usr") else (tools.parent,)
        yield machines.furnish(top / "root", machines.build_wheel(top), lent)


def encrypt(path: Path, instances: list[dict[str, object]]) -> None:
    """Make a credentials file and its key, as a user would."""
    plain = path.with_name("plain.json")
    plain.touch(0o600)
    plain.write_text(json.dumps({"databases": instances}))
    command = [VYACTL, "credentials", "encrypt", "--input", str(plain), "--output", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    plain.unlink()


@pytest.fixture
def playbook(tmp_path: Path) -> list[object]:
    """Arguments that run the role where we are, with credentials as they come from a vault."""
    encrypt(
        tmp_path / "credentials.json", [{"id": "one", "type": "mysql", "host": "db", "username": "b", "password": "p"}]
    )
    (wheel,) = [path for path in [tmp_path / "vya_backupdb-2.0.0-py3-none-any.whl"] if path.write_bytes(b"") == 0]
    variables = {
        "vya_backupdb_credentials": (tmp_path / "credentials.json").read_text(),
        "vya_backupdb_credentials_key": (tmp_path / "credentials.key").read_text(),
        "vya_backupdb_config": {"application": {"hostname": "east"}, "backup": {"compression_level": 3}},
        "vya_backupdb_method": "cron",
        "vya_backupdb_wheel": str(wheel),
        "ansible_python_interpreter": "/opt/vya/bin/python",
    }
    play = [{"hosts": "localhost", "gather_facts": False, "roles": ["vya_backupdb"]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    return [tmp_path / "play.yml", "-i", "localhost,", "-c", "local", "-e", f"@{tmp_path / 'variables.json'}"]
