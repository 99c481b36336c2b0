"""A real Prometheus that scrapes a real daemon: every query of the dashboard has samples, every rule can be evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import parser

from tests.conftest import ServerPool
from tests.peers import Running, require_peer, running
from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "config/grafana/dashboards/vya-backupdb.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    f"{panel['title']} {target['refId']}": re.sub(r"\$(job|instance|database_id)", ".*", target["expr"])
    for panel in PANELS
    for target in panel["targets"]
}
VARIABLES = {
    variable["name"]: re.sub(r"\$(job|instance)", ".*", variable["definition"])
    for variable in DASHBOARD["templating"]["list"]
    if variable["type"] == "query"
}
DATABASE = "watched by prometheus"


@dataclass(frozen=True)
class Scene:
    product: Product
    prometheus: Running

    def ask(self, query: str) -> list[dict[str, Any]]:
        answer = self.prometheus.get("/api/v1/query", query=query)
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def alerts(self) -> dict[str, dict[str, Any]]:
        groups = self.prometheus.get("/api/v1/rules")["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


def product(root: Path, server: PrivateServer, closed_port: int) -> Product:
    """Two servers of which one is away, a schedule for another day, two backups to keep, mails that nobody takes."""
    up = instance(server, "up", database=[DATABASE])
    email: dict[str, Any] = {"enabled": True, "smtp_host": "127.0.0.1", "smtp_port": closed_port, "use_tls": False}
    email |= {"from_address": "backup@example.org", "error_recipients": "dba@example.org"}
    config = {
        "scheduling": {"enabled": True, "method": "interval", "cron": "0 0 1 1 *", "catch_up": False},
        "storage": {"retention": {"cleanup_enabled": True, "strategy": "simple", "daily_keep": 2, "minimum_keep": 1}},
        "notifications": {"email": email},
    }
    return Product(root, [up, up | {"id": "down", "port": closed_port}], servers=[server], config=config)


def work(daemon: Product) -> None:
    """Something of everything."""
    for _ in range(3):
        assert daemon.ctl("backup", "--instance", "up").code == 0
    assert daemon.ctl("backup", "--instance", "down").code == 1
    daemon.ok("verify", "--instance", "up", "--all")
    target = ("--target-database", f"{DATABASE} 2")
    daemon.ok("restore", "--instance", "up", "--database", DATABASE, "--latest", *target)
    daemon.ok("retention", "apply", "--yes")
    until(lambda: 'vya_notifications_waiting{channel="email"}' in daemon.get("/metrics")[1])
    until(lambda: "vya_notifications_total{" in daemon.get("/metrics")[1])


def scraping(folder: Path, daemon: Product) -> list[str]:
    """The shipped example, with our daemon for a target, and without its patience."""
    config = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(ROOT / "config/prometheus" / name) for name in config["rule_files"]]
    port = daemon.events("public.listening")[-1]["port"]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]


@pytest.fixture(scope="module")
def scene(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory, closed_port: int) -> Iterator[Scene]:
    require_peer("prometheus")
    root, server = tmp_path_factory.mktemp("prometheus"), server_pool.get("postgresql")
    server.create_database(DATABASE)
    server.sql("create table t as select md5(i::text) as text from generate_series(1, 1000) i", DATABASE)
    try:
        with product(root / "one", server, closed_port) as daemon:
            folder = root / "prometheus"
            with running("prometheus", folder, *scraping(folder, daemon)) as prometheus:
                scene = Scene(daemon, prometheus)
                # Seen once before, so that what is counted afterwards is an increase.
                until(lambda: scene.ask("vya_build_info"))
                work(daemon)
                yield scene
    finally:
        for name in (DATABASE, f"{DATABASE} 2"):
            server.drop_database(name)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_dashboard_has_samples(scene: Scene, query: str) -> None:
    until(lambda: scene.ask(QUERIES[query]), otherwise=f"no samples of {QUERIES[query]}")


def test_every_variable_of_the_dashboard_has_values(scene: Scene) -> None:
    for name, definition in VARIABLES.items():
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", definition)
        assert found is not None, name
        assert any(found[2] in sample["metric"] for sample in scene.ask(found[1])), name


def test_the_dashboard_asks_as_grafana_wants_it() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["description"] for panel in PANELS)
    places = [
        (panel["gridPos"]["x"] + column, panel["gridPos"]["y"] + line)
        for panel in DASHBOARD["panels"]
        for column in range(panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places)), "panels overlap"
    assert max(column for column, _ in places) < 24
    for path in (ROOT / "config/grafana/provisioning").rglob("*.yml"):
        assert yaml.safe_load(path.read_text())["apiVersion"] == 1


def test_every_rule_is_evaluated_and_speaks_of_metrics_that_there_are(scene: Scene) -> None:
    until(lambda: all(rule["lastEvaluation"] > "0001" for rule in scene.alerts().values()))
    shipped = yaml.safe_load((ROOT / "config/prometheus/alerts.yml").read_text())["groups"]
    assert sorted(scene.alerts()) == sorted(rule["alert"] for group in shipped for rule in group["rules"])
    for name, rule in scene.alerts().items():
        assert rule["health"] == "ok", name
        for metric in re.findall(r"\bvya_\w+", rule["query"]):
            assert scene.ask(metric), f"{name} asks for {metric}"


def test_alerts_of_what_is_wrong_here_go_off(scene: Scene) -> None:
    until(lambda: scene.alerts()["VyaBackupFailed"]["state"] == "firing")
    (alert,) = scene.alerts()["VyaBackupFailed"]["alerts"]
    assert alert["labels"]["database_id"] == "down"
    assert alert["annotations"]["summary"] == "The last backup of down was not whole"
    until(lambda: scene.alerts()["VyaServerUnreachable"]["state"] == "pending")
    for name in ("VyaBackupStale", "VyaDaemonGone", "VyaBackupDamaged", "VyaStorageTrouble", "VyaRecordsLost"):
        assert scene.alerts()[name]["state"] == "inactive", name


def test_a_restart_changes_none_of_what_outlives_the_daemon(scene: Scene) -> None:
    until(lambda: is_at_rest(scene.product))
    before = lasting(scene.product)
    scene.product.stop()
    scene.product.start()
    until(lambda: "vya_backup_due_timestamp_seconds{" in scene.product.get("/metrics")[1])
    after = lasting(scene.product)
    assert {name for name, _ in before} >= {
        "vya_backup_executions_total",
        "vya_backup_duration_seconds_bucket",
        "vya_backup_last_status",
        "vya_backup_last_success_timestamp_seconds",
        "vya_backup_due_timestamp_seconds",
        "vya_oldest_verification_timestamp_seconds",
        "vya_last_retention_timestamp_seconds",
    }
    assert after == before


def is_at_rest(daemon: Product) -> bool:
    status = daemon.ok("status")
    return not status["running"] and not status["waiting"]


PASSING = (
    *("process_", "vya_build_info", "vya_operations_", "vya_notifications", "vya_metrics_pushes", "vya_scheduler_"),
    "vya_config_last_reload_",
)
"""Metrics of the moment, or of work that goes on meanwhile."""


def lasting(daemon: Product) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = parser.text_string_to_metric_families(daemon.get("/metrics")[1])
    samples = [sample for family in families for sample in family.samples]
    kept = [
        sample
        for sample in samples
        if not sample.name.startswith((*PASSING, "vya_instance_reachable", "vya_databases_"))
        and sample.labels.get("path_type") not in {"used", "free"}
    ]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in kept}
