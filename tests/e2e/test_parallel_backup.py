"""One PostgreSQL database dumped by several sessions: the same as by one, from one snapshot, or a clean failure."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import _labels, require_spec
from tests.e2e import compare
from tests.e2e.schemas import postgresql as everything
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

DATABASE = "everything_db"
CONFIG = {"backup": {"include_globals": False, "parallel_per_database": 1}}
PARALLEL = {"parallel_per_database": 3, "parallel_piece_size": 1 << 16}
LARGE = """
    create schema big;
    set search_path = big;
    create schema "Odd ""Schema"" $ñ";
    create table "Odd ""Schema"" $ñ"."Tábla 'x' \\ :y" ("Kèy" bigint primary key, "a:b" text, twice bigint
        generated always as ("Kèy" * 2) stored, dropped int, body bytea);
    alter table "Odd ""Schema"" $ñ"."Tábla 'x' \\ :y" drop column dropped;
    insert into "Odd ""Schema"" $ñ"."Tábla 'x' \\ :y" ("Kèy", "a:b", body)
        select n, case when n % 7 = 0 then null else repeat(E'\\\\.\\n--\\t' || n, 9) end, sha256(n::text::bytea)
          from generate_series(1, 3000) n;
    delete from "Odd ""Schema"" $ñ"."Tábla 'x' \\ :y" where "Kèy" between 500 and 1500;
    update "Odd ""Schema"" $ñ"."Tábla 'x' \\ :y" set "a:b" = 'new' where "Kèy" % 5 = 0;
    create table parent (n int, filler text);
    create table child (more int) inherits (parent);
    insert into parent select n, repeat('p', 90) from generate_series(1, 2000) n;
    insert into child select n, repeat('c', 90), n from generate_series(1, 2000) n;
    create table parts (n int, filler text) partition by hash (n);
    create table parts_0 partition of parts for values with (modulus 2, remainder 0);
    create unlogged table parts_1 partition of parts for values with (modulus 2, remainder 1);
    insert into parts select n, repeat('q', 90) from generate_series(1, 4000) n;
    create type shade as enum ('dark', 'light');
    create table shades (s shade, filler text) partition by hash (s);
    create table shades_0 partition of shades for values with (modulus 2, remainder 0);
    create table shades_1 partition of shades for values with (modulus 2, remainder 1);
    insert into shades select (array['dark', 'light'])[n % 2 + 1]::shade, repeat('s', 90) from generate_series(1, 4000) n;
    create table toasted (n serial primary key, body text);
    alter table toasted alter body set storage external;
    insert into toasted (body) select repeat(md5(n::text), 200) from generate_series(1, 60) n;
    create table emptied (n int primary key, filler text);
    insert into emptied select n, repeat('e', 90) from generate_series(1, 2000) n;
    delete from emptied;
    create table no_columns ();
    insert into no_columns select from generate_series(1, 20000);
    create table secured (n int, filler text);
    insert into secured select n, repeat('z', 90) from generate_series(1, 2000) n;
    alter table secured enable row level security, force row level security;
    create materialized view summed as select count(*) from parent;
    select lo_from_bytea(0, sha256('large'));
    grant select on large object {large} to public;
"""


def manifest(product: Product) -> dict[str, Any]:
    """The manifest of the newest backup."""
    found: dict[str, Any] = json.loads(Path(f"{newest(product)}.metadata.json").read_bytes())
    return found


def newest(product: Product) -> Path:
    """The newest backup file."""
    return max((file for file in product.files() if file.suffix == ".gz"), key=lambda file: file.stat().st_mtime_ns)


def backup(product: Product) -> tuple[Path, dict[str, Any]]:
    """Back the database up; its file and its manifest."""
    product.ok("backup", "--instance", "one", "--database", DATABASE)
    return newest(product), manifest(product)


def assert_same(server: PrivateServer, restored: str) -> None:
    """The same definitions, and in each table the same rows; where they lie is another matter."""
    compare.assert_equal(
        compare.dump(server, DATABASE, "--schema-only"), compare.dump(server, restored, "--schema-only")
    )
    original, found = compare.rows(server, DATABASE), compare.rows(server, restored)
    # The hash of an enum's value is another one in another database: only the root has the same rows.
    differing = {name for name in original.keys() | found.keys() if original.get(name) != found.get(name)}
    assert differing <= {"big.shades_0", "big.shades_1"}
    counted = "select s, count(*) from big.shades group by s order by s"
    assert server.sql(counted, DATABASE) == server.sql(counted, restored)


@pytest.fixture(scope="module", params=_labels("postgresql"))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, ...]]:
    spec, root = require_spec(request.param), tmp_path_factory.mktemp("parallel")
    with spec.start(root, settings=everything.SETTINGS) as server:
        everything.create_roles(server)
        everything.create_everything(server, DATABASE)
        large = server.sql("select lo_create(0)", DATABASE)[0][0]
        server.sql(LARGE.replace("{large}", str(large)), DATABASE)
        with Product(root / "product", [instance(server, "one")], servers=[server], config=CONFIG) as product:
            one = backup(product)
            product.settings["backup"] |= PARALLEL
            product.write_config()
            product.stop()
            product.start()
            yield server, product, one, backup(product)


def test_several_sessions_make_the_same_database(site: tuple[Any, ...]) -> None:
    server, product, (_, serial), (file, parallel) = site
    assert serial["facts"]["streams"] == 1
    assert parallel["facts"]["streams"] == 4, parallel["warnings"]
    assert serial["warnings"] == parallel["warnings"]
    assert serial["schema_info"] == parallel["schema_info"]
    assert serial["schema_info"]["schema_hash"]

    def rows(found: dict[str, Any]) -> dict[str, int]:
        counted: dict[str, int] = {}
        for extent in found["extents"]:
            if extent["section"] == "data" and extent["rows"] is not None:
                counted[extent["name"]] = counted.get(extent["name"], 0) + extent["rows"]
        return counted

    assert rows(serial) == rows(parallel)
    server.create_database("by_hand", "template template0")
    server.sql(gzip.decompress(file.read_bytes()).decode("utf-8", "surrogateescape"), "by_hand")
    assert_same(server, "by_hand")
    product.ok("verify", "--file", str(file))
    product.ok("restore", "--file", str(file), "--target-instance", "one", "--target-database", "by_us")
    assert_same(server, "by_us")


def test_a_database_in_another_encoding(site: tuple[Any, ...]) -> None:
    """Rows travel in the database's own encoding; a table whose name ASCII cannot write is left to pg_dump."""
    server, product, *_ = site
    server.create_database("latin", "template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
    server.sql(
        'create table plain (n int, t text); create table "übrig" (n int, t text);'
        " insert into plain select n, repeat('é', 90) || n from generate_series(1, 3000) n;"
        """ insert into "übrig" select n, repeat('ü', 90) || n from generate_series(1, 3000) n""",
        "latin",
    )
    product.ok("backup", "--instance", "one", "--database", "latin")
    assert manifest(product)["facts"]["streams"] == 4
    assert b"\xe9\xe9\xe9" in gzip.decompress(newest(product).read_bytes())
    product.ok("restore", "--file", str(newest(product)), "--target-instance", "one", "--target-database", "latin_2")
    assert compare.rows(server, "latin") == compare.rows(server, "latin_2")
    for name in ("latin", "latin_2"):
        server.drop_database(name)


def test_a_dry_run_tells_the_plan(site: tuple[Any, ...]) -> None:
    _, product, *_ = site
    done = product.ok("backup", "--instance", "one", "--database", DATABASE, "--dry-run")
    (step,) = (each for each in done["steps"] if each["database"] == DATABASE)
    assert step["detail"]["sessions"] == 3
    assert step["detail"]["sessions_reason"] == "configured: 3"
