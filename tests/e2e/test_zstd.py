"""Backups in zstd: written, read by others, verified, restored, described again, beside those in gzip."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ServerPool
from tests.e2e import compare
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

DATABASE = "zstd_db"


@dataclass
class Made:
    """A server, and one backup of its database in zstd."""

    server: PrivateServer
    product: Product
    file: Path


@pytest.fixture(scope="module")
def made(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    server, root = server_pool.get("postgresql"), tmp_path_factory.mktemp("zstd")
    server.create_database(DATABASE)
    server.sql("create table t as select a, md5(a::text) b from generate_series(1, 50000) a", DATABASE)
    entry = instance(server, "one", database=DATABASE)
    with Product(root, [entry], servers=[server], config={"backup": {"codec": "zstd"}}) as product:
        product.ok("backup", "--database", DATABASE)
        (file,) = product.files()
        yield Made(server, product, file)
    server.drop_database(DATABASE)


def test_others_read_the_file(made: Made) -> None:
    assert made.file.name.endswith("_full.sql.zst")
    subprocess.run(["sha256sum", "-c", made.file.name + ".sha256"], cwd=made.file.parent, check=True)
    subprocess.run(["zstd", "-t", "-q", made.file], check=True)
    text = subprocess.run(["zstd", "-dcq", made.file], check=True, capture_output=True).stdout
    made.server.create_database("by_hand", "template template0")
    try:
        made.server.sql(text.decode(), "by_hand")
        compare.assert_same_rows(made.server, DATABASE, made.server, "by_hand")
    finally:
        made.server.drop_database("by_hand")


def test_it_verifies_and_restores(made: Made) -> None:
    product = made.product
    assert product.ctl("verify", "--file", str(made.file)).code == 0
    product.ok("restore", "--instance", "one", "--database", DATABASE, "--latest", "--target-database", "copy", "--yes")
    try:
        compare.assert_same(made.server, DATABASE, made.server, "copy")
    finally:
        made.server.drop_database("copy")


def test_a_lost_manifest_comes_back_from_the_file(made: Made) -> None:
    product, manifest = made.product, made.file.with_name(made.file.name + ".metadata.json")
    before = manifest.read_bytes()
    manifest.unlink()
    product.ok("catalog", "rebuild")
    assert b'"codec": "zstd"' in manifest.read_bytes()
    assert len(manifest.read_bytes()) > len(before) // 2


def test_one_backup_may_have_another_codec(made: Made) -> None:
    product = made.product
    (backup,) = product.ok("backup", "--database", DATABASE, "--codec", "gzip")["backups"]
    assert Path(backup["file"]).name.endswith("_full.sql.gz")
    subprocess.run(["gzip", "-t", backup["file"]], check=True)
    assert product.ok("backups", "show", backup["id"])["backup"]["codec"] == "gzip"
    wrong = product.ctl("backup", "--database", DATABASE, "--codec", "lzma")
    assert (wrong.code, "gzip or zstd" in wrong.err) == (2, True)
