"""What ``make demo`` shows is true, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.waiting import PATIENCE
from vya_backupd.testing import compare, sample
from vya_backupd.testing.demo import Stage
from vya_backupd.testing.servers import PrivateServer

DEMO = [sys.executable, "-m", "vya_backupd.testing.demo"]


def _environment(folder: Path) -> dict[str, str]:
    return dict(os.environ) | {"TMPDIR": str(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A temporary folder with a short path that everybody may enter, as the system's own."""
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    short = Path(tempfile.mkdtemp(prefix="vya-t", dir="/tmp"))
    short.chmod(0o1777)
    return short


@pytest.mark.slow
def test_every_check_of_the_demo_passes(folder: Path) -> None:
    try:
        done = subprocess.run(DEMO, env=_environment(folder), capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        passed = re.search(r"^(\d+) of (\d+) checks passed", done.stdout, re.MULTILINE)
        assert passed is not None
        assert int(passed[1]) == int(passed[2]) == done.stdout.count("[ok]") >= 7
        assert list(folder.iterdir()) == []
    finally:
        folder.rmdir()


def test_ctrl_c_stops_and_removes_all_that_was_started(folder: Path) -> None:
    demo = subprocess.Popen(
        DEMO, env=_environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )
    assert demo.stdout is not None
    with demo:
        said = []
        for line in demo.stdout:
            said.append(line)
            if "$ vyactl backup" in line:
                break
        daemon = int(re.findall(r"process (\d+)", "".join(said))[0])
        for _ in range(2):  # people press it twice
            os.killpg(demo.pid, signal.SIGINT)
        demo.stdout.read()
        assert demo.wait(PATIENCE) == 128 + signal.SIGINT
    assert list(folder.iterdir()) == []
    folder.rmdir()
    assert not Path(f"/proc/{daemon}").exists()


def test_a_check_that_fails_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage()
    stage.check("good", ok=True)
    assert stage.end() == 0
    stage.check("bad", ok=False)
    assert stage.end() == 1
    assert "FAILED: bad" in capsys.readouterr().out
    assert Stage().end() == 1, "nothing shown is nothing proven"


def test_comparing_finds_each_kind_of_difference(server: PrivateServer, fresh_name: str) -> None:
    a, b = f"{fresh_name}_a", f"{fresh_name}_b"
    for name in (a, b):
        server.create_database(name)
        server.sql("create table t (k int primary key, v varchar(9)); insert into t values (1, 'x'), (2, NULL)", name)
    before = compare.row_digests(server, a)
    assert all(each.ok for each in compare.compare_rows(before, compare.row_digests(server, b)))
    assert compare.own_dump(server, a) == compare.own_dump(server, b)
    server.sql("update t set v = '' where k = 2; delete from t where k = 1; insert into t values (3, 'x')", b)
    (found,) = compare.compare_rows(before, compare.row_digests(server, b))
    assert (found.same, found.changed, found.lost, found.added) == (0, 1, 1, 1)
    server.sql("drop table t", b)
    (found,) = compare.compare_rows(before, compare.row_digests(server, b))
    assert found.lost == 2
    assert compare.own_dump(server, a) != compare.own_dump(server, b)
    for name in (a, b):
        server.drop_database(name)


def test_sample_data_is_the_same_each_time(start_server: StartServer) -> None:
    server = start_server("postgresql-18")
    sample.fill(server)
    first = compare.row_digests(server, sample.SHOP)
    for name in (sample.SHOP, sample.NOTES):
        server.drop_database(name)
    server.sql("DROP ROLE shop_reader")
    sample.fill(server)
    again = compare.row_digests(server, sample.SHOP)
    del first["public.changes"], again["public.changes"]  # these rows carry the time
    assert first == again
    assert sum(map(len, first.values())) == sample.CUSTOMERS + sample.ORDERS
