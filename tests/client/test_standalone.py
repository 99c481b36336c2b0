"""The client's side of ``--standalone``: whose work it is, and what ends it. The product's side is its own test."""

from __future__ import annotations

import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import vya_backupd
from tests.client.canned import CannedDaemon, backup, operation, progress, result
from vya_backupd.client.main import run
from vya_backupd.errors import BusyError


class Opened:
    """Stands where the product would be opened: yields the canned daemon's socket, remembers how it was used."""

    def __init__(self, daemon: CannedDaemon) -> None:
        self._daemon = daemon
        self.configs: list[Path] = []
        self.closed = 0
        self.refusal: BusyError | None = None

    @contextmanager
    def standalone(self, config: Path) -> Iterator[Path]:
        self.configs.append(config)
        if self.refusal:
            raise self.refusal
        try:
            yield self._daemon.socket_path
        finally:
            self.closed += 1


@pytest.fixture
def opened(daemon: CannedDaemon, monkeypatch: pytest.MonkeyPatch) -> Opened:
    product = Opened(daemon)
    module = types.ModuleType("vya_backupd.alone")
    module.standalone = product.standalone  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vya_backupd.alone", module)
    monkeypatch.setattr(vya_backupd, "app", module, raising=False)
    return product


def test_the_work_is_done_by_the_named_configuration(daemon: CannedDaemon, opened: Opened) -> None:
    daemon.runs(final=result(backups=[backup()]))
    assert run(["backup", "--standalone", "--config", "/etc/x.yaml"]) == 0
    assert (opened.configs, opened.closed) == ([Path("/etc/x.yaml")], 1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_work_and_waits_for_its_end(
    daemon: CannedDaemon, opened: Opened, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    cancelled = threading.Event()

    def cancel(_: object) -> object:
        cancelled.set()
        return {"operation": operation("running")}

    daemon.runs(progress(100), lambda: os.kill(os.getpid(), number), threading.Event(), final=result("cancelled"))
    daemon.watches.append([cancelled, {"type": "finished", **result("cancelled")}])
    daemon.answers["POST", "/v1/operations/op-1/cancel"] = cancel
    assert run(["backup", "--standalone"]) == 130
    assert cancelled.is_set()
    assert opened.closed == 1
    assert "interrupted: stopping the work" in capsys.readouterr().err


def test_a_running_daemon_refuses_it(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    opened.refusal = BusyError("the state directory is held by process 4711", hint="Stop it.")
    assert run(["verify", "--instance", "prod-pg", "--standalone"]) == 6
    assert "process 4711" in capsys.readouterr().err
