"""Progress and leaving, on a terminal and in a pipe, with the installed program."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.client.canned import CannedDaemon, backup, operation, progress, result, step
from tests.client.terminal import VYACTL, Terminal
from tests.waiting import PATIENCE

MIB = 1 << 20


def test_progress_is_redrawn_with_bytes_rate_share_and_time_left(daemon: CannedDaemon) -> None:
    seen, end = threading.Event(), threading.Event()
    daemon.runs(
        {"type": "step", **step("running")},
        progress(100 * MIB, 1000 * MIB),
        seen,
        progress(250 * MIB, 1000 * MIB),
        end,
        {"type": "step", **step("succeeded")},
        final=result(backups=[backup()]),
    )
    with Terminal(VYACTL, "--socket", str(daemon.socket_path), "backup") as terminal:
        terminal.expect(r"prod-pg/shop\s+##-+\s+10%\s+100 MiB")
        seen.set()
        terminal.expect(r"#####-{15}\s+25%\s+250 MiB\s+[\d.]+ [KMGTP]iB/s\s+[\d.]+ \w+( [\d.]+ \w+)? left")
        terminal.expect(r"0 of 1 step done")
        end.set()
        assert terminal.wait() == 0
    assert "\x1b[" in terminal.raw
    assert terminal.text.rstrip().endswith("backup op-1: succeeded, 1 of 1 step in 12 s")


def test_in_a_pipe_progress_is_plain_lines_on_stderr(daemon: CannedDaemon) -> None:
    daemon.runs(progress(100 * MIB, 1000 * MIB), final=result(backups=[backup()]))
    ran = subprocess.run(
        [VYACTL, "--socket", daemon.socket_path, "backup"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "\x1b" not in ran.stdout + ran.stderr
    assert ran.stderr.splitlines()[0] == "prod-pg/shop: dump, 100 MiB, 10% of 0.98 GiB"
    assert ran.stdout.splitlines()[1].startswith("b-1")


def test_leaving_says_that_the_operation_goes_on(daemon: CannedDaemon) -> None:
    never = threading.Event()
    daemon.runs(progress(100, 1000), never, final=result())
    try:
        with Terminal(VYACTL, "--socket", str(daemon.socket_path), "backup") as terminal:
            terminal.expect("10%")
            terminal.interrupt()
            terminal.expect(r"Operation op-1 goes on in the daemon\.")
            terminal.expect(r"vyactl operations watch op-1")
            terminal.expect(r"vyactl operations cancel op-1")
            assert terminal.wait() == 130
    finally:
        never.set()
    assert not daemon.bodies("POST", "/v1/operations/op-1/cancel")


def test_leaving_in_json_names_the_operation_on_stdout(daemon: CannedDaemon) -> None:
    never = threading.Event()
    daemon.runs(progress(100, 1000), never, final=result())
    with subprocess.Popen(
        [VYACTL, "--socket", daemon.socket_path, "backup", "--output", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "dump" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait(PATIENCE) == 130
    never.set()
    assert json.loads(out) == {"operation": {"id": "op-1", "state": "running"}}


def test_a_reader_that_goes_away_is_no_traceback(daemon: CannedDaemon) -> None:
    daemon.answers["GET", "/v1/operations"] = {"operations": [operation(id=f"op-{n}") for n in range(5000)]}
    with subprocess.Popen(
        [VYACTL, "--socket", daemon.socket_path, "operations", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(PATIENCE) in {0, 1}


@pytest.mark.parametrize("program", ["vyactl", "vya-backupdb"])
def test_both_names_are_the_same_program(program: str) -> None:
    path = Path(VYACTL).with_name(program)
    ran = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert f"Usage: {program} [OPTIONS] COMMAND" in ran.stdout
    assert "catalog" in ran.stdout


def test_the_other_name_is_used_in_advice(daemon: CannedDaemon) -> None:
    daemon.answers["POST", "/v1/operations"] = (201, {"operation": operation("queued")})
    ran = subprocess.run(
        [Path(VYACTL).with_name("vya-backupdb"), "--socket", daemon.socket_path, "backup", "--no-wait"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert "vya-backupdb operations watch op-1" in ran.stderr


def test_help_takes_less_than_half_a_second_of_work() -> None:
    """Of processor time: how long a busy machine lets it wait is not the client's doing."""
    unwatched = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    spans = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([VYACTL, "--help"], capture_output=True, timeout=PATIENCE, check=True, env=unwatched)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spans.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if 0 < spans[-1] < 0.5:
            return
    pytest.fail(f"it took {spans} s")


def test_help_imports_no_network_no_database_and_no_daemon() -> None:
    """What makes a start slow, by name: a regression shows here before it can be felt."""
    code = "import sys; from vya_backupd.client.main import run; run(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    ran = subprocess.run(
        [Path(VYACTL).with_name("python"), "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    modules = set(ran.stderr.split())
    assert not modules & {"aiohttp", "sqlalchemy", "pydantic", "asyncio", "rich.console", "cryptography"}
    assert not {
        name
        for name in modules
        if name.startswith(("vya_backupd.alone", "vya_backupd.app", "vya_backupd.config", "vya_backupd.daemon"))
    }


def test_output_that_cannot_show_a_name_is_no_crash(daemon: CannedDaemon) -> None:
    daemon.answers["GET", "/v1/backups"] = {"backups": [backup(database="東京")]}
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [VYACTL, "--socket", str(daemon.socket_path), "backups", "list"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True, env=env)
    assert r"\u6771\u4eac" in ran.stdout
    ran = subprocess.run(
        [*command, "-o", "json"], capture_output=True, text=True, timeout=PATIENCE, check=True, env=env
    )
    assert json.loads(ran.stdout)["backups"][0]["database"] == "東京"
