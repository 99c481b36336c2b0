"""Everything is lost but the backup files: the list comes back from them, and one command brings the server back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import _labels, require_spec
from tests.e2e import compare
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

DATABASES = ("orders", "people", "Stock & more")
PASSWORD = "s3cret: 'quoted' \\ ü"

_TABLES = """
create table customer (id int primary key, name varchar(50) not null, note text);
insert into customer values (1, 'Ann', 'x'), (2, 'Bö', ''), (3, 'C''d', null);
create table purchase (id int primary key, customer int not null references customer (id), amount decimal(10, 2));
insert into purchase values (1, 1, 9.99), (2, 3, -1.5), (3, 2, 0);
create view totals as select customer, sum(amount) as total from purchase group by customer;
"""


@dataclass
class Lost:
    """A server and a new, empty one; backups of the first; one of them held, one verified."""

    old: PrivateServer
    new: PrivateServer
    product: Product

    def listed(self) -> list[dict[str, Any]]:
        """What the product says it has, every field."""
        return list(self.product.ok("backups", "list")["backups"])

    def shown(self) -> list[dict[str, Any]]:
        """The same, and what is held in all its detail: by whom, since when, with which note."""
        listed = self.listed()
        return listed + [self.product.ok("backups", "show", each["id"]) for each in listed if each["held"]]

    def path(self, database: str) -> Path:
        """The data file of a database's backup."""
        (found,) = [each for each in self.listed() if each["database"] == database]
        return self.product.base_path / str(found["file"])

    def forget_everything(self) -> None:
        """The daemon's whole state goes; a new one starts with nothing but the files."""
        self.product.stop()
        shutil.rmtree(self.product.state_dir)
        self.product.start()


@pytest.fixture(scope="module", params=_labels("postgresql", "mariadb", "mysql"))
def lost(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    spec = require_spec(request.param)
    root = tmp_path_factory.mktemp("lost")
    with spec.start(root) as old, spec.start(root) as new:
        _fill(old)
        _same_admin(old, new)
        product = Product(root / "product", [instance(old, "old"), instance(new, "new")], servers=[old])
        with product:
            made = product.ok("backup", "--instance", "old")["backups"]
            ids = {each["database"]: each["id"] for each in made}
            product.ok("backups", "hold", ids["orders"], "--note", "court; keep")
            product.ok("verify", "--instance", "old", "--database", "people")
            yield Lost(old, new, product)


def _same_admin(old: PrivateServer, new: PrivateServer) -> None:
    """Restored users bring their passwords along, the admin's too: so that we get in afterwards, it is the same."""
    if new.kind == "postgresql":
        return
    for (host,) in new.sql(f"select host from mysql.user where user = '{new.admin_user}'"):
        new.sql(f"alter user '{new.admin_user}'@'{host}' identified by '{old.admin_password}'")
        if host == "localhost":
            new.admin_password = old.admin_password


def _fill(server: PrivateServer) -> None:
    for database in DATABASES:
        server.create_database(database)
        server.sql(_TABLES, database)
    quoted = PASSWORD.replace("'", "''")
    if server.kind == "postgresql":
        server.sql(f"create role app login password '{quoted}'; create role readers; grant readers to app")
        server.sql("grant select on customer to readers; alter table purchase owner to app", "orders")
    else:
        server.sql(f"create user 'app'@'%' identified by '{quoted.replace(chr(92), chr(92) * 2)}'")
        server.sql("create role readers; grant readers to 'app'@'%'; grant select on orders.customer to readers")
        server.sql("grant insert on orders.* to 'app'@'%'")


def test_list_is_the_same_without_catalog_and_after_a_rebuild(lost: Lost) -> None:
    before = lost.shown()
    assert "court; keep" in str(before)
    assert {each["database"] for each in before if "database" in each} == {*DATABASES, "@globals"}
    assert [each["database"] for each in before if each.get("proof") == "verified"] == ["people"]

    lost.forget_everything()
    assert lost.shown() == before
    lost.product.ok("catalog", "rebuild")
    assert lost.shown() == before


def test_manifest_and_checksum_file_come_back_from_the_file(lost: Lost) -> None:
    """The catalog still knows a hold; without catalog *and* manifest nobody does, and everything else is the same."""
    before = lost.listed()
    path = lost.path("orders")
    manifest, checksum = (path.with_name(path.name + suffix) for suffix in (".metadata.json", ".sha256"))
    said = checksum.read_text()
    manifest.unlink()
    checksum.unlink()
    lost.product.ok("catalog", "rebuild")
    assert checksum.read_text() == said
    assert _without(lost.listed(), "proof") == _without(before, "proof")

    manifest.unlink()
    lost.forget_everything()
    lost.product.ok("catalog", "rebuild")
    assert _without(lost.listed(), "proof", "held") == _without(before, "proof", "held")
    assert not any(each["held"] for each in lost.listed())
    assert lost.product.ok("verify", "--instance", "old", "--all")


def test_one_command_brings_the_whole_server_back(lost: Lost) -> None:
    lost.forget_everything()
    assert not lost.new.can_login("app", PASSWORD)
    lost.product.ok("restore", "--instance", "old", "--all", "--globals", "--target-instance", "new")
    for database in DATABASES:
        compare.assert_same(lost.old, database, lost.new, database)
    assert lost.new.can_login("app", PASSWORD)
    assert not lost.new.can_login("app", PASSWORD + "x")
    if lost.new.kind == "postgresql":
        compare.assert_equal(compare.globals_dump(lost.old), compare.globals_dump(lost.new))
    else:
        wanted = [lost.old.sql(f"show grants for {who}") for who in ("'app'@'%'", "readers")]
        assert [lost.new.sql(f"show grants for {who}") for who in ("'app'@'%'", "readers")] == wanted


def _without(backups: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in each.items() if key not in keys} for each in backups]
