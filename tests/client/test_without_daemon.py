"""What works without a daemon: configuration and credentials, on real files."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import Ran
from vya_backupd.client.main import run

PASSWORD = "canary-päss'\"\\"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a configuration and plain credentials."""
    (tmp_path / "config.yaml").write_text(
        f"application: {{state_dir: {tmp_path}/state, environment: dev}}\n"
        f"storage: {{local: {{base_path: {tmp_path}/backups}}}}\n"
        f"credentials: {{file: {tmp_path}/credentials.json}}\n"
    )
    entry = {
        "id": "prod-pg",
        "enabled": True,
        "type": "postgresql",
        "host": "127.0.0.1",
        "port": 5432,
        "username": "backup_user",
        "password": PASSWORD,
        "database": "*",
    }
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps({"version": "1.0", "databases": [entry]}))
    plain.chmod(0o600)
    return tmp_path


@pytest.fixture
def vyactl(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err
        return Ran(code, out, err)

    return call


def encrypted(vyactl: Any, site: Path) -> Ran:
    ran: Ran = vyactl("credentials", "encrypt", "--input", site / "plain.json", "--output", site / "credentials.json")
    return ran


def test_credentials_from_plain_to_rotated(vyactl: Any, site: Path) -> None:
    assert encrypted(vyactl, site).code == 0
    made = site / "credentials.json"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    first = made.read_text()
    assert PASSWORD not in first
    ran = vyactl("credentials", "check", "--config", site / "config.yaml")
    assert (ran.code, ran.out.splitlines()[1].split()) == (0, ["prod-pg", "postgresql", "yes"])
    assert "readable, 1 instance; key: key-file" in ran.err
    assert vyactl("credentials", "rotate", "--file", made).code == 0
    assert made.read_text() != first
    record = vyactl("credentials", "check", "--file", made, "-o", "json").json
    assert record["instances"] == [{"id": "prod-pg", "type": "postgresql", "enabled": True}]


def test_json_of_encrypt_is_asked_for_before_the_command(vyactl: Any, site: Path) -> None:
    made = site / "other.json"
    ran = vyactl("-o", "json", "credentials", "encrypt", "--input", site / "plain.json", "--output", made)
    assert ran.json["file"] == str(made)
    assert made.exists()
    ran = vyactl("-o", "json", "credentials", "encrypt", "--input", site / "missing.json", "--output", made)
    assert (ran.code, ran.json["error"]["code"]) == (78, "credentials_not_found")


def test_a_hostname_key_is_warned_about(vyactl: Any, site: Path) -> None:
    ran = vyactl(
        "credentials",
        "encrypt",
        "--input",
        site / "plain.json",
        "--output",
        site / "h.json",
        "--method",
        "hostname-based",
    )
    assert ran.code == 0
    assert "warning: " in ran.err
    assert "warning: " in vyactl("credentials", "check", "--file", site / "h.json").err
    ran = vyactl("credentials", "rotate", "--file", site / "h.json")
    assert "key: key-file" in ran.err


def test_a_lost_key_gives_78_and_a_way_out(vyactl: Any, site: Path) -> None:
    encrypted(vyactl, site)
    (site / "credentials.key").unlink()
    ran = vyactl("credentials", "check", "--file", site / "credentials.json")
    assert ran.code == 78
    assert "hint: " in ran.err


def test_validate_a_good_configuration(vyactl: Any, site: Path) -> None:
    encrypted(vyactl, site)
    ran = vyactl("config", "validate", "--config", site / "config.yaml")
    assert ran.code == 0
    assert "valid, 1 instance" in ran.err
    assert vyactl("config", "validate", "--config", site / "config.yaml", "-o", "json").json["valid"] is True


def test_validate_reports_every_mistake(vyactl: Any, site: Path) -> None:
    path = site / "config.yaml"
    path.write_text("backup: {compresion_level: 3, workers: many}\n")
    ran = vyactl("config", "validate", "--config", path)
    assert ran.code == 78
    assert "compression_level" in ran.err
    assert "backup.workers" in ran.err
    assert vyactl("config", "validate", "--config", path, "-o", "json").json["error"]["code"] == "invalid_config"
    assert vyactl("config", "validate", "--config", site / "none.yaml").code == 78


def test_validate_takes_its_path_from_the_environment(vyactl: Any, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encrypted(vyactl, site)
    monkeypatch.setenv("VYA_CONFIG", str(site / "config.yaml"))
    assert str(site / "config.yaml") in vyactl("config", "validate").err


def test_show_a_file_without_a_daemon(vyactl: Any, site: Path) -> None:
    ran = vyactl("config", "show", "--config", site / "config.yaml", "-o", "json")
    assert ran.json["storage"]["local"]["base_path"] == f"{site}/backups"
    assert "base_path: " in vyactl("config", "show", "--config", site / "config.yaml").out
