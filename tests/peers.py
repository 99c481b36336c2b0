"""Real programs of others for tests: found, or the test says loudly that it did not run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.waiting import PATIENCE, until
from vya_backupd.testing.peers import find_peer, missing_peers


def require_peer(name: str) -> Path:
    """The program; skips the test when this machine has none, and fails it with ``VYA_REQUIRE_SERVERS=1``."""
    found = find_peer(name)
    if found is not None:
        return found
    reason = f"{name} is missing; get it by: {missing_peers().get(name, 'installing it')}"
    if os.environ.get("VYA_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Running:
    """A program that serves HTTP on a port of its own choice."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **query: str) -> Any:
        """The answer's body: parsed, where it is JSON."""
        address = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        with urlopen(address, timeout=PATIENCE) as answer:
            body = answer.read().decode()
            return json.loads(body) if "json" in answer.headers.get("Content-Type", "") else body


@contextmanager
def running(name: str, folder: Path, *arguments: str) -> Iterator[Running]:
    """A program of the Prometheus family on loopback, until the end of the block. It chooses its port."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    listen = "--web.listen-address=127.0.0.1:0"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [require_peer(name), listen, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder
        )
    try:
        serving = Running(process, log, until(lambda: _port(process, log)))
        until(lambda: _is_ready(serving))
        yield serving
    finally:
        process.kill()
        process.wait()


def _is_ready(peer: Running) -> bool:
    try:
        peer.get("/-/ready")
    except HTTPError:
        return False
    return True


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    said = log.read_text()
    if process.poll() is not None:
        raise RuntimeError(f"it ended with {process.returncode}:\n{said}")
    found = re.search(r'msg="Listening on" address=127\.0\.0\.1:(\d+)', said)
    return int(found[1]) if found else 0
