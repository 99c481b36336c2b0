"""Every way in which a daemon can be missing or strange gives one clear error."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.client.canned import CannedDaemon, result
from tests.client.conftest import Vyactl
from tests.waiting import PATIENCE
from vya_backupd.client.main import run
from vya_backupd.client.transport import ControlClient
from vya_backupd.errors import DeniedError, UnreachableError, UsageError, VyaError


def test_no_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--socket", str(tmp_path / "none.sock"), "status", "-o", "json"]) == 7
    out, err = capsys.readouterr()
    assert '"daemon_unreachable"' in out
    assert err.startswith("error: no daemon: there is no control socket at ")


def test_a_socket_that_nobody_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("dead.sock")
    with pytest.raises(UnreachableError, match=r"nobody answers at dead\.sock"):
        ControlClient("dead.sock").get("/v1/status")


def test_a_path_that_is_too_long() -> None:
    with pytest.raises(UsageError, match="too long"):
        ControlClient("/tmp/" + "x" * 200).get("/v1/status")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not open the socket")
def test_a_socket_that_we_may_not_open(daemon: CannedDaemon) -> None:
    daemon.socket_path.parent.chmod(0o755)
    daemon.socket_path.chmod(0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(DeniedError, match="you may not open the control socket") as caught:
            ControlClient(str(daemon.socket_path)).get("/v1/status")
    finally:
        os.seteuid(0)
    assert caught.value.exit_code == 8


@contextmanager
def _speaking(path: Path, answer: bytes | None) -> Iterator[str]:
    """A server that reads a request, answers these bytes and hangs up, or with None stays silent."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        quiet = threading.Event()

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                if answer is None:
                    quiet.wait(PATIENCE)
                else:
                    peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(path)
        finally:
            quiet.set()
            thread.join(PATIENCE)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
    ],
)
def test_something_else_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    with _speaking(Path("s"), answer) as path, pytest.raises(UnreachableError):
        ControlClient(path).get("/v1/status")


def test_silence_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with _speaking(Path("s"), None) as path, pytest.raises(UnreachableError, match="no answer for 0 s"):
        ControlClient(path).get("/v1/status", timeout=0.3)


@pytest.mark.parametrize(("status", "code"), [(403, 8), (404, 4), (502, 1)])
def test_refusals_without_a_record_are_still_refusals(daemon: CannedDaemon, status: int, code: int) -> None:
    daemon.answers["GET", "/v1/status"] = (status, ["no record"])
    with pytest.raises(VyaError) as caught:
        ControlClient(str(daemon.socket_path)).get("/v1/status")
    assert caught.value.exit_code == code


def test_a_watch_that_breaks_off_within_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with _speaking(Path("s"), b'HTTP/1.1 200 OK\r\n\r\n{"type": "progress"}\n{"type": "fini') as path:
        lines = ControlClient(path).lines("/v1/operations/x/watch")
        assert next(lines) == {"type": "progress"}
        with pytest.raises(UnreachableError, match="broke off"):
            next(lines)


def test_a_daemon_that_stays_away_is_given_up_with_the_operations_name(
    daemon: CannedDaemon, vyactl: Vyactl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vya_backupd.client.watch.PATIENCE_SECONDS", 0.5)
    daemon.runs(final=result())
    daemon.watches = [[daemon.BREAK]]
    daemon.answers["GET", "/v1/operations/op-1"] = UnreachableError("draining")
    ran = vyactl("backup")
    assert ran.code == 7
    assert "operation op-1" in ran.err


def test_records_arrive_one_by_one(daemon: CannedDaemon) -> None:
    go_on = threading.Event()
    daemon.watches.append([{"type": "operation"}, go_on, {"type": "finished"}])
    lines = ControlClient(str(daemon.socket_path)).lines("/v1/operations/op-1/watch")
    assert next(lines) == {"type": "operation"}
    assert not go_on.is_set()
    go_on.set()
    assert [line["type"] for line in lines] == ["finished"]


def test_ctrl_c_before_anything_was_submitted(daemon: CannedDaemon, vyactl: Vyactl) -> None:
    def slow(_: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        return {}

    daemon.answers["GET", "/v1/status"] = slow
    assert vyactl("status").code == 130
