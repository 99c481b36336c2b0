"""What systemd itself says of the shipped units."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployment.machine import UNITS
from tests.deployment.unitfile import read_unit, seconds
from tests.peers import require_peer
from vya_backupd.config.load import load
from vya_backupd.config.schema import Config
from vya_backupd.daemon.lifecycle import BEAT_SECONDS

SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))
_WORST = 2.0
_COMMANDS = ("opt/vya/bin/vya-backupd", "opt/vya/bin/vyactl", "bin/kill", "bin/sh", "usr/bin/timeout")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """What an installation has that sets nothing."""
    path = tmp_path / "config.yaml"
    path.write_text("{}\n")
    return load(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with the units where they are installed, the system's own targets, and the programs that they name."""
    found = [
        Path("/lib/systemd/system"),
        *Path("/var/cache/vya_backupdb").glob("servers/peers/root/lib/systemd/system"),
    ]
    system = next(folder for folder in found if (folder / "sysinit.target").exists())
    target = tmp_path / "usr/lib/systemd/system"
    target.mkdir(parents=True)
    for path in system.glob("*.target"):
        shutil.copy(path, target)
    installed = tmp_path / "etc/systemd/system"
    installed.mkdir(parents=True)
    for name in (*SERVICES, *TIMERS):
        shutil.copy(UNITS / name, installed)
    for command in _COMMANDS:
        program = tmp_path / command
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(mode=0o755)
    return tmp_path


def _analyze(*words: object) -> subprocess.CompletedProcess[str]:
    program = require_peer("systemd-analyze")
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)


def test_all_units_are_understood_without_a_word(root: Path) -> None:
    done = _analyze("verify", "--man=no", "--recursive-errors=yes", f"--root={root}", *SERVICES, *TIMERS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verifying_finds_a_wrong_key_at_all(root: Path) -> None:
    unit = root / "etc/systemd/system" / SERVICES[0]
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHomes="))
    done = _analyze("verify", "--man=no", f"--root={root}", SERVICES[0])
    assert "ProtectHomes" in done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_the_exposure_is_under_two(name: str) -> None:
    done = _analyze("security", "--offline=true", "--no-pager", f"--threshold={int(_WORST * 10)}", UNITS / name)
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(score) < _WORST, done.stdout


@pytest.mark.parametrize("name", TIMERS)
def test_timers_start_services_that_exist_and_make_up_for_missed_nights(name: str) -> None:
    timer = read_unit(UNITS / name)["Timer"]
    assert (UNITS / timer["Unit"][0]).exists()
    assert timer["Persistent"] == ["yes"]
    (when,) = timer["OnCalendar"]
    done = _analyze("calendar", "--iterations=2", when)
    assert done.returncode == 0, done.stderr
    assert "02:00:00" in done.stdout


def test_the_daemons_unit_fits_the_defaults_of_the_configuration(config: Config) -> None:
    service = read_unit(UNITS / "vya-backupd.service")["Service"]
    assert service["Type"] == ["simple"]
    assert seconds(service["TimeoutStopSec"][0]) > config.application.stop_deadline.total_seconds() + 30
    assert seconds(service["WatchdogSec"][0]) > 4 * BEAT_SECONDS
    assert config.application.state_dir == Path("/var/lib", service["StateDirectory"][0])
    assert config.control.socket_path.parent == Path("/run", service["RuntimeDirectory"][0])
    writable = Path(service["ReadWritePaths"][0])
    local = config.storage.local
    assert local.base_path.parent == local.temp_path.parent == writable


def test_the_folders_that_are_made_are_those_of_the_configuration(config: Config) -> None:
    lines = (UNITS / "tmpfiles.d/vya-backupdb.conf").read_text().splitlines()
    folders = {line.split()[1]: line.split()[2] for line in lines if line.startswith("d ")}
    local = config.storage.local
    assert {str(local.base_path), str(local.temp_path), "/etc/vya_backupdb"} <= set(folders)
    assert not int(folders[str(local.base_path)], 8) & 0o007


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_more_than_the_daemon(name: str) -> None:
    daemon, other = (read_unit(UNITS / each)["Service"] for each in ("vya-backupd.service", name))
    protections = {
        key for key in daemon if key.startswith(("Protect", "Restrict", "Private", "NoNew", "Capab", "Lock"))
    }
    protections -= {"RestrictAddressFamilies"}
    for key in sorted(protections | {"MemoryDenyWriteExecute", "LimitCORE", "UMask", "User"}):
        assert other.get(key) == daemon[key], json.dumps({key: other.get(key)})
    assert set(other["RestrictAddressFamilies"][0].split()) <= set(daemon["RestrictAddressFamilies"][0].split())
