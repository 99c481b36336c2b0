"""Manifests and chart: accepted by Kubernetes' schemas, with a configuration that the product accepts.

Rendering a chart is Go's templates with sprig and a little of Helm's own; the chart keeps to the former, so that no Helm
is needed here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.linters import require_linter
from vya_backupd import __version__
from vya_backupd.config.load import load
from vya_backupd.config.schema import Config

HERE = Path(__file__).parent
DOCKER = HERE.parents[1] / "docker"
CHART = DOCKER / "helm/vya-backupdb"
VERSIONS = ["1.27", "1.29", "1.31", "1.34"]
Manifest = dict[str, Any]


def _ask(name: str, script: str, question: object) -> Any:
    program = require_linter(name) / "python"
    done = subprocess.run(
        [program, HERE / script], input=json.dumps(question), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _complaints(manifests: list[Manifest]) -> list[str]:
    found: list[str] = _ask("kubernetes", "check_manifests.py", {"versions": VERSIONS, "manifests": manifests})
    return found


def _rendered(**changes: Any) -> list[Manifest]:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for key, value in changes.items():
        values[key] = values[key] | value if isinstance(value, dict) else value
    context = {
        "Values": values,
        "Chart": {"AppVersion": yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]},
        "Release": {"Name": "nightly", "Namespace": "backups", "Service": "Helm"},
    }
    templates = {path.name: path.read_text() for path in (CHART / "templates").iterdir() if path.suffix != ".tpl"}
    helpers = (CHART / "templates/_helpers.tpl").read_text()
    texts: dict[str, str] = _ask(
        "go-template", "render_chart.py", {"helpers": helpers, "templates": templates, "values": context}
    )
    assert "nightly" in texts.pop("NOTES.txt")
    manifests = [yaml.safe_load(text) for text in texts.values() if text.strip()]
    assert all(isinstance(manifest, dict) for manifest in manifests), texts
    return manifests


def _kustomized(folder: str) -> list[Manifest]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is missing; the manifests as they lie there are checked all the same")
    done = subprocess.run(
        [kubectl, "kustomize", DOCKER / "kubernetes" / folder], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(done.stdout))


def _one(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def _pod(manifests: list[Manifest]) -> Manifest:
    (pod,) = list(_pods(manifests))
    return pod


def _pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            yield manifest["spec"]["template"]
        if manifest["kind"] == "CronJob":
            yield manifest["spec"]["jobTemplate"]["spec"]["template"]


def _config(manifests: list[Manifest], tmp_path: Path) -> Config:
    """What the product makes of the configuration in the ConfigMap."""
    path = tmp_path / "config.yaml"
    path.write_text(_one(manifests, "ConfigMap")["data"]["config.yaml"])
    return load(path)


def _expect_a_careful_pod(manifests: list[Manifest], config: Config) -> None:
    pod = _pod(manifests)["spec"]
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] > config.application.stop_deadline.total_seconds() + 30
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert set(mounts["/data"]) == {"name", "mountPath"}  # wholly ours, and written to
    for path in (config.storage.local.base_path, config.storage.local.temp_path, config.application.state_dir):
        assert path.is_relative_to("/data")
    assert config.credentials.file.parent == Path("/secrets")
    assert config.credentials.allow_group
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["volumes"]}
    assert config.application.hostname == "kubernetes"


def _expect_probes(manifests: list[Manifest], config: Config) -> None:
    deployment = _one(manifests, "Deployment")["spec"]
    assert deployment["strategy"] == {"type": "Recreate"}
    (container,) = deployment["template"]["spec"]["containers"]
    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}
    assert container["ports"] == [{"name": "http", "containerPort": config.monitoring.health_check.port}]
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (deployment["selector"]["matchLabels"], _one(manifests, "Service")["spec"]["selector"]):
        assert selector
        assert selector.items() <= labels.items()


def test_the_base_is_valid_and_fits_the_product(tmp_path: Path) -> None:
    manifests = _kustomized("base")
    assert _complaints(manifests) == []
    config = _config(manifests, tmp_path)
    _expect_a_careful_pod(manifests, config)
    _expect_probes(manifests, config)
    assert _pod(manifests)["spec"]["containers"][0]["image"] == f"vya-backupdb:{__version__}"


def test_the_job_is_valid_and_has_no_daemon_beside_it(tmp_path: Path) -> None:
    manifests = _kustomized("cronjob")
    assert _complaints(manifests) == []
    _expect_a_careful_pod(manifests, _config(manifests, tmp_path))
    assert _one(manifests, "CronJob")["spec"]["concurrencyPolicy"] == "Forbid"
    assert not {"Deployment", "Service"} & {manifest["kind"] for manifest in manifests}


def test_the_service_monitor_finds_the_service() -> None:
    monitor = _one(_kustomized("monitoring"), "ServiceMonitor")
    service = _one(_kustomized("base"), "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_manifests_are_complained_about_at_all() -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": []}}
    assert len(_complaints([wrong])) == len(VERSIONS)
    assert _complaints([wrong | {"kind": "Servant"}])


def test_the_chart_makes_a_valid_daemon(tmp_path: Path) -> None:
    manifests = _rendered(serviceMonitor={"enabled": True, "labels": {"release": "prometheus"}})
    assert _complaints(manifests) == []
    config = _config(manifests, tmp_path)
    _expect_a_careful_pod(manifests, config)
    _expect_probes(manifests, config)
    assert config.scheduling.cron == "0 2 * * *"
    selector = _one(manifests, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= _one(manifests, "Service")["metadata"]["labels"].items()
    ports = [rule["ports"] for rule in _one(manifests, "NetworkPolicy")["spec"]["egress"]]
    assert {"port": 5432, "protocol": "TCP"} in ports[1]


def test_the_chart_makes_a_valid_job(tmp_path: Path) -> None:
    manifests = _rendered(mode="cronjob", extraSecret="mail", persistence={"existingClaim": "backups"})
    assert _complaints(manifests) == []
    _expect_a_careful_pod(manifests, _config(manifests, tmp_path))
    kinds = {manifest["kind"] for manifest in manifests}
    assert kinds == {"ConfigMap", "CronJob", "NetworkPolicy", "ServiceAccount"}
    claims = [volume.get("persistentVolumeClaim") for volume in _pod(manifests)["spec"]["volumes"]]
    assert {"claimName": "backups"} in claims


def test_what_the_operator_configures_survives_and_what_is_the_charts_does_not(tmp_path: Path) -> None:
    changed = {
        "logging": {"level": "DEBUG"},
        "storage": {"local": {"base_path": "/elsewhere"}, "retention": {"daily_keep": 9}},
    }
    before, after = _rendered(), _rendered(config=changed)
    config = _config(after, tmp_path)
    assert (config.logging.level, config.storage.retention.daily_keep) == ("DEBUG", 9)
    assert config.storage.local.base_path == Path("/data/backups")
    sums = [next(iter(_pod(manifests)["metadata"]["annotations"].values())) for manifests in (before, after)]
    assert sums[0] != sums[1]  # so that the pod is made anew


def test_the_charts_values_fit_their_schema_and_the_version() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == set(schema["properties"]) - {"global"}
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    used = set(re.findall(r"\.Values\.(\w+)", "".join(path.read_text() for path in (CHART / "templates").iterdir())))
    assert used == set(values)
    program = require_linter("kubernetes") / "python"  # jsonschema comes with it
    check = "import json,sys,jsonschema; jsonschema.validate(*json.load(sys.stdin), cls=jsonschema.Draft7Validator)"
    for changed, code in (({}, 0), ({"mode": "both"}, 1), ({"images": {}}, 1)):
        text = json.dumps([values | changed, schema])
        assert subprocess.run([program, "-c", check], input=text, text=True, stderr=-3, check=False).returncode == code
