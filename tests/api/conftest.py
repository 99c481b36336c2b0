"""Running sites on private sockets, and clients of other users."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.service import RecordedService
from tests.waiting import PATIENCE
from vya_backupd.api.access import Access
from vya_backupd.api.control import control_app
from vya_backupd.api.listen import Site, bind_tcp, bind_unix
from vya_backupd.api.public import public_app

_ASK = """
import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(100)
try:
    s.connect(sys.argv[1])
except PermissionError:
    print("HTTP/1.1 000 no access"); sys.exit()
s.sendall(f"{sys.argv[2]} {sys.argv[3]} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}".encode())
data = b""
while chunk := s.recv(65536): data += chunk
sys.stdout.buffer.write(data)
"""


@dataclass
class Control:
    """A control site that runs, and how to ask it."""

    path: Path
    service: RecordedService
    site: Site
    session: aiohttp.ClientSession

    async def ask(self, method: str, route: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, f"http://daemon{route}", **options) as answer:
            return answer.status, json.loads(await answer.text())

    async def ask_as(self, uid: int, gid: int, groups: list[int], method: str, route: str) -> tuple[int, str]:
        """Ask as another user, in a process of its own; status 0 when connecting is not allowed."""
        extra = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
        argv = ["setpriv", "--reuid", str(uid), "--regid", str(gid), *extra, sys.executable, "-c", _ASK]
        child = await asyncio.to_thread(
            subprocess.run, [*argv, str(self.path), method, route], capture_output=True, check=False, timeout=PATIENCE
        )
        if child.returncode:
            pytest.skip(f"{sys.executable} does not run as another user here: {child.stderr.decode()[-200:]}")
        text = child.stdout.decode()
        return int(text.split()[1]), text


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A short path that other users may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="vya-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def two_groups() -> list[grp.struct_group]:
    """Two groups of this machine that nobody of the tests is in by itself."""
    own = {0, os.getgid(), 65534, *os.getgroups()}
    found = [group for group in grp.getgrall() if group.gr_gid not in own]
    return found[:2]


@pytest.fixture
def start_control(open_folder: Path) -> Iterator[Callable[..., contextlib.AbstractAsyncContextManager[Control]]]:
    @contextlib.asynccontextmanager
    async def start(operators: tuple[str, ...] = (), viewers: tuple[str, ...] = ()) -> AsyncIterator[Control]:
        path, service, access = open_folder / "control.sock", RecordedService(), Access(operators, viewers)
        groups = [*access.operator_gids, *access.viewer_gids]
        sock = bind_unix(path, group=groups[0] if groups else None, more_groups=tuple(groups[1:]))
        site = Site(control_app(service, access), sock, max_connections=20)
        await site.start()
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            yield Control(path, service, site, session)
        await site.stop()

    return start  # type: ignore[return-value]


@pytest.fixture
async def control(start_control: Any) -> AsyncIterator[Control]:
    async with start_control() as running:
        yield running


@dataclass
class Public:
    """A public site that runs."""

    port: int
    service: RecordedService
    site: Site


@pytest.fixture
async def public() -> AsyncIterator[Public]:
    service = RecordedService()
    sock = bind_tcp("127.0.0.1", 0)
    site = Site(public_app(service), sock, max_connections=10)
    await site.start()
    yield Public(sock.getsockname()[1], service, site)
    await site.stop()
