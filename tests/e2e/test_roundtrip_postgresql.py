"""PostgreSQL there and back: through a real daemon, onto other servers and under other names, nothing is lost."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import _labels, require_spec
from tests.e2e import compare
from tests.e2e.schemas import postgresql as everything
from tests.operations.feeding_rig import feeding_rig
from vya_backupd.engines.scan_postgresql import PostgresqlScanner
from vya_backupd.operations.feeding_postgresql import PostgresqlFeeder
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

DATABASE = "everything_db"


@dataclass
class Site:
    """Two servers of one version, an installation that knows both, and a backup of all of the first."""

    source: PrivateServer
    target: PrivateServer
    product: Product

    def file_of(self, database: str) -> Path:
        """The newest backup of a database of the source."""
        listed = self.product.ok("restore", "--list", "--instance", "one", "--database", database)["backups"]
        return Path(listed[0]["file"])


@pytest.fixture(scope="module", params=_labels("postgresql"))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    spec = require_spec(request.param)
    root = tmp_path_factory.mktemp("roundtrip")
    with (
        spec.start(root, settings=everything.SETTINGS) as source,
        spec.start(root, settings=everything.SETTINGS) as target,
    ):
        everything.create_roles(source)
        everything.create_everything(source, DATABASE)
        product = Product(root / "product", [instance(source, "one"), instance(target, "two")], servers=[source])
        with product:
            product.ok("backup", "--instance", "one")
            yield Site(source, target, product)


@pytest.fixture(scope="module")
def restored(site: Site) -> Site:
    """The whole first server, restored onto the second by one command.

    The tablespace is there: two servers on one machine cannot share its folder. So is a role, with other properties.
    """
    site.target.sql(
        "create role app_owner superuser password 'other'; create tablespace spare owner app_owner location ''"
    )
    site.product.ok("restore", "--instance", "one", "--all", "--globals", "--target-instance", "two")
    return site


def test_whole_server_is_restored_as_it_was(restored: Site) -> None:
    compare.assert_same(restored.source, DATABASE, restored.target, DATABASE)
    compare.assert_equal(compare.globals_dump(restored.source), compare.globals_dump(restored.target))


def test_users_log_in_with_their_passwords(restored: Site) -> None:
    for name, password in everything.PASSWORDS.items():
        assert restored.target.can_login(name, password)
        assert not restored.target.can_login(name, password + "x")
    assert not restored.target.can_login("app_expired", "expired")


@pytest.mark.parametrize("sessions", ["1", "3"])
def test_restored_beside_the_original_it_is_the_same(restored: Site, sessions: str) -> None:
    copy = "copy_of_everything"
    source = ("--instance", "one", "--database", DATABASE, "--latest", "--sessions", sessions)
    done = restored.product.ok("restore", *source, "--target-database", copy)
    assert done["steps"][0]["detail"]["sessions"] == int(sessions)
    compare.assert_same(restored.source, DATABASE, restored.source, copy)
    restored.source.sql("drop subscription never_connected", copy)
    restored.source.drop_database(copy)


def test_zcat_and_psql_restore_without_us(restored: Site) -> None:
    by_hand = "made_by_hand"
    restored.target.create_database(by_hand, "template template0")
    text = subprocess.run(["zcat", restored.file_of(DATABASE)], capture_output=True, check=True).stdout
    restored.target.sql(text.decode("utf-8", "surrogateescape"), by_hand)
    compare.assert_equal(compare.dump(restored.source, DATABASE), compare.dump(restored.target, by_hand))
    compare.assert_same_rows(restored.source, DATABASE, restored.target, by_hand)


async def test_tiny_segments_restore_the_same_over_many_sessions(restored: Site, tmp_path: Path) -> None:
    """Nearly every row is a unit by itself, and goes wherever a session is free: rows lie in any order."""
    copy = "cut_and_spread"
    async with feeding_rig(restored.source, tmp_path) as rig:
        path = await rig.packed(DATABASE, 2048)
        fed = await rig.restored(PostgresqlFeeder(4), path, copy)
    with gzip.open(path) as text:
        assert fed.raw_size == sum(map(len, text))
    original, made = (compare.dump(restored.source, name) for name in (DATABASE, copy))
    compare.assert_equal(sorted(original), sorted(made))
    definitions = [compare.dump(restored.source, name, "--schema-only") for name in (DATABASE, copy)]
    compare.assert_equal(*definitions)
    restored.source.sql("drop subscription never_connected", copy)
    restored.source.drop_database(copy)


def test_tiny_segments_restore_the_same(restored: Site) -> None:
    """Every COPY block and the large objects are cut many times; psql reads the segments one after the other."""
    text = subprocess.run(["zcat", restored.file_of(DATABASE)], capture_output=True, check=True).stdout
    scanner = PostgresqlScanner(2048)
    segments = [segment for at in range(0, len(text), 999) for segment in scanner.feed(text[at : at + 999])]
    segments += scanner.finish()
    pieces = [segment for segment in segments if segment.object_name == "app.everything"]
    assert len(pieces) > 10
    assert sum(segment.rows or 0 for segment in pieces) == 512
    cut = "cut_small"
    restored.target.create_database(cut, "template template0")
    joined = b"".join(bytes(part) for segment in segments for part in segment.parts)
    restored.target.sql(joined.decode("utf-8", "surrogateescape"), cut)
    compare.assert_equal(compare.dump(restored.source, DATABASE), compare.dump(restored.target, cut))
    compare.assert_same_rows(restored.source, DATABASE, restored.target, cut)
