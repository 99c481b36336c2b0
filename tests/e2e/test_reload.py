"""SIGHUP, and what the public site says: whole configurations replace each other, broken ones replace nothing."""

from __future__ import annotations

import grp
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

METRICS = {
    "vya_backup_executions_total": "counter",
    "vya_backup_errors_total": "counter",
    "vya_backup_restores_total": "counter",
    "vya_backup_files_processed_total": "counter",
    "vya_backup_last_status": "gauge",
    "vya_backup_last_timestamp": "gauge",
    "vya_backup_last_size_bytes": "gauge",
    "vya_backup_configured_databases": "gauge",
    "vya_backup_disk_usage_bytes": "gauge",
    "vya_backup_duration_seconds": "histogram",
    "vya_backup_restore_duration_seconds": "histogram",
    "vya_backup_size_bytes_summary": "summary",
}


def _reload(product: Product, event: str) -> dict[str, Any]:
    """SIGHUP, and the log's record of how it went."""
    before = len(product.events(event))
    product.signal(signal.SIGHUP)
    until(lambda: len(product.events(event)) > before)
    return product.events(event)[-1]


def test_a_reload_asked_for_during_the_start_does_no_harm(any_postgresql: PrivateServer, tmp_path: Path) -> None:
    server = any_postgresql
    with Product(tmp_path, [instance(server, "one")], servers=[server]) as product:
        product.stop()
        product.log_path.unlink()
        product.start(wait=False)
        until(lambda: product.log_path.exists() and product.log())
        while not product.socket_path.exists():
            product.signal(signal.SIGHUP)
            assert product.process.poll() is None
        product.wait_ready()
        assert product.ok("health")["status"] == "healthy"


def test_a_good_configuration_applies_and_a_bad_one_leaves_the_old(
    any_postgresql: PrivateServer, tmp_path: Path
) -> None:
    server = any_postgresql
    for name in ("reload_a", "reload_b"):
        server.create_database(name)
        server.sql("create table t as select md5(i::text) as text from generate_series(1, 20000) i", name)
    first = instance(server, "first", database=["reload_a"])
    try:
        with Product(tmp_path, [first], servers=[server]) as product:
            product.instances.append(instance(server, "second", database=["reload_b"]))
            product.write_credentials()
            product.settings["backup"] |= {"compression_level": 9}
            product.settings["logging"] |= {"level": "DEBUG"}
            product.write_config()
            assert product.ctl("backup", "--instance", "second").code == 4
            _reload(product, "config.reloaded")
            done = product.ok("backup", "--instance", "second")
            manifest = json.loads(Path(done["backups"][0]["file"] + ".metadata.json").read_text())
            assert manifest["file_info"]["compression_level"] == 9
            assert product.ok("config", "show")["backup"]["compression_level"] == 9
            assert _databases(product).keys() == {"first", "second"}

            good_config, good_credentials = product.config_path.read_text(), _credentials(product).read_text()
            product.config_path.write_text(good_config.replace("compression_level: 9", "compression_level: 99"))
            refused = _reload(product, "config.reload_refused")
            assert (refused["code"], refused["level"]) == ("invalid_config", "error")
            assert "compression_level" in refused["error"]
            _a_refusal_is_shown(product)
            product.config_path.write_text(good_config)

            _credentials(product).write_text("{}")
            assert _reload(product, "config.reload_refused")["code"] == "invalid_credentials"
            _credentials(product).write_text(good_credentials)

            moved = good_config.replace(str(product.base_path), str(tmp_path / "elsewhere"))
            product.config_path.write_text(moved)
            assert "storage.local.base_path" in _reload(product, "config.reload_refused")["error"]
            product.config_path.write_text(good_config)

            unmeasured = good_config.replace("monitoring:", "monitoring:\n  prometheus: {enabled: false}")
            product.config_path.write_text(unmeasured)
            assert "monitoring.prometheus.enabled" in _reload(product, "config.reload_refused")["error"]

            again = product.ok("backup", "--instance", "second")
            manifest = json.loads(Path(again["backups"][0]["file"] + ".metadata.json").read_text())
            assert manifest["file_info"]["compression_level"] == 9
            product.config_path.write_text(good_config)
            _reload(product, "config.reloaded")
            assert product.get("/health")[0] == 200
            assert "vya_config_last_reload_successful 1.0" in product.get("/metrics")[1].splitlines()
    finally:
        for name in ("reload_a", "reload_b"):
            server.drop_database(name)


def _a_refusal_is_shown(product: Product) -> None:
    """On health, status, doctor and metrics, for as long as it lasts."""
    status, text = product.get("/health")
    (reason,) = json.loads(text)["reasons"]
    assert status == 503
    assert "invalid_config" in reason
    assert "compression_level" in reason
    (missed,) = product.ok("status")["reasons"]
    assert (missed["objective"], missed["text"]) == ("configured", reason)
    found = {each["check"]: each for each in product.ctl("doctor", "--output", "json").json["findings"]}
    assert found["configured"]["message"] == reason
    metrics = product.get("/metrics")[1].splitlines()
    assert "vya_config_last_reload_successful 0.0" in metrics
    assert 'vya_objectives_missed{objective="configured"} 1.0' in metrics


def test_whoever_becomes_an_operator_can_also_come_to_the_socket(any_postgresql: PrivateServer, tmp_path: Path) -> None:
    with Product(tmp_path, [instance(any_postgresql, "one")], servers=[any_postgresql]) as product:
        theirs = next((each for each in _groups_to_give() if each.gr_gid != product.socket_path.stat().st_gid), None)
        if theirs is None:
            pytest.skip("needs an account with a second group, or root, to give the socket to another group")
        product.settings["control"]["operators"] = [theirs.gr_name]
        product.write_config()
        _reload(product, "config.reloaded")
        assert product.socket_path.stat().st_gid == theirs.gr_gid


def _groups_to_give() -> list[grp.struct_group]:
    """To which we may give a file of ours."""
    return [each for each in grp.getgrall() if os.geteuid() == 0 or each.gr_gid in os.getgroups()]


def _credentials(product: Product) -> Path:
    return Path(product.settings["credentials"]["file"])


def test_a_reload_leaves_running_work_alone(any_postgresql: PrivateServer, tmp_path: Path) -> None:
    server = any_postgresql
    server.create_database("reload_busy")
    server.sql("create table t as select md5(i::text) as text from generate_series(1, 200000) i", "reload_busy")
    try:
        with Product(tmp_path, [instance(server, "one", database=["reload_busy"])], servers=[server]) as product:
            begun = product.ok("backup", "--no-wait")["operation"]["id"]
            until(lambda: product.events("step.started"))
            _reload(product, "config.reloaded")
            assert product.ctl("operations", "watch", begun).code == 0
            assert product.ok("operations", "show", begun)["operation"]["state"] == "succeeded"
    finally:
        server.drop_database("reload_busy")


def _databases(product: Product) -> dict[str, str]:
    return dict(json.loads(product.get("/health/ready")[1])["databases"])


def test_health_and_metrics_say_what_is(any_postgresql: PrivateServer, tmp_path: Path, closed_port: int) -> None:
    server = any_postgresql
    server.create_database("healthy")
    server.sql("create table t (a int)", "healthy")
    up = instance(server, "up", database=["healthy"])
    try:
        with Product(tmp_path, [up, up | {"id": "down", "port": closed_port}], servers=[server]) as product:
            status, text = product.get("/health")
            assert (status, json.loads(text)["status"]) == (200, "healthy")
            assert json.loads(text)["timestamp"].endswith("Z")
            assert product.get("/health/live") == (200, '{"alive": true}\n')
            # Servers are asked all at once, and shown from the first moment on.
            assert _databases(product).keys() == {"up", "down"}
            until(lambda: "unknown" not in _databases(product).values())
            status, text = product.get("/health/ready")
            assert (status, json.loads(text)["ready"]) == (200, True)
            assert json.loads(text)["databases"] == {"up": "ok", "down": "connection_refused"}
            assert product.get("/v1/status")[0] == 404

            assert product.ctl("backup", "--instance", "up").code == 0
            assert product.ctl("backup", "--instance", "down").code == 1
            product.ok(
                "restore", "--instance", "up", "--database", "healthy", "--latest", "--target-database", "healthy2"
            )
            _check_metrics(product.get("/metrics")[1])
            _storage_goes_away(product)
    finally:
        for name in ("healthy", "healthy2"):
            server.drop_database(name)


def _check_metrics(text: str) -> None:
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    known = {name: types.get(name) or types.get(name.removesuffix("_total")) for name in METRICS}
    assert known == METRICS
    for line in (
        'vya_backup_executions_total{database_id="up",database_type="postgresql",status="succeeded"} 1.0',
        'vya_backup_executions_total{database_id="down",database_type="postgresql",status="failed"} 1.0',
        'vya_backup_errors_total{database_id="down",database_type="postgresql",error_type="connection_refused"} 1.0',
        'vya_backup_last_status{database_id="up",database_type="postgresql"} 1.0',
        'vya_backup_last_status{database_id="down",database_type="postgresql"} 0.0',
        'vya_backup_restores_total{database_id="up",database_type="postgresql",status="succeeded"} 1.0',
        'vya_backup_configured_databases{database_type="postgresql"} 2.0',
    ):
        assert line in text.splitlines(), line


def _storage_goes_away(product: Product) -> None:
    """The folder of the backups is not there any more: degraded and not ready, until it is back."""
    away = product.base_path.with_name("away")
    product.base_path.rename(away)
    _reload(product, "config.reloaded")  # which also looks at everything again
    until(lambda: product.get("/health")[0] == 503)
    status, text = product.get("/health")
    assert json.loads(text)["status"] == "degraded"
    assert json.loads(text)["reasons"]
    status, text = product.get("/health/ready")
    assert (status, json.loads(text)["ready"]) == (503, False)
    assert product.get("/health/live")[0] == 200
    away.rename(product.base_path)
    _reload(product, "config.reloaded")
    until(lambda: product.get("/health")[0] == 200)
    assert product.get("/health/ready")[0] == 200
