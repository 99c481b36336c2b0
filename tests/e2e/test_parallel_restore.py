"""Restoring PostgreSQL over several sessions: what fails half-way fails as a whole, and leaves nothing behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import ServerPool
from tests.e2e import compare
from tests.e2e.killing import all_gone, family
from tests.waiting import PATIENCE, until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

_ROWS = """
create table big (id int primary key, note text);
insert into big select i, repeat('some words ', 20) || i from generate_series(1, 30000) i;
create table child (id int primary key, big int references big);
insert into child select i, i from generate_series(1, 30000) i;
create index on big (note);
create unique index on child (big);
create table parent (id int not null, at int not null) partition by range (at);
create table part_1 partition of parent for values from (0) to (100);
create table part_2 partition of parent for values from (100) to (maxvalue);
insert into parent select i, i from generate_series(1, 1000) i;
alter table parent add primary key (id, at);
create index on parent (at);
"""
_ELSEWHERE = """
create function elsewhere(i int) returns int immutable language plpgsql as
    $$ begin if current_database() <> '{name}' then {action} end if; return i; end $$;
create index {kind} on child (elsewhere(id));
"""
"""An index that behaves differently in a copy: it is what goes wrong when nearly everything is in."""
_KINDS = {
    "good": "",
    "held": _ELSEWHERE.replace("{action}", "perform pg_sleep(3600);"),
    "failing": _ELSEWHERE.replace("{action}", "raise exception ''broken index'';").replace("''", "'"),
    "duplicate": _ELSEWHERE.replace("create index", "create unique index").replace("{action}", "return 1;"),
}


@dataclass
class Shop:
    """Backups of four databases of one server."""

    server: PrivateServer
    product: Product
    prefix: str

    def options(self, kind: str) -> tuple[str, ...]:
        """A restore of one of them beside itself, over three sessions."""
        name = f"{self.prefix}_{kind}"
        source = ("--instance", "one", "--database", name, "--latest", "--sessions", "3")
        return ("restore", *source, "--target-database", f"{name}_copy")

    def failed(self, kind: str) -> dict[str, Any]:
        """Run it; the error of its step, when nothing is left of it."""
        ran = self.product.ctl(*self.options(kind), "--output", "json")
        assert ran.code == 1, ran.err
        self.nothing_left()
        return dict(ran.json["steps"][0]["error"])

    def databases(self) -> set[str]:
        """What stands on the server, of ours."""
        found = self.server.sql(f"select datname from pg_database where datname like '{self.prefix}%'")
        return {name.removeprefix(f"{self.prefix}_") for (name,) in found}

    def sessions(self) -> list[tuple[str, ...]]:
        """Process and statement of the server's sessions that restore."""
        return self.server.sql(
            "select pid, query from pg_stat_activity where application_name = 'vya-backupd'"
            f" and datname like '{self.prefix}%'"
        )

    def nothing_left(self) -> None:
        """Neither a database nor a session; the originals are as they were."""
        assert self.databases() == set(_KINDS)
        assert self.sessions() == []

    def building(self) -> str:
        """Wait until the index is built that never ends; the server's process that does it."""
        return until(
            lambda: next((pid for pid, query in self.sessions() if "INDEX held" in query), ""),
            otherwise="the index is not built",
        )


@pytest.fixture(scope="module")
def shop(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    server, prefix = server_pool.get("postgresql"), f"par_{uuid.uuid4().hex[:8]}"
    for kind, more in _KINDS.items():
        name = f"{prefix}_{kind}"
        server.create_database(name)
        server.sql(_ROWS + more.format(name=name, kind=kind), name)
    login = f"{prefix}_login"
    server.sql(
        f"create role {login} login createdb connection limit 13 password 'narrow'; grant {server.admin_user} to {login}"
    )
    one = instance(server, "one", database=[f"{prefix}_*"])
    narrow = instance(server, "narrow", username=login, password="narrow", database=["none"])
    with Product(tmp_path_factory.mktemp("parallel"), [one, narrow], servers=[server]) as product:
        product.ok("backup", "--instance", "one")
        made = Shop(server, product, prefix)
        yield made
    for kind in made.databases():
        server.drop_database(f"{prefix}_{kind}")
    server.sql(f"drop role {login}")


def test_it_is_the_same_and_replaces_the_original(shop: Shop) -> None:
    name = f"{shop.prefix}_good"
    before, rows = compare.dump(shop.server, name, "--schema-only"), compare.rows(shop.server, name)
    shop.server.sql("drop table child; delete from big", name)
    source = ("--instance", "one", "--database", name, "--latest", "--sessions", "3")
    done = shop.product.ok("restore", *source, "--overwrite", "--yes")
    assert done["steps"][0]["detail"]["sessions"] == 3
    compare.assert_equal(before, compare.dump(shop.server, name, "--schema-only"))
    assert rows == compare.rows(shop.server, name)
    shop.nothing_left()


@pytest.mark.parametrize(
    ("kind", "words"), [("failing", "broken index"), ("duplicate", "could not create unique index")]
)
def test_an_index_that_cannot_be_built_fails_everything(shop: Shop, kind: str, words: str) -> None:
    error = shop.failed(kind)
    assert error["code"] == "restore_failed"
    assert words in error["message"]


def test_a_session_that_the_server_ends_fails_everything(shop: Shop) -> None:
    with shop.product.begin(*shop.options("held"), "--output", "json") as client:
        shop.server.sql(f"select pg_terminate_backend({shop.building()})")
        assert client.wait(PATIENCE) == 1
        assert client.stdout
        assert '"server_lost"' in client.stdout.read()
    shop.nothing_left()


def test_cancelling_ends_all_sessions(shop: Shop) -> None:
    with shop.product.begin(*shop.options("held"), "--output", "json") as client:
        shop.building()
        (running,) = shop.product.ok("operations", "list", "--state", "running")["operations"]
        shop.product.ok("operations", "cancel", running["id"])
        client.wait(PATIENCE)
    until(lambda: not shop.sessions(), otherwise="sessions are left")
    until(lambda: shop.databases() == set(_KINDS), otherwise="a database is left")


def test_a_killed_daemon_leaves_no_client_and_the_next_one_clears_up(shop: Shop) -> None:
    with shop.product.begin(*shop.options("held")) as client:
        shop.building()
        children = family(shop.product.process.pid)
        assert len([each for each in children if "psql" in each.command]) == 3
        shop.product.kill()
        all_gone(children, 3.0)
        client.terminate()
    for pid, _ in shop.sessions():
        shop.server.sql(f"select pg_terminate_backend({pid})")
    until(lambda: not shop.sessions(), otherwise="sessions are left")
    shop.product.start()
    until(lambda: shop.databases() == set(_KINDS), otherwise="a database is left")
