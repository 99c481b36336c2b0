"""What a backup of PostgreSQL needs of its server: said at once before anything is touched, and the ways to do without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool, _labels, require_spec
from vya_backupd.testing.account import Account
from vya_backupd.testing.compare import own_dump
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

NAME = "needs_db"
_ROLES = ("boss_n", 'Odd "Role', "reader_n", "policed_n", "mapped_n", "granting_n", "heir_n")
_SCHEMA = """
CREATE EXTENSION IF NOT EXISTS {extension};
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t VALUES (1, 'ALTER TABLE public.t OWNER TO nobody;'), (2, E'\\\\.\\nGRANT ALL ON TABLE t TO nobody;');
CREATE TABLE far (id int) TABLESPACE fast_n;
CREATE INDEX far_id ON far (id) TABLESPACE fast_n;
CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN '
ALTER TABLE public.t OWNER TO nobody;
'; END $$;
CREATE VIEW w AS SELECT id FROM t;
SELECT lo_from_bytea(4711, 'large');
ALTER LARGE OBJECT 4711 OWNER TO boss_n;
ALTER TABLE t OWNER TO boss_n;
ALTER VIEW w OWNER TO "Odd ""Role";
GRANT SELECT (id) ON t TO reader_n;
ALTER DEFAULT PRIVILEGES FOR ROLE granting_n GRANT SELECT ON TABLES TO heir_n;
COMMENT ON TABLE t IS '
GRANT ALL ON TABLE t TO nobody;
';
"""
_POLICY = "CREATE POLICY p ON t TO policed_n USING (true)"


@dataclass(frozen=True)
class Site:
    """Two servers of one version; the second has none of the roles and tablespaces of the first."""

    one: PrivateServer
    two: PrivateServer
    product: Product
    extension: str
    with_policy: Path

    def restore(self, *options: str, name: str = "copy_n") -> Ran:
        source = ("--instance", "one", "--database", NAME, "--latest", "--target-instance", "two")
        return self.product.ctl("restore", *source, "--target-database", name, *options, "--output", "json")

    def refused(self, *options: str) -> tuple[str, str]:
        """Restore, which must be refused before anything is there: message and hint."""
        ran = self.restore(*options)
        error: dict[str, Any] = ran.json["error"]
        assert (ran.code, error["code"]) == (6, "target_lacks")
        assert self.two.sql("SELECT count(*) FROM pg_database WHERE datname !~ '^(postgres|template.)$'") == [("0",)]
        return str(error["message"]), str(error["hint"])


@pytest.fixture(scope="module", params=_labels("postgresql")[-1:])
def site(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    one, root = server_pool.get(request.param), tmp_path_factory.mktemp("needs")
    offered = {name for (name,) in one.sql("SELECT name FROM pg_available_extensions")} - {"plpgsql"}
    if not offered:
        pytest.skip("this server has no extension to be left out")
    extension = min(offered & {"hstore", "citext", "pgcrypto"} or offered)
    place = one.directory / "fast_n"
    place.mkdir()
    Account.for_servers().own(place)
    for role in _ROLES:
        one.sql(f"CREATE ROLE {one.quote_name(role)}")
    one.sql(f"CREATE TABLESPACE fast_n LOCATION '{place}'")
    one.sql(f"CREATE DATABASE {NAME} OWNER boss_n TABLESPACE fast_n")
    one.sql(_SCHEMA.format(extension=extension), NAME)
    one.sql(
        f"GRANT CONNECT ON DATABASE {NAME} TO reader_n; ALTER ROLE mapped_n IN DATABASE {NAME} SET work_mem = '8MB'"
    )
    with require_spec(request.param).start(root) as two:
        entries = [instance(one, "one", database=[NAME]), instance(two, "two")]
        with Product(root / "product", entries, servers=[one]) as product:
            one.sql(_POLICY, NAME)
            product.ok("backup", "--instance", "one")
            (with_policy,) = (file for file in product.files() if NAME in file.name)
            one.sql("DROP POLICY p ON t", NAME)
            product.ok("backup", "--instance", "one")
            yield Site(one, two, product, extension, with_policy)
    one.drop_database(NAME)
    one.sql("DROP TABLESPACE fast_n")
    for role in _ROLES:
        one.sql(f"DROP ROLE {one.quote_name(role)}")


@pytest.fixture
def copy(site: Site) -> Iterator[str]:
    yield "copy_n"
    site.two.drop_database("copy_n")


def test_everything_that_is_missing_is_said_at_once(site: Site) -> None:
    message, hint = site.refused()
    for role in set(_ROLES) - {"policed_n"}:
        assert role in message
    assert "tablespaces fast_n" in message
    assert "nobody" not in message
    for way in ("--globals", "--no-owner", "--no-privileges", "--no-tablespaces"):
        assert way in hint


def test_what_cannot_be_left_out_is_needed_all_the_same(site: Site) -> None:
    target = ("--target-instance", "two", "--target-database", "copy_n", "--output", "json")
    lighter = ("--no-owner", "--no-privileges", "--no-tablespaces")
    ran = site.product.ctl("restore", "--file", str(site.with_policy), *lighter, *target)
    assert (ran.code, ran.json["error"]["code"]) == (6, "target_lacks")
    assert "roles mapped_n, policed_n" in ran.json["error"]["message"]


@pytest.mark.parametrize("sessions", ["1", "2"])
def test_a_server_without_roles_and_tablespaces_takes_it(site: Site, copy: str, sessions: str) -> None:
    site.two.sql("CREATE ROLE mapped_n")
    try:
        message, _ = site.refused("--no-owner")
        assert "boss_n" not in message
        assert "reader_n" in message
        lighter = ("--no-owner", "--no-privileges", "--no-tablespaces", "--skip-extension", site.extension)
        done = site.restore(*lighter, "--sessions", sessions)
        assert done.code == 0, done.err + done.out
        assert site.two.sql("SELECT * FROM t ORDER BY id", copy) == site.one.sql("SELECT * FROM t ORDER BY id", NAME)
        assert site.two.sql("SELECT f(), obj_description('t'::regclass)", copy) == site.one.sql(
            "SELECT f(), obj_description('t'::regclass)", NAME
        )
        assert site.two.sql("SELECT convert_from(lo_get(4711), 'UTF8')", copy) == [("large",)]
        ((owners, granted, extensions),) = site.two.sql(
            "SELECT (SELECT count(DISTINCT relowner) FROM pg_class), (SELECT count(*) FROM pg_default_acl),"
            " (SELECT count(*) FROM pg_extension WHERE extname <> 'plpgsql')",
            copy,
        )
        assert (owners, granted, extensions) == ("1", "0", "0")
    finally:
        site.two.drop_database(copy)
        site.two.sql("DROP ROLE mapped_n")


def test_single_tables_need_what_they_name(site: Site, copy: str) -> None:
    ran = site.restore("--table", "t")
    assert (ran.code, ran.json["error"]["code"]) == (6, "target_lacks")
    assert "roles boss_n, reader_n" in ran.json["error"]["message"]
    assert "mapped_n" not in ran.json["error"]["message"]
    source = ("extract", "--instance", "one", "--database", NAME, "--latest", "--table", "t")
    text = site.product.ctl(*source, "--no-owner", "--no-privileges").out
    assert "\nALTER TABLE public.t OWNER TO boss_n;" in site.product.ctl(*source).out
    assert "OWNER TO boss_n" not in text
    assert "\nGRANT SELECT(" not in text
    assert "ALTER TABLE public.t OWNER TO nobody;" in text


def _dumped(server: PrivateServer, *options: str) -> bytes:
    login = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.admin_user}
    environment = os.environ | login | {"PGPASSWORD": server.admin_password}
    return subprocess.run(
        [str(server.tools["pg_dump"]), *options, NAME], capture_output=True, check=True, env=environment
    ).stdout


def test_a_foreign_dump_without_its_owners(site: Site, copy: str, tmp_path: Path) -> None:
    file = tmp_path / "foreign.sql"
    file.write_bytes(own_dump(site.one, NAME))
    lighter = ("--no-owner", "--no-privileges", "--no-tablespaces")
    target = ("--target-instance", "two", "--target-database", copy)
    refused = site.product.ctl("restore", "--file", str(file), *target, "--output", "json")
    assert (refused.code, refused.json["error"]["code"]) == (6, "target_lacks")
    for role in ("boss_n", 'Odd "Role', "reader_n", "granting_n", "heir_n"):
        assert role in refused.json["error"]["message"]
    assert "nobody" not in refused.json["error"]["message"]
    for name, options in (("custom", ["-Fc"]), ("create", ["--create"]), ("clean", ["--clean"])):
        other = tmp_path / name
        other.write_bytes(_dumped(site.one, *options))
        ran = site.product.ctl("restore", "--file", str(other), *target, *lighter, "--output", "json")
        assert (name, ran.code) in {("custom", 5), ("create", 2), ("clean", 2)}
        assert {"custom": "custom format", "create": "CREATE DATABASE", "clean": "drops what"}[name] in ran.out
    assert (copy,) not in site.two.sql("SELECT datname FROM pg_database")
    done = site.product.ctl("restore", "--file", str(file), *target, *lighter)
    assert done.code == 0, done.err
    assert site.two.sql("SELECT * FROM t ORDER BY id", copy) == site.one.sql("SELECT * FROM t ORDER BY id", NAME)
