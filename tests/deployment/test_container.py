"""The image and the compose stack, as far as they can be checked without a builder: no Docker engine runs in tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.linters import require_linter
from vya_backupd import __version__
from vya_backupd.config.load import load
from vya_backupd.testing.product import Product

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
BIN = Path(sys.executable).parent


def _instructions(name: str) -> list[str]:
    """The arguments of an instruction in the last stage."""
    stage = DOCKERFILE.replace("\\\n", " ").rsplit("\nFROM ", 1)[1]
    return re.findall(rf"^{name} +(.*)$", stage, re.MULTILINE)


def _compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return document


def test_the_dockerfile_has_nothing_to_be_ashamed_of() -> None:
    done = subprocess.run(
        [require_linter("hadolint") / "hadolint", "--config", DOCKER / ".hadolint.yaml", DOCKER / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_copies_what_there_is_and_the_builder_gets_it() -> None:
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    assert {"vya_backupd", "pyproject.toml", "docker/config.yaml"} <= set(copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in copied:
        assert (ROOT / name).exists()
        assert name in kept
    assert f'version="{__version__}"' in DOCKERFILE


def test_the_image_runs_the_daemon_as_an_ordinary_user() -> None:
    (user,) = _instructions("USER")
    assert user == "10001:10001"
    assert json.loads(_instructions("ENTRYPOINT")[0]) == ["vya-backupd"]
    assert (BIN / "vya-backupd").exists()
    clients = set(re.findall(r"postgresql-client-(\d+)", DOCKERFILE))
    assert clients == {"14", "15", "16", "17", "18"}
    assert {"mariadb-client", "mysql-community-client"} <= set(DOCKERFILE.split())


@pytest.mark.parametrize("page", ["config.yaml", "compose/config.yaml"])
def test_configurations_keep_everything_in_the_one_mount(page: str) -> None:
    config = load(DOCKER / page)
    local = config.storage.local
    for path in (local.base_path, local.temp_path, config.application.state_dir, config.credentials.file):
        assert path.is_relative_to(json.loads(_instructions("VOLUME")[0])[0])
    assert [str(config.monitoring.health_check.port)] == _instructions("EXPOSE")
    assert str(config.control.socket_path.parent) in DOCKERFILE
    assert "VYA_MONITORING__HEALTH_CHECK__HOST=0.0.0.0" in _instructions("ENV")[0]


def test_the_health_check_tells_a_daemon_from_none(tmp_path: Path, closed_port: int) -> None:
    (check,) = _instructions("HEALTHCHECK")
    words = json.loads(check[check.index("[") :])
    assert words[0] == "python"

    def code(port: int) -> int:
        program = words[-1].replace(":8080/", f":{port}/")
        assert program != words[-1]
        return subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL, check=False).returncode

    with Product(tmp_path / "p", []) as product:
        assert code(product.events("public.listening")[-1]["port"]) == 0
    assert code(closed_port) != 0


def test_the_compose_file_is_one() -> None:
    program = require_linter("compose-spec") / "python"
    check = "import sys, compose_spec; compose_spec.PyCompose.from_json(sys.stdin.read()).validate()"

    def complaint(document: dict[str, Any]) -> str:
        done = subprocess.run([program, "-c", check], input=json.dumps(document), stderr=-1, text=True, check=False)
        return done.stderr

    assert complaint(_compose()) == ""
    wrong = _compose()
    wrong["services"]["vya"]["networks"] = ["nowhere"]
    assert "network `nowhere`" in complaint(wrong)


def test_the_compose_stack_is_of_one_piece() -> None:
    services = _compose()["services"]
    vya = services["vya"]
    assert vya["read_only"] is True
    assert vya["image"] == f"vya-backupdb:{__version__}"
    config = load(DOCKER / "compose/config.yaml")
    grace = {"s": 1, "m": 60}[vya["stop_grace_period"][-1]] * int(vya["stop_grace_period"][:-1])
    assert grace > config.application.stop_deadline.total_seconds() + 30
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), source
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    (provider,) = yaml.safe_load((ROOT / "config/grafana/provisioning/dashboards/vya-backupdb.yml").read_text())[
        "providers"
    ]
    assert f"../config/grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]
    (rules,) = yaml.safe_load((DOCKER / "compose/prometheus.yml").read_text())["rule_files"]
    assert (ROOT / "config/prometheus" / Path(rules).name).exists()
    scraped = yaml.safe_load((DOCKER / "compose/prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"] == [{"targets": [f"vya:{config.monitoring.health_check.port}"]}]


def test_the_compose_stack_encrypts_its_credentials_once(tmp_path: Path) -> None:
    script = tmp_path / "credentials.sh"
    text = (DOCKER / "compose/credentials.sh").read_text()
    script.write_text(text.replace("/data/", f"{tmp_path}/").replace("/tmp/plain", f"{tmp_path}/plain"))
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "DB_PASSWORD": "Canary7"}
    for _ in range(2):
        subprocess.run(["bash", script], env=environment, check=True, capture_output=True)
    made = tmp_path / "credentials/credentials.json"
    content = made.read_text()
    assert "Canary7" not in content
    assert not (tmp_path / "plain.json").exists()
    shown = subprocess.run(
        [BIN / "vyactl", "--output", "json", "credentials", "check", "--file", made], capture_output=True, check=True
    )
    named = {instance["id"] for instance in json.loads(shown.stdout)["instances"]}
    assert named == {"postgresql", "mariadb", "mysql"} <= set(_compose()["services"])
    assert made.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("folder", ["docker", "config/ansible"])
def test_yaml_files_are_tidy(folder: str) -> None:
    rules = "{extends: default, rules: {line-length: {max: 140}, document-start: disable, braces: disable, "
    rules += "brackets: disable, comments: {min-spaces-from-content: 1}, octal-values: disable, truthy: {check-keys: false}}, "
    rules += "ignore: [templates/]}"
    program = require_linter("yamllint") / "yamllint"
    done = subprocess.run(
        [program, "--strict", "-d", rules, ROOT / folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
