"""Metrics pushed to a real Pushgateway by a real daemon and by a client that works alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import parser

from tests.peers import Running, require_peer, running
from tests.waiting import until
from vya_backupd.observe.push import PushTerms
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

GATEWAY = "prometheus-pushgateway"
GROUP = {"job": "backups of testhost", "instance": "testhost"}


@pytest.fixture
def database(any_postgresql: PrivateServer, fresh_name: str) -> Iterator[str]:
    require_peer(GATEWAY)
    any_postgresql.create_database(fresh_name)
    yield fresh_name
    any_postgresql.drop_database(fresh_name)


def product(root: Path, server: PrivateServer, database: str, url: str) -> Product:
    pushed = {"pushgateway_url": url, "push_interval": "200ms", "job_name": "backups of {hostname}"}
    monitoring = {"monitoring": {"prometheus": pushed}}
    return Product(root, [instance(server, "one", database=[database])], servers=[server], config=monitoring)


def pushed(gateway: Running) -> dict[str, float]:
    """What the gateway has of our group: unlabelled samples by name, and those of an instance."""
    families = parser.text_string_to_metric_families(gateway.get("/metrics"))
    ours = (sample for family in families for sample in family.samples if sample.labels.items() >= GROUP.items())
    return {f"{each.name} {each.labels.get('status', '')}".strip(): each.value for each in ours}


def test_a_daemon_pushes_and_lives_on_while_nobody_takes_it(
    any_postgresql: PrivateServer, database: str, tmp_path: Path
) -> None:
    with (
        running(GATEWAY, tmp_path / "gateway") as gateway,
        product(tmp_path / "one", any_postgresql, database, gateway.url) as daemon,
    ):
        assert daemon.ctl("backup").code == 0
        until(lambda: pushed(gateway).get("vya_backup_executions_total succeeded") == 1)
        assert pushed(gateway)["vya_build_info"] == 1
        until(lambda: pushed(gateway)["vya_metrics_pushes_total succeeded"] >= 1)
        gateway.process.kill()
        gateway.process.wait()
        until(lambda: daemon.events("push.failed"))
        counted = 'vya_metrics_pushes_total{status="failed"} '
        until(lambda: float(daemon.get("/metrics")[1].split(counted)[1].split()[0]) >= 3)
        assert len(daemon.events("push.failed")) == 1, "it is said once"
        told = daemon.events("push.failed")[0]
        assert told["gateway"] == f"127.0.0.1:{gateway.port}"
        assert told["reason"]
        with running(GATEWAY, tmp_path / "another") as another:
            daemon.settings["monitoring"]["prometheus"]["pushgateway_url"] = another.url
            daemon.write_config()
            daemon.signal(signal.SIGHUP)
            until(lambda: daemon.events("push.recovered"))
            assert pushed(another)["vya_backup_executions_total succeeded"] == 1


def test_a_client_that_works_alone_pushes_at_its_end(
    any_postgresql: PrivateServer, database: str, tmp_path: Path
) -> None:
    with running(GATEWAY, tmp_path / "gateway") as gateway:
        alone = product(tmp_path / "one", any_postgresql, database, gateway.url)
        alone.settings["monitoring"]["prometheus"]["push_interval"] = "1h"
        alone.write_config()
        ran = alone.ctl("backup", "--standalone", "--config", str(alone.config_path))
        assert ran.code == 0, ran.err
        found = pushed(gateway)
        assert found["vya_backup_executions_total succeeded"] == 1
        assert found["vya_backup_last_status"] == 1


def test_a_gateway_that_is_away_costs_a_client_nothing_but_a_line(
    any_postgresql: PrivateServer, database: str, tmp_path: Path
) -> None:
    with running(GATEWAY, tmp_path / "gateway") as gateway:
        url = gateway.url
    away = product(tmp_path / "one", any_postgresql, database, url.replace("//", "//user:canary-7734@"))
    ran = away.ctl("backup", "--standalone", "--config", str(away.config_path))
    assert ran.code == 0, ran.err
    assert "push.failed" in ran.err
    assert "canary-7734" not in ran.err + ran.out


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ("vya-backup-h", "job/vya-backup-h"),
        ("a b%ü", "job/a%20b%25%C3%BC"),
        ("a/b", "job@base64/YS9i"),
        ("", "job@base64/="),
    ],
)
def test_labels_that_a_path_cannot_carry_are_coded(job: str, path: str) -> None:
    terms = PushTerms("http://gw:9091/", job, "site", 60)
    assert terms.target == f"http://gw:9091/metrics/{path}/instance/site"
    assert PushTerms("https://u:p@gw/x", "j", "i", 1).gateway == "gw"
