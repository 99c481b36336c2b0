"""Which backup, from where, to where: everything that a restore can be told, on one PostgreSQL server."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool, require_spec
from tests.e2e import compare
from vya_backupd.testing.discover import find_servers
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

DATABASE = "history_db"


@dataclass
class Site:
    """Two servers; a database of the first with three backups, of one, two and three rows."""

    one: PrivateServer
    two: PrivateServer
    product: Product
    taken: list[str]
    root: Path

    def restore(self, *options: str) -> Ran:
        return self.product.ctl("restore", *options, "--output", "json")

    def rows(self, server: PrivateServer, database: str) -> int:
        return int(server.sql("select count(*) from t", database)[0][0])

    def dump(self) -> bytes:
        """The database as a script of others would dump it: by the bare tool."""
        return "\n".join(compare.dump(self.one, DATABASE)).encode()


@pytest.fixture(scope="module")
def site(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    one, root = server_pool.get("postgresql"), tmp_path_factory.mktemp("restore")
    one.create_database(DATABASE)
    one.sql("create table t (a int); create extension if not exists plpgsql", DATABASE)
    entry = instance(one, "one", database=[DATABASE, "needy*"])
    with require_spec("postgresql").start(root) as two:
        with Product(root / "product", [entry, instance(two, "two")], servers=[one]) as product:
            taken = []
            for row in (1, 2, 3):
                one.sql(f"insert into t values ({row})", DATABASE)
                (made,) = product.ok("backup", "--instance", "one", "--database", DATABASE)["backups"]
                taken.append(made["taken_at"])
            yield Site(one, two, product, taken, root)
        one.drop_database(DATABASE)


def _error(ran: Ran) -> dict[str, Any]:
    said = ran.json
    return dict(said["steps"][0]["error"] if "steps" in said else said["error"])


@pytest.mark.parametrize("number", [0, 1])
def test_datetime_takes_the_newest_backup_of_then(site: Site, number: int) -> None:
    name = f"then_{number}"
    done = site.restore(
        *("--instance", "one", "--database", DATABASE, "--datetime", site.taken[number]),
        *("--target-instance", "two", "--target-database", name),
    )
    assert done.code == 0, done.err
    assert site.rows(site.two, name) == number + 1


def test_nothing_so_early_names_the_earliest(site: Site) -> None:
    refused = site.restore("--instance", "one", "--database", DATABASE, "--datetime", "2001-01-01 00:00:00")
    assert (refused.code, _error(refused)["code"]) == (4, "no_backup_before")
    assert site.taken[0][:19] in _error(refused)["message"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--instance", "one", "--database", "no_such", "--latest"), "unknown_backup"),
        (("--instance", "nobody", "--database", DATABASE, "--latest"), "unknown_instance"),
        (("--file", "/no/such/file", "--target-instance", "two"), "file_not_found"),
        (("--backup", "no-such-id"), "unknown_backup"),
    ],
)
def test_unknown_things_end_with_4(site: Site, options: tuple[str, ...], code: str) -> None:
    refused = site.restore(*options)
    assert (refused.code, _error(refused)["code"]) == (4, code)


@pytest.mark.parametrize("name", ["x" * 64, "é" * 32, ""])
def test_names_that_the_server_would_shorten_are_refused(site: Site, name: str) -> None:
    refused = site.restore("--instance", "one", "--database", DATABASE, "--latest", "--target-database", name)
    assert (refused.code, _error(refused)["code"]) == (2, "usage")


def test_target_that_is_not_empty_is_refused(site: Site) -> None:
    refused = site.restore("--instance", "one", "--database", DATABASE, "--latest")
    assert (refused.code, _error(refused)["code"]) == (6, "target_not_empty")
    assert site.rows(site.one, DATABASE) == 3


def test_empty_target_is_used_and_gets_the_recorded_properties(site: Site) -> None:
    site.two.create_database("empty_one", "encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0")
    source = ("--instance", "one", "--database", DATABASE, "--latest")
    done = site.restore(*source, "--target-instance", "two", "--target-database", "empty_one")
    assert done.code == 0, done.err
    compare.assert_same(site.one, DATABASE, site.two, "empty_one")


def test_a_file_of_ours_that_lies_alone_knows_what_it_is(site: Site, tmp_path: Path) -> None:
    """Its name, its properties and its rows come from the file itself; a checksum file beside it is obeyed."""
    alone = tmp_path / "carried.sql.gz"
    alone.write_bytes(site.product.files()[-1].read_bytes())
    source = ("--file", str(alone), "--target-instance", "two")
    done = site.restore(*source)
    assert done.code == 0, done.err
    assert done.json["restored"][0]["rows_checked"] > 0
    compare.assert_same(site.one, DATABASE, site.two, DATABASE)
    site.two.drop_database(DATABASE)
    alone.with_name("carried.sql.gz.sha256").write_text(f"{'0' * 64}  carried.sql.gz\n")
    refused = site.restore(*source)
    assert (refused.code, _error(refused)["code"]) == (5, "checksum_mismatch")


def test_overwrite_without_terminal_and_yes_never_waits(site: Site) -> None:
    refused = site.restore("--instance", "one", "--database", DATABASE, "--latest", "--overwrite")
    assert (refused.code, _error(refused)["code"]) == (2, "confirmation_required")


def test_dry_run_reads_the_file_and_touches_no_server(site: Site) -> None:
    """The target is stopped: whoever wanted it would fail."""
    source = ("--instance", "one", "--database", DATABASE, "--latest", "--target-instance", "two")
    site.two.stop()
    done = site.restore(*source, "--dry-run")
    touched = site.restore(*source)
    site.two.start()
    assert done.code == 0, done.err
    assert done.json["steps"][0]["state"] == "succeeded"
    assert (touched.code, _error(touched)["code"]) == (1, "connection_refused")


def test_our_own_file_is_restored_from_elsewhere(site: Site, tmp_path: Path) -> None:
    newest = max(path for path in site.product.files() if DATABASE in path.name)
    copy = tmp_path / "renamed.sql.gz"
    copy.write_bytes(newest.read_bytes())
    done = site.restore("--file", str(copy), "--target-instance", "two", "--target-database", "from_a_file")
    assert done.code == 0, done.err
    assert site.rows(site.two, "from_a_file") == 3


@pytest.mark.parametrize("packed", ["plain", "gzip", "two members of windows"])
def test_foreign_dumps_are_restored(site: Site, tmp_path: Path, packed: str) -> None:
    text = site.dump()
    path = tmp_path / "foreign"
    of_windows = b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")
    half = of_windows.find(b"\n", len(text) // 2)
    members = {"plain": text, "gzip": gzip.compress(text)}
    path.write_bytes(members.get(packed, gzip.compress(of_windows[:half]) + gzip.compress(of_windows[half:])))
    name = f"foreign_{packed.replace(' ', '_')}"
    done = site.restore("--file", str(path), "--target-instance", "two", "--target-database", name)
    assert done.code == 0, done.err
    compare.assert_equal(compare.dump(site.one, DATABASE), compare.dump(site.two, name))


@pytest.mark.parametrize("damage", ["gzip cut off", "text cut off", "text behind the end", "one bit", "no dump"])
def test_damaged_foreign_dumps_are_refused_before_the_target_is_touched(
    site: Site, tmp_path: Path, damage: str
) -> None:
    text = site.dump()
    packed = bytearray(gzip.compress(text))
    contents = {
        "gzip cut off": bytes(packed[:-20]),
        "text cut off": text[: len(text) // 2],
        "text behind the end": text + b"\nselect 1;\n",
        "no dump": b"hello\n",
    }
    packed[len(packed) // 2] ^= 1
    path = tmp_path / "foreign"
    path.write_bytes(contents.get(damage, bytes(packed)))
    refused = site.restore("--file", str(path), "--target-instance", "two", "--target-database", "never_made")
    assert refused.code == 5, refused.err
    assert str(path) in _error(refused)["message"]
    assert ("0",) in site.two.sql("select count(*) from pg_database where datname = 'never_made'")


def test_missing_role_is_said_before_the_target_is_touched(site: Site) -> None:
    """The backup needs a role that the second server does not have."""
    site.one.sql("create role only_here; create database needy owner only_here")
    site.one.sql("create table t (a int); alter table t owner to only_here", "needy")
    site.product.ok("backup", "--instance", "one", "--database", "needy")
    refused = site.restore("--instance", "one", "--database", "needy", "--latest", "--target-instance", "two")
    site.one.drop_database("needy")
    site.one.sql("drop role only_here")
    assert (refused.code, _error(refused)["code"]) == (6, "target_lacks")
    assert "only_here" in _error(refused)["message"]
    assert "--globals" in _error(refused)["hint"]
    assert ("0",) in site.two.sql("select count(*) from pg_database where datname = 'needy'")


def test_newer_server_takes_it_unless_it_lacks_an_extension(site: Site, tmp_path: Path) -> None:
    newest = [spec for spec in find_servers() if spec.kind == "postgresql"][-1]
    if newest.label == site.one.spec.label:
        pytest.skip("two versions of PostgreSQL are needed, this machine has one")
    with newest.start(tmp_path) as newer:
        offered = [
            {name for (name,) in server.sql("select name from pg_available_extensions")} for server in (site.one, newer)
        ]
        extension = min(offered[0] - offered[1])
        site.one.sql("create database needy_too")
        site.one.sql(f'create extension "{extension}"; create table t (a int)', "needy_too")
        backups = ["backup", "--instance", "one", "--database", f"{DATABASE},needy_too"]
        site.product.ok(*backups)
        site.one.drop_database("needy_too")
        product = Product(tmp_path / "product", [instance(newer, "newer")], servers=[site.one, newer])
        with product:
            files = {path.parent.parent.name: path for path in site.product.files()}
            done = product.ctl("restore", "--file", str(files[DATABASE]), "--target-instance", "newer")
            assert done.code == 0, done.err
            compare.assert_same_rows(site.one, DATABASE, newer, DATABASE)
            source = ("restore", "--file", str(files["needy_too"]), "--target-instance", "newer", "--output", "json")
            refused = product.ctl(*source)
            assert (refused.code, _error(refused)["code"]) == (6, "target_lacks")
            assert extension in _error(refused)["message"]
