"""A port that was chosen stays its owner's, and is free again when the owner is gone."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vya_backupd.testing import ports
from vya_backupd.testing.ports import ReservedPort

_CHOOSE = """
import sys
from vya_backupd.testing import ports
ports._MANY, ports._LOWEST = 1, int(sys.argv[1])
ports._RANGE = ports.Path(sys.argv[2])
try:
    print(ports.ReservedPort().number, flush=True)
except OSError as error:
    print(error, flush=True)
sys.stdin.read()
"""


def test_a_port_lies_outside_what_the_kernel_gives_to_others() -> None:
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    port = ReservedPort()
    try:
        assert lowest < 12_000 or not lowest <= port.number <= highest
        with socket.create_server(("127.0.0.1", port.number)):
            pass
    finally:
        port.release()
        port.release()


def test_nobody_gets_a_port_that_another_process_holds_or_listens_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one port may be chosen here."""
    free = ReservedPort()
    free.release()
    kernels = tmp_path / "range"
    kernels.write_text("1 2\n")
    command = [sys.executable, "-c", _CHOOSE, str(free.number), str(kernels)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == f"{free.number}\n"
        for name, value in (("_RANGE", kernels), ("_LOWEST", free.number), ("_MANY", 1)):
            monkeypatch.setattr(ports, name, value)
        with pytest.raises(OSError, match="no free port"):
            ReservedPort()
        other.kill()
        other.wait()
    with socket.create_server(("127.0.0.1", free.number)), pytest.raises(OSError, match="no free port"):
        ReservedPort()
    ReservedPort().release()
