"""A restore of single tables whose server is lost between COMMIT and its answer: what is told is what is there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.conftest import ServerPool
from tests.faults.proxy import Proxy
from tests.waiting import PATIENCE, until
from vya_backupd.engines.transaction_postgresql import number_said
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

_LOCK = 4711
_DATABASE = "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9);"
_GATE = f"""
    CREATE TABLE gate (doomed boolean);
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_advisory_xact_lock_shared({_LOCK});
        IF new.doomed THEN RAISE EXCEPTION 'doomed'; END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON gate DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait();
    CREATE FUNCTION enter() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.gate SELECT EXISTS (SELECT FROM public.armed);
    END $$;
    CREATE TABLE armed (a int);
    CREATE EVENT TRIGGER enter ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION enter();
"""
"""Whoever makes a table waits within its COMMIT until the lock is free; then it fails if the row says so."""


@dataclass
class Scene:
    """A database whose backup is restored into a gated copy, through a proxy."""

    server: PrivateServer
    proxy: Proxy
    product: Product
    name: str

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody gets through the gate meanwhile."""
        server = self.server
        login: dict[str, Any] = {"host": server.host, "port": server.port, "user": server.admin_user}
        with psycopg.connect(**login, dbname=f"{self.name}_c", password=server.admin_password) as session:
            session.execute(f"SELECT pg_advisory_lock({_LOCK})")
            yield

    def waits(self) -> bool:
        found = self.server.sql(
            f"SELECT 1 FROM pg_stat_activity WHERE datname = '{self.name}_c' AND query LIKE 'COMMIT%'"
            " AND wait_event = 'advisory'"
        )
        return bool(found)

    def lost_at_commit(self) -> dict[str, Any]:
        """The operation's step, after every connection was cut while the server was at its COMMIT."""
        words = ("restore", "--instance", "one", "--database", self.name, "--latest", "--table", "t")
        with self.held():
            copy = ("--target-database", f"{self.name}_c", "--yes", "--output", "json")
            client = self.product.begin(*words, *copy)
            until(self.waits, otherwise="no COMMIT waits")
            assert self.proxy.strike() > 0
        out, _ = client.communicate(timeout=PATIENCE)
        [step] = json.loads(out)["steps"]
        return dict(step)

    def rows(self) -> list[tuple[str, ...]]:
        return self.server.sql("SELECT count(*) FROM t", f"{self.name}_c")


@pytest.fixture
def scene(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    server, name = server_pool.get("postgresql"), f"commit_{uuid.uuid4().hex[:10]}"
    for each, sql in ((name, _DATABASE), (f"{name}_c", _GATE)):
        server.create_database(each)
        server.sql(sql, each)
    with Proxy(server.host, server.port) as proxy:
        entry = instance(server, "one", port=proxy.port)
        with Product(tmp_path_factory.mktemp("commit"), [entry], servers=[server]) as product:
            product.ok("backup", "--instance", "one", "--database", name)
            yield Scene(server, proxy, product, name)
    for each in (name, f"{name}_c"):
        server.drop_database(each)


def test_the_answer_to_commit_is_lost(scene: Scene) -> None:
    """Once the server undoes everything, and once it does what it was told: both times that is what is said."""
    scene.server.sql("INSERT INTO armed VALUES (1)", f"{scene.name}_c")
    failed = scene.lost_at_commit()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "server_lost")
    assert scene.server.sql("SELECT to_regclass('public.t') IS NULL", f"{scene.name}_c") == [("t",)]

    scene.server.sql("TRUNCATE armed", f"{scene.name}_c")
    done = scene.lost_at_commit()
    assert done["state"] == "succeeded", done
    assert "the server says that all was done" in str(done["detail"]["notes"])
    assert scene.rows() == [("9",)]


def test_the_number_is_the_last_that_was_said() -> None:
    said = "psql:<stdin>:{}: NOTICE:  the number of this restore's transaction is {}"
    assert number_said("\n".join([said.format(1, 5), said.format(9, 742), "server closed the connection"])) == 742
    assert number_said("ERROR:  division by zero") is None
