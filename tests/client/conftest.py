from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.client.canned import CannedDaemon
from vya_backupd.client.main import run


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Vyactl = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("VYA_SOCKET", "VYA_CONFIG", "FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def daemon() -> Iterator[CannedDaemon]:
    # A short path of its own: a socket's path holds 107 bytes, a test's folder may be longer.
    with tempfile.TemporaryDirectory(prefix="vya-") as folder:
        server = CannedDaemon(Path(folder) / "control.sock")
        server.start()
        yield server
        server.stop()


@pytest.fixture
def vyactl(daemon: CannedDaemon, capsys: pytest.CaptureFixture[str]) -> Vyactl:
    """Run the client in this process, against the canned daemon."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run(["--socket", str(daemon.socket_path), *arguments])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call
