"""Tables that are changed, replaced, made and dropped while they are dumped: no row is missing without a word."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import ServerPool, _labels
from tests.e2e import compare
from tests.e2e.gate import Gate, fill
from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

TWICE = {"attempts": 2, "retry_wait": "1s", "include_globals": False}

POSTGRESQL = """
    create table big (id int primary key, filler text);
    insert into big select n, repeat('b', 90) from generate_series(1, 3000) n;
    create table retyped (id int primary key, v int);
    create table emptied (id int primary key);
    create table swapped (id int primary key, v text);
    create table coming (id int primary key, v text);
    create table going (id int);
    insert into retyped select n, n from generate_series(1, 500) n;
    insert into emptied select generate_series(1, 500);
    insert into swapped select n, 'old' from generate_series(1, 500) n;
"""
CHANGES = {
    "public.emptied, public.retyped, public.swapped": [
        "alter table retyped alter v type bigint",
        "truncate emptied",
        "insert into emptied values (7)",
        "insert into coming select id, 'new' from swapped",
        "alter table swapped rename to swapped_old",
        "alter table coming rename to swapped",
        "create table coming (id int primary key)",
    ],
    'relation "public.going" does not exist': ["lock table retyped", "drop table going", "create table late (id int)"],
}
"""What is told, of which changes."""


@pytest.mark.parametrize("streams", [1, 2])
def test_what_changes_while_pg_dump_waits_for_its_locks(
    any_postgresql: PrivateServer, streams: int, tmp_path: Path, fresh_name: str
) -> None:
    """To pg_dump's snapshot each of these tables would be empty, another one, or gone.

    Several streams are led by a session that waits for the tables before there is a snapshot.
    """
    expected = ["tables_changed"] if streams == 1 else []
    config = {"backup": TWICE | {"parallel_per_database": streams, "parallel_piece_size": 1 << 16}}
    server, copy = any_postgresql, f"{fresh_name}_c"
    server.create_database(fresh_name)
    server.sql(POSTGRESQL, fresh_name)
    entry = instance(server, "one", database=[fresh_name])
    with Product(tmp_path, [entry], servers=[server], config=config) as product:
        for told, statements in CHANGES.items():
            attempts = len(retries(product))
            operation = changed_under_a_dump(server, product, fresh_name, statements)
            assert product.ctl("operations", "watch", operation).code == 0
            assert [each["reason"].partition(":")[0] for each in retries(product)[attempts:]] == expected
            assert told in str(retries(product)[attempts:]) or not expected
        product.ok("restore", "--instance", "one", "--database", fresh_name, "--latest", "--target-database", copy)
        definitions = [compare.dump(server, name, "--schema-only") for name in (fresh_name, copy)]
        compare.assert_equal(*definitions)
        compare.assert_same_rows(server, fresh_name, server, copy)
    for name in (fresh_name, copy):
        server.drop_database(name)


def retries(product: Product) -> list[dict[str, Any]]:
    return product.events("backup.retry")


def changed_under_a_dump(server: PrivateServer, product: Product, database: str, statements: list[str]) -> str:
    """Begin a backup in whose way the changes are, and commit them when pg_dump waits. Returns the operation."""
    login: dict[str, Any] = {"host": server.host, "port": server.port, "user": server.admin_user}
    with psycopg.connect(**login, dbname=database, password=server.admin_password) as session:
        for statement in statements:
            session.execute(statement)
        begun = product.ok("backup", "--database", database, "--no-wait")["operation"]["id"]
        waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        until(lambda: server.sql(waits, database), otherwise="nobody waited for the lock")
        session.commit()
    return str(begun)


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def gated(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PrivateServer, Product, Gate, str]]:
    server, name = server_pool.get(request.param), "changed_under_way"
    root = tmp_path_factory.mktemp("gated")
    server.drop_database(name)
    fill(server, name)
    gate = Gate(root / "gate", server)
    entry = instance(server, "one", database=[name])
    config = {"backup": TWICE, "tools": gate.tools}
    with Product(root / "product", [entry], servers=[server], config=config) as product:
        yield server, product, gate, name
    server.drop_database(name)


@pytest.mark.parametrize(
    ("change", "again", "there", "gone"),
    [
        ("alter table b_small add more int not null default 4711, algorithm = copy", True, ["4711"], []),
        ("truncate table b_small; insert into b_small (id, t) values (9, 'anew')", True, ["anew"], ["'one'"]),
        ("drop table c_small; create table c_small (id int primary key, k int)", True, ["`k` int"], ["'two'"]),
        ("drop table c_small", True, [], ["c_small"]),
        ("create table came_meanwhile (id int)", False, [], ["came_meanwhile"]),
    ],
    ids=["altered", "truncated", "replaced", "dropped", "made"],
)
def test_what_changes_while_mysqldump_reads(
    gated: tuple[PrivateServer, Product, Gate, str], change: str, again: bool, there: list[str], gone: list[str]
) -> None:
    text = gzip.decompress(dumped_while(gated, change, again=again).read_bytes()).decode()
    assert [each for each in [*there, "row-003999"] if each not in text] == []
    assert [each for each in gone if each in text] == []


def dumped_while(gated: tuple[PrivateServer, Product, Gate, str], change: str, *, again: bool) -> Path:
    """Change something while the dump is held in its first table; the file that comes out of it in the end."""
    server, product, gate, name = gated
    attempts, files = len(retries(product)), set(product.files())
    gate.arm("schema")
    begun = product.ok("backup", "--database", name, "--no-wait")["operation"]["id"]
    gate.held()
    gate.disarm()
    server.sql(change, name)
    gate.release()
    assert product.ctl("operations", "watch", begun).code == 0
    reasons = [each["reason"].partition(":")[0] for each in retries(product)[attempts:]]
    assert reasons == (["tables_changed"] if again else [])
    [file] = [each for each in set(product.files()) - files if each.suffix == ".gz"]
    return file


def test_a_table_that_is_swapped_in_half_full(gated: tuple[PrivateServer, Product, Gate, str]) -> None:
    """The end of an online change of a table: its copy was read when it was half full, and becomes the table."""
    server, _, _, name = gated
    full = "insert into z_orders values (1, 'first half'), (2, 'second half')"
    server.sql(f"create table z_orders (id int primary key, t varchar(20)); {full}", name)
    older = "select create_time < now() from information_schema.tables where table_name = 'z_orders'"
    until(lambda: server.sql(older) == [("1",)])  # MySQL tells tables apart by the second in which they were made
    server.sql("create table _z_orders_new like z_orders; insert into _z_orders_new values (1, 'first half')", name)
    change = """
        insert into _z_orders_new values (2, 'second half');
        rename table z_orders to _z_orders_old, _z_orders_new to z_orders
    """
    text = gzip.decompress(dumped_while(gated, change, again=True).read_bytes()).decode()
    assert text.count("second half") == 2, "of the table, and of what it was before"
