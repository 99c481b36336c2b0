"""Health of a real daemon as time goes by: by a clock that is moved, over restarts, with real backups of real servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

HOUR = timedelta(hours=1)


def turned(folder: Path) -> tuple[dict[str, str], Callable[[timedelta], None]]:
    """An environment whose clock is off by what is last said."""
    file = folder / "offset"

    def turn(offset: timedelta) -> None:
        fresh = file.with_suffix(".new")
        fresh.write_text(str(offset.total_seconds()))
        fresh.replace(file)

    turn(timedelta(0))
    return {"VYA_CLOCK_OFFSET_FILE": str(file)}, turn


def health(product: Product) -> tuple[int, list[str]]:
    status, text = product.get("/health")
    body: dict[str, Any] = json.loads(text)
    assert body["status"] == ("healthy" if status == 200 else "degraded")
    return status, body.get("reasons", [])


def test_a_database_without_a_fresh_backup_degrades(
    any_postgresql: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    environ, turn = turned(tmp_path)
    any_postgresql.create_database(fresh_name)
    entry = instance(any_postgresql, "one", database=[fresh_name])
    config = {"backup": {"max_age": "36h", "reverify_days": 0}}
    try:
        with Product(tmp_path / "p", [entry], servers=[any_postgresql], config=config, environ=environ) as product:
            until(lambda: "vya_databases_covered{" in product.get("/metrics")[1])
            assert health(product) == (200, []), "new installations have time"
            turn(37 * HOUR)
            status, reasons = health(product)
            assert status == 503
            assert any(fresh_name in reason and "never backed up" in reason for reason in reasons)
            assert product.ctl("health").code == 1
            assert json.loads(product.get("/health/ready")[1])["ready"] is True
            assert product.ctl("backup").code == 0
            assert health(product) == (200, [])

            product.stop()
            turn(74 * HOUR)
            product.start()
            until(lambda: health(product)[0] == 503)
            assert any(fresh_name in reason and "36 hours" in reason for reason in health(product)[1])
            any_postgresql.drop_database(fresh_name)
            product.settings["backup"]["include_globals"] = False
            product.write_config()
            product.stop()
            product.start()
            until(lambda: health(product) == (200, []), otherwise="a dropped database is owed no more")
    finally:
        any_postgresql.drop_database(fresh_name)


def test_a_database_that_nobody_backs_up_degrades(
    any_postgresql: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    any_postgresql.create_database(fresh_name)
    entry = instance(any_postgresql, "one", database=[fresh_name[:-1]])
    config = {"monitoring": {"health_check": {"uncovered_databases": True}}}
    try:
        with Product(tmp_path, [entry], servers=[any_postgresql], config=config) as product:
            until(lambda: health(product)[0] == 503)
            assert any("neither backed up nor excluded" in reason for reason in health(product)[1])
            product.instances[0]["exclude_databases"] = ["*"]
            product.write_credentials()
            product.stop()
            product.start()
            until(lambda: "vya_databases_uncovered{" in product.get("/metrics")[1])
            assert health(product) == (200, [])
    finally:
        any_postgresql.drop_database(fresh_name)


def test_files_are_read_again_in_time(any_postgresql: PrivateServer, tmp_path: Path, fresh_name: str) -> None:
    environ, turn = turned(tmp_path)
    any_postgresql.create_database(fresh_name)
    entry = instance(any_postgresql, "one", database=[fresh_name])
    config = {"backup": {"reverify_days": 10, "include_globals": False}}
    try:
        with Product(tmp_path / "p", [entry], servers=[any_postgresql], config=config, environ=environ) as product:
            (made,) = product.ok("backup")["backups"]
            assert made["proof"] == "complete"
            product.stop()
            turn(timedelta(days=9))
            product.start()
            until(lambda: product.ok("backups", "show", made["id"])["backup"]["proof"] == "verified")
            manifest = json.loads(Path(made["file"] + ".metadata.json").read_text())
            assert "verified" in json.dumps(manifest)
            (reading,) = [each for each in product.ok("operations", "list")["operations"] if each["kind"] == "verify"]
            assert reading["submitted_by"] == "daemon"
    finally:
        any_postgresql.drop_database(fresh_name)
