"""Single tables out of a backup: restored beside, in place of and under other names than what is there, and extracted."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool
from tests.e2e.compare_mysql import client
from tests.waiting import PATIENCE
from vya_backupd.dumpfile.manifest import decode_manifest
from vya_backupd.model.backup import Extent, Manifest, Section
from vya_backupd.testing.compare import own_dump
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

_POSTGRESQL = r"""
CREATE SCHEMA sales;
CREATE TYPE mood AS ENUM ('happy', 'cross');
CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE "Odd ""Näme; .x" (id serial PRIMARY KEY, c bigint REFERENCES customers, "a b" text DEFAULT 'public.customers');
CREATE TABLE changes (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO public.changes VALUES (TG_OP || ';'); RETURN NEW; END $$;
CREATE TABLE orders (id bigint, customer bigint REFERENCES customers, cents int CHECK (cents >= 0), PRIMARY KEY (id))
    PARTITION BY RANGE (id);
CREATE TABLE orders_low PARTITION OF orders FOR VALUES FROM (0) TO (100);
CREATE TABLE orders_high PARTITION OF orders FOR VALUES FROM (100) TO (MAXVALUE);
CREATE INDEX orders_by_customer ON orders (customer);
CREATE TABLE items (id serial PRIMARY KEY, at timestamptz DEFAULT now(), mood mood, note text, doc bytea);
CREATE INDEX items_lower ON items (lower(note)) WHERE mood = 'cross';
CREATE UNIQUE INDEX by_note_and_id ON items (note, id);
CREATE STATISTICS items_stat ON id, note FROM items;
ALTER TABLE items CLUSTER ON items_pkey;
COMMENT ON TABLE items IS 'it''s "items"; public.items';
COMMENT ON INDEX items_lower IS 'partial';
COMMENT ON CONSTRAINT items_pkey ON items IS 'the key';
COMMENT ON COLUMN items.note IS 'a note';
CREATE TRIGGER note_items AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION note();
CREATE RULE keep AS ON DELETE TO items WHERE old.id < 0 DO ALSO (DELETE FROM changes; SELECT 1;);
CREATE POLICY mine ON items USING (id > 0);
GRANT SELECT (id), UPDATE ON items TO PUBLIC;
CREATE TABLE sales.items (id int PRIMARY KEY);
CREATE SCHEMA "dot.ted";
CREATE TABLE "dot.ted"."t.x" (id int PRIMARY KEY);
INSERT INTO "dot.ted"."t.x" VALUES (1), (2);
CREATE TRIGGER note_dotted AFTER INSERT ON "dot.ted"."t.x" FOR EACH ROW EXECUTE FUNCTION note();
CREATE VIEW seen AS SELECT * FROM customers;
INSERT INTO customers (name) SELECT 'c' || n FROM generate_series(1, 50) n;
INSERT INTO orders SELECT n, 1 + n % 50, n FROM generate_series(1, 300) n;
INSERT INTO "Odd ""Näme; .x" (c, "a b") VALUES (1, 'x'), (2, E'a\nb\\.'), (3, E'\\.'), (4, NULL);
INSERT INTO items (at, mood, note, doc) SELECT timestamptz '2026-01-01' + n * interval '1 min',
    (ARRAY['happy', 'cross'])[1 + n % 2]::mood, E'\\.\t' || n || chr(10) || 'COPY public.items (id) FROM stdin;',
    decode(repeat(md5(n::text), 60), 'hex') FROM generate_series(1, 900) n;
DELETE FROM changes;
INSERT INTO sales.items VALUES (1);
"""
_MYSQL = r"""
CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL UNIQUE);
CREATE TABLE `Odd ``Näme; .x` (id INT PRIMARY KEY, c INT, `a b` TEXT, KEY (c), FOREIGN KEY (c) REFERENCES customers (id));
CREATE TABLE changes (what TEXT);
CREATE TABLE orders (id INT PRIMARY KEY, customer INT, cents INT, KEY by_customer (customer),
    CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id), CONSTRAINT not_less CHECK (cents >= 0));
CREATE TABLE items (id INT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6), note VARCHAR(200), doc LONGBLOB, parent INT,
    KEY by_note (note), UNIQUE KEY both_of (note, id), FULLTEXT KEY words (note), KEY (parent),
    CONSTRAINT to_self FOREIGN KEY (parent) REFERENCES items (id)) COMMENT='it''s "items"; `items`';
CREATE TABLE wide (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3;
CREATE TRIGGER note_items AFTER INSERT ON items FOR EACH ROW INSERT INTO changes VALUES ('a;');
CREATE VIEW seen AS SELECT * FROM customers;
INSERT INTO customers (name) VALUES ('a'), ('b'), ('c');
INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20);
INSERT INTO `Odd ``Näme; .x` VALUES (1, 1, 'x'), (2, 2, 'INSERT INTO `items` VALUES\n(1);'), (3, NULL, NULL);
INSERT INTO wide VALUES (1), (2), (3), (4);
INSERT INTO items (at, note, doc) SELECT '2026-01-01 00:00:00', CONCAT('n', a.n * 100 + b.n), UNHEX(REPEAT(SHA2(a.n + b.n, 256), 30))
    FROM (SELECT ROW_NUMBER() OVER () n FROM information_schema.COLUMNS LIMIT 9) a,
         (SELECT ROW_NUMBER() OVER () n FROM information_schema.COLUMNS LIMIT 100) b;
UPDATE items SET parent = 1;
DELETE FROM changes;
"""
_ODD = {"postgresql": 'public.Odd "Näme; .x', "mysql": "Odd `Näme; .x"}


@dataclass
class Shop:
    """A server with a database that was backed up, and its state then as the server's own tool dumps it."""

    server: PrivateServer
    product: Product
    name: str
    file: Path

    @property
    def is_postgresql(self) -> bool:
        return self.server.kind == "postgresql"

    @property
    def latest(self) -> tuple[str, ...]:
        return "--instance", "one", "--database", self.name, "--latest"

    def table(self, name: str) -> str:
        """A table as files call it."""
        return f"public.{name}" if self.is_postgresql else name

    def restore(self, *options: str) -> Ran:
        return self.product.ctl("restore", *self.latest, "--output", "json", *options)

    def restored(self, *options: str) -> dict[str, Any]:
        """Restore, which must succeed; what the step says."""
        done = self.restore(*options)
        assert done.code == 0, done.err + done.out
        return dict(done.json["restored"][0])

    def refused(self, *options: str) -> tuple[int, str, str]:
        """Restore, which must fail: exit code, error code, message with hint."""
        done = self.restore(*options)
        said = done.json
        error = said["steps"][0]["error"] if said.get("steps") else said["error"]
        return done.code, error["code"], f"{error['message']} {error['hint']}"

    def sql(self, statement: str, database: str | None = None) -> list[Any]:
        return self.server.sql(statement, database or self.name)

    def dump(self, database: str | None = None) -> str:
        """What the server's own tool says, but for the transactions that the server has seen."""
        return re.sub(r"SET @@GLOBAL\.GTID_PURGED=[^;]*;", "", own_dump(self.server, database or self.name).decode())

    @property
    def manifest(self) -> Manifest:
        return decode_manifest(self.file.with_name(self.file.name + ".metadata.json").read_bytes())

    def extent(self, table: str, section: Section = Section.DATA) -> Extent:
        return next(each for each in self.manifest.extents if each.section is section and each.name == table)


@pytest.fixture(scope="module", params=["postgresql-15", "postgresql-18", "mariadb", "mysql"])
def made(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    server, root = server_pool.get(request.param), tmp_path_factory.mktemp("partial")
    name = f"shop_{uuid.uuid4().hex[:8]}"
    server.create_database(name)
    server.sql(_POSTGRESQL if server.kind == "postgresql" else _MYSQL, name)
    with Product(root, [instance(server, "one", database=[f"{name}*"])], servers=[server]) as product:
        product.ok("backup", "--database", name)
        (file,) = product.files()
        yield Shop(server, product, name, file)
    server.drop_database(name)


@pytest.fixture
def shop(made: Shop) -> Iterator[Shop]:
    """The same, with nothing in the database changed when the test ends."""
    before = made.dump()
    yield made
    assert made.dump() == before, "the test changed the database"


@pytest.fixture
def copy(made: Shop) -> Iterator[str]:
    """The name of a database that goes after the test."""
    name = f"{made.name}_copy"
    yield name
    made.server.drop_database(name)


ONE_OF_EACH = pytest.mark.parametrize("made", ["postgresql-15", "mariadb"], indirect=True)
"""For what does not depend on the server: one that takes definitions back, and one that does not."""


def _part(dump: str, table: str, elsewhere: str = "$^") -> set[str]:
    """The lines of a dump that speak of a table, but for those of other things that speak of it."""
    return {line for line in dump.splitlines() if table in line and not re.search(elsewhere, line)}


def _load(server: PrivateServer, script: Path, database: str) -> None:
    """Run a script with the server's own client, which stops at the first error."""
    if server.kind != "postgresql":
        client(server, script.read_bytes(), database)
    else:
        server.sql(script.read_text(), database)


def test_tables_into_a_database_that_is_made_for_them(shop: Shop, copy: str) -> None:
    names = ",".join([shop.table("customers"), shop.table("orders")])
    if shop.is_postgresql:
        said = shop.restored("--table", names, "--target-database", copy)
        assert len(said["tables"]) == 4
    else:
        said = shop.restored("--table", names, "--target-database", copy)
    assert said["read_bytes"] < said["file_bytes"]
    original, restored = shop.dump(), shop.dump(copy)
    for table in ("customers", "orders"):
        assert shop.sql(f"SELECT * FROM {table} ORDER BY id", copy) == shop.sql(f"SELECT * FROM {table} ORDER BY id")
    wanted = [line for line in original.splitlines() if re.search(r"customers|orders", line)]
    wanted = [
        line
        for line in wanted
        if not re.search(r"Odd|seen|changes|'public\.customers'|customers\.\w+,?$|VIEW|FROM ", line)
    ]
    assert sorted(set(wanted) - set(restored.splitlines())) == []


def test_a_table_comes_with_everything_of_its_own(shop: Shop, copy: str) -> None:
    shop.server.create_database(copy)
    shop.sql("CREATE TABLE stays (a int)", copy)
    if shop.is_postgresql:
        shop.sql("CREATE TYPE mood AS ENUM ('happy', 'cross'); CREATE TABLE changes (what text);"
                 "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
                 "$$ BEGIN INSERT INTO public.changes VALUES (TG_OP || ';'); RETURN NEW; END $$", copy)  # fmt: skip
    else:
        shop.sql("CREATE TABLE changes (what TEXT)", copy)
    shop.restored("--table", shop.table("items"), "--target-database", copy)
    original, restored = shop.dump(), shop.dump(copy)
    assert _part(restored, "items") == _part(original, "items", r"sales|Odd|\(2,2,")
    assert shop.sql("SELECT count(*) FROM changes", copy) == [("0",)]
    assert shop.sql("SELECT count(*) FROM stays", copy) == [("0",)]
    digest = "SELECT id, at, note, length(doc) FROM items ORDER BY id"
    assert shop.sql(digest, copy) == shop.sql(digest)
    if shop.is_postgresql:
        assert shop.sql("SELECT nextval('items_id_seq')", copy) == [("901",)]


def test_another_name_beside_the_original(made: Shop) -> None:
    before = made.dump()
    said = made.restored("--table", made.table("items"), "--target-table", "items_old")
    try:
        digest = "SELECT id, at, note, length(doc) FROM {} ORDER BY id"
        assert made.sql(digest.format("items_old")) == made.sql(digest.format("items"))
        after = made.dump()
        assert set(before.splitlines()) <= set(after.splitlines())
        if made.is_postgresql:
            found = {name for (name,) in made.sql("SELECT indexname FROM pg_indexes WHERE tablename = 'items_old'")}
            assert found == {"items_old_pkey", "items_old_lower", "by_note_and_id_2"}
            assert made.sql("SELECT pg_get_serial_sequence('items_old', 'id')") == [("public.items_old_id_seq",)]
            assert made.sql("SELECT nextval('items_old_id_seq')") == [("901",)]
            assert made.sql("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^_vya'") == [("0",)]
        else:
            assert any("trigger" in note for note in said["notes"])
            shown = made.sql("SHOW CREATE TABLE items_old")[0][1]
            assert "REFERENCES `items_old` (`id`)" in shown
            assert "KEY `both_of` (`note`,`id`)" in shown
    finally:
        made.sql("DROP TABLE items_old")
    assert made.dump() == before


def test_a_partitioned_table_under_another_name(made: Shop) -> None:
    if not made.is_postgresql:
        pytest.skip("partitions are tables of their own on PostgreSQL alone")
    before = made.dump()
    made.restored("--table", "orders", "--target-table", "sales.orders_old")
    try:
        parts = made.sql("SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhparent"
                         " WHERE relname = 'orders_old' ORDER BY 1")  # fmt: skip
        assert parts == [("sales.orders_old_high",), ("sales.orders_old_low",)]
        assert made.sql("SELECT * FROM sales.orders_old ORDER BY 1") == made.sql("SELECT * FROM orders ORDER BY 1")
    finally:
        made.sql("DROP TABLE sales.orders_old")
    assert made.dump() == before


def test_overwriting_brings_the_table_back(shop: Shop) -> None:
    shop.sql("DELETE FROM items WHERE id > 100" if shop.is_postgresql else "UPDATE items SET parent = NULL")
    shop.sql("ALTER TABLE items ADD extra int")
    refused = shop.refused("--table", shop.table("items"))
    assert refused[:2] == (6, "target_not_empty")
    said = shop.restored("--table", shop.table("items"), "--overwrite", "--yes")
    assert said["tables"] == [shop.table("items")]
    if shop.is_postgresql:
        assert shop.sql("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^_vya'") == [("0",)]
    else:
        left = shop.sql("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '%vya%'")
        assert left == []


def test_what_others_need_is_not_replaced(shop: Shop) -> None:
    code, slug, text = shop.refused("--table", shop.table("customers"), "--overwrite", "--yes")
    assert (code, slug) == (6, "target_not_empty")
    assert "foreign key" in text
    if shop.is_postgresql:
        assert "view seen" in text


def test_odd_names(shop: Shop, copy: str) -> None:
    odd = _ODD["postgresql" if shop.is_postgresql else "mysql"]
    said = shop.restored("--table", odd, "--target-database", copy)
    assert any("foreign key" in note for note in said["notes"])
    quoted = '"Odd ""Näme; .x"' if shop.is_postgresql else "`Odd ``Näme; .x`"
    assert shop.sql(f"SELECT * FROM {quoted} ORDER BY id", copy) == shop.sql(f"SELECT * FROM {quoted} ORDER BY id")
    if shop.is_postgresql:
        again = shop.refused("--table", odd, "--target-database", copy, "--target-table", odd)
        assert again[1] == "target_not_empty"


def test_a_partition_and_a_dotted_schema_alone(shop: Shop, copy: str) -> None:
    """What both refer to, a parent's key and a trigger's function, is not there: said, and no reason to fail."""
    if not shop.is_postgresql:
        pytest.skip("partitions and schemas are PostgreSQL's")
    said = shop.restored("--table", "public.orders_low,dot.ted.t.x", "--target-database", copy)
    assert "trigger note_dotted of dot.ted.t.x is left out: there is no function public.note" in said["notes"]
    assert "there is no schema dot.ted: it is created" in said["notes"]
    for table in ("orders_low", '"dot.ted"."t.x"'):
        assert shop.sql(f"SELECT * FROM {table} ORDER BY id", copy) == shop.sql(f"SELECT * FROM {table} ORDER BY id")
    told = shop.product.ctl("restore", *shop.latest, "--table", "t.x", "--target-table", "t", "--target-database", copy)
    assert "restore dot.ted.t.x as dot.ted.t" in told.err + told.out
    assert f"note: one/{copy}: trigger note_dotted" in told.err
    assert shop.sql('SELECT count(*) FROM "dot.ted".t', copy) == [("2",)]


def test_rows_alone(shop: Shop, copy: str) -> None:
    table = "customers" if shop.is_postgresql else "items"
    if not shop.is_postgresql:
        shop.server.create_database(copy)
        shop.sql("CREATE TABLE changes (what TEXT)", copy)
    shop.restored("--table", shop.table(table), "--target-database", copy, "--schema-only")
    options = ("--table", shop.table(table), "--target-database", copy, "--data-only")
    assert shop.sql(f"SELECT count(*) FROM {table}", copy) == [("0",)]
    if not shop.is_postgresql:
        assert shop.refused(*options)[2].startswith("trigger note_items would fire")
        shop.sql("DROP TRIGGER note_items", copy)
    shop.restored(*options)
    assert shop.sql(f"SELECT count(*) FROM {table}", copy) == shop.sql(f"SELECT count(*) FROM {table}")
    assert shop.refused(*options)[1] == "target_not_empty"
    assert shop.refused(*options, "--append")[1] == "restore_failed"  # the keys are taken
    assert shop.sql(f"SELECT count(*) FROM {table}", copy) == shop.sql(f"SELECT count(*) FROM {table}")


def _definitions(dump: str) -> str:
    """A dump without rows, and without where sequences stand."""
    dump = re.sub(r"(?ms)^(COPY [^\n]* FROM stdin;\n).*?^\\\.\n", r"\1", dump)
    dump = re.sub(r"(?ms)^INSERT INTO .*?\);\n", "", dump)
    return re.sub(r" AUTO_INCREMENT=\d+|(?m:^SELECT pg_catalog\.setval\(.*\n)", "", dump)


def test_a_whole_database_without_its_rows(shop: Shop, copy: str, tmp_path: Path) -> None:
    said = shop.restored("--schema-only", "--target-database", copy)
    assert said["rows_checked"] == 0
    assert _definitions(shop.dump(copy)) == _definitions(shop.dump()).replace(shop.name, copy)
    for table in ("customers", "orders", "items"):
        assert shop.sql(f"SELECT count(*) FROM {table}", copy) == [("0",)]
    code, slug, text = shop.refused("--schema-only", "--overwrite", "--yes")
    assert (code, slug) == (2, "usage"), text
    # What is not read does no harm, and nothing else is believed.
    shop.server.drop_database(copy)
    broken = _damaged(shop, tmp_path, shop.extent(shop.table("items")))
    where = ("--target-instance", "one", "--target-database", copy, "--schema-only")
    assert shop.product.ctl("restore", "--file", str(broken), *where).code == 0
    shop.server.drop_database(copy)
    schema = next(each for each in shop.manifest.extents if each.section is Section.SCHEMA)
    assert shop.product.ctl("restore", "--file", str(_damaged(shop, tmp_path, schema)), *where).code == 5
    foreign = tmp_path / "foreign.sql"
    foreign.write_text(shop.dump())
    refused = shop.product.ctl("restore", "--file", str(foreign), *where)
    assert refused.code == 2
    assert "which of its lines are rows" in refused.err


def test_the_rows_of_all_tables(shop: Shop, copy: str) -> None:
    options = ("--target-database", copy, "--data-only")
    code, slug, text = shop.refused(*options)
    assert (code, slug, "--schema-only" in text) == (4, "unknown_database", True)
    shop.restored("--schema-only", "--target-database", copy)
    if not shop.is_postgresql:
        assert shop.refused(*options)[2].startswith("trigger note_items would fire")
        shop.sql("DROP TRIGGER note_items", copy)
    said = shop.restored(*options)
    assert any("not checked" in note for note in said["notes"]) != shop.is_postgresql
    if not shop.is_postgresql:
        shop.sql("CREATE TRIGGER note_items AFTER INSERT ON items FOR EACH ROW INSERT INTO changes VALUES ('a;')", copy)
    assert _settled(shop.dump(copy)) == _settled(shop.dump()).replace(shop.name, copy)
    if not shop.is_postgresql:
        shop.sql("DROP TRIGGER note_items", copy)
    assert shop.refused(*options)[1] == "target_not_empty"
    assert shop.refused(*options, "--append")[1] == "restore_failed"  # the keys are taken
    assert shop.refused(*options, "--overwrite", "--yes")[:2] == (2, "usage")
    shop.sql(f"DROP TABLE {'sales.items' if shop.is_postgresql else 'wide'}", copy)
    assert "put rows into" in shop.refused(*options)[2]


def _settled(dump: str) -> str:
    """A dump without where its tables count on, and without what the session was that made a trigger."""
    return re.sub(r" AUTO_INCREMENT=\d+|(?m:^/\*!50003 SET .*\n)", "", dump)


def test_keys_among_tables_wait_for_all_rows(made: Shop, copy: str) -> None:
    """Tables that refer to each other, to themselves and from partitions; and what a key could do stays as it was."""
    if not made.is_postgresql:
        pytest.skip("keys are not checked there, which is said")
    source = f"{made.name}_keys"
    made.server.create_database(source)
    made.sql(
        """CREATE TABLE a (id int PRIMARY KEY, b int, up int);
        CREATE TABLE b (id int PRIMARY KEY, a int) PARTITION BY RANGE (id);
        CREATE TABLE b1 PARTITION OF b FOR VALUES FROM (0) TO (50);
        CREATE TABLE b2 PARTITION OF b FOR VALUES FROM (50) TO (MAXVALUE);
        INSERT INTO a SELECT n, 100 - n, 100 - n FROM generate_series(1, 99) n;
        INSERT INTO b SELECT n, 100 - n FROM generate_series(1, 99) n;
        ALTER TABLE a ADD CONSTRAINT "to b" FOREIGN KEY (b) REFERENCES b;
        ALTER TABLE a ADD CONSTRAINT up FOREIGN KEY (up) REFERENCES a DEFERRABLE;
        ALTER TABLE b ADD CONSTRAINT to_a FOREIGN KEY (a) REFERENCES a DEFERRABLE INITIALLY DEFERRED;""",
        source,
    )
    try:
        backup = made.product.ok("backup", "--database", source)["backups"][0]["id"]
        latest = ("restore", "--instance", "one", "--database", source, "--latest", "--target-database", copy)
        made.product.ok(*latest, "--schema-only")
        before = made.dump(copy)
        made.product.ok(*latest, "--data-only")
        assert made.dump(copy) == made.dump(source).replace(source, copy)
        made.sql("TRUNCATE a, b", copy)
        assert made.dump(copy) == before
        # A row that refers to nothing is still found.
        made.sql(
            "ALTER TABLE a DROP CONSTRAINT up; ALTER TABLE a ADD CONSTRAINT up FOREIGN KEY (up) REFERENCES b1", copy
        )
        assert made.product.ctl(*latest, "--data-only").code == 1
        assert made.sql("SELECT count(*) FROM a", copy) == [("0",)]
        made.product.ok("backups", "delete", backup, "--yes")
    finally:
        made.server.drop_database(source)


@ONE_OF_EACH
def test_rows_alone_must_not_refer_to_nothing(shop: Shop, copy: str) -> None:
    both = ",".join((shop.table("customers"), shop.table("orders")))
    shop.restored("--table", both, "--target-database", copy, "--schema-only")
    options = ("--target-database", copy, "--data-only")
    assert shop.refused("--table", shop.table("orders"), *options)[1] == "restore_failed"
    assert shop.sql("SELECT count(*) FROM orders", copy) == [("0",)]
    said = shop.restored("--table", both, *options)
    assert shop.sql("SELECT count(*) FROM orders", copy) == shop.sql("SELECT count(*) FROM orders")
    assert any("not checked" in note for note in said["notes"]) != shop.is_postgresql


def test_rows_alone_fire_no_triggers(shop: Shop, copy: str) -> None:
    if not shop.is_postgresql:
        pytest.skip("MySQL cannot switch triggers off: such a table is refused")
    shop.server.create_database(copy)
    definitions, _, _ = _POSTGRESQL.partition("INSERT INTO customers")
    shop.sql(definitions, copy)
    shop.sql("ALTER TABLE items ENABLE ALWAYS TRIGGER note_items", copy)
    shop.restored("--table", "public.items", "--target-database", copy, "--data-only")
    assert shop.sql("SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM changes)", copy) == [("900", "0")]
    assert shop.sql("SELECT tgenabled FROM pg_trigger WHERE tgname = 'note_items'", copy) == [("A",)]


@pytest.mark.parametrize("parts", [(), ("--data-only",)])
def test_extract_is_a_dump_of_its_own(shop: Shop, copy: str, tmp_path: Path, parts: tuple[str, ...]) -> None:
    script = tmp_path / "table.sql"
    done = shop.product.ctl("extract", *shop.latest, "--table", shop.table("customers"), *parts)
    assert done.code == 0, done.err
    script.write_text(done.out)
    told = shop.product.events("backup.extracted")[-1]
    assert (told["database"], told["tables"]) == (shop.name, [shop.table("customers")])
    shop.server.create_database(copy)
    if "--data-only" in parts:
        shop.sql("CREATE TABLE customers (id int, name text); CREATE TABLE orders (id int)", copy)
        if shop.is_postgresql:
            shop.sql("CREATE SEQUENCE customers_id_seq", copy)
    _load(shop.server, script, copy)
    assert shop.sql("SELECT * FROM customers ORDER BY id", copy) == shop.sql("SELECT * FROM customers ORDER BY id")


@ONE_OF_EACH
def test_names_that_are_none(shop: Shop) -> None:
    code, slug, text = shop.refused("--table", "itmes")
    assert (code, slug) == (4, "unknown_table")
    assert "items" in text
    code, slug, text = shop.refused("--table", "seen")
    assert (code, slug) == (2, "usage")
    assert "is a view" in text
    if shop.is_postgresql:
        code, slug, text = shop.refused("--table", "items")
        assert (code, slug) == (2, "usage")
        assert "public.items, sales.items" in text


def _damaged(shop: Shop, root: Path, extent: Extent) -> Path:
    """A copy of the file with a bit of this extent flipped, and its manifest beside it."""
    copied = root / shop.file.name
    for suffix in ("", ".metadata.json"):
        shutil.copy(shop.file.with_name(shop.file.name + suffix), root / (shop.file.name + suffix))
    data = bytearray(copied.read_bytes())
    data[extent.offset + extent.size // 2] ^= 1
    copied.write_bytes(data)
    return copied


@ONE_OF_EACH
def test_damage_counts_where_it_matters(shop: Shop, copy: str, tmp_path: Path) -> None:
    broken = _damaged(shop, tmp_path, shop.extent(shop.table("items")))
    where = ("--file", str(broken), "--target-instance", "one", "--target-database")
    product = shop.product
    refused = product.ctl("restore", *where, shop.name, "--table", shop.table("items"), "--overwrite", "--yes")
    assert refused.code == 5, refused.err
    assert "damaged" in refused.err
    assert product.ctl("extract", "--file", str(broken), "--table", shop.table("items")).code == 5
    fine = product.ctl("restore", *where, copy, "--table", shop.table("customers"))
    assert fine.code == 0, fine.err
    assert shop.sql("SELECT * FROM customers ORDER BY id", copy) == shop.sql("SELECT * FROM customers ORDER BY id")


@ONE_OF_EACH
def test_a_file_without_a_manifest(shop: Shop, copy: str, tmp_path: Path) -> None:
    alone = tmp_path / "alone.sql.gz"
    shutil.copy(shop.file, alone)
    done = shop.product.ctl(
        *("restore", "--file", str(alone), "--target-instance", "one", "--target-database", copy),
        *("--table", shop.table("customers")),
    )
    assert done.code == 0, done.err
    assert shop.sql("SELECT count(*) FROM customers", copy) == shop.sql("SELECT count(*) FROM customers")


@ONE_OF_EACH
def test_a_dry_run_tells_and_touches_nothing(shop: Shop) -> None:
    done = shop.product.ctl(
        "restore", *shop.latest, "--table", shop.table("customers"), "--target-table", "c2", "--dry-run"
    )
    assert done.code == 0, done.err
    assert re.search(r"read \d+ of the \d+ bytes", done.err)


@ONE_OF_EACH
def test_objects_are_listed_by_size(shop: Shop) -> None:
    (backup,) = shop.product.ok("backups", "list")["backups"]
    objects = shop.product.ok("backups", "show", backup["id"])["backup"]["objects"]
    assert objects[0]["name"] == shop.table("items")
    assert sum(each["size_bytes"] for each in objects) < backup["size_bytes"]
    assert sum(each["raw_size_bytes"] for each in objects) == backup["raw_size_bytes"]
    assert "public.items" in shop.product.ctl("backups", "show", backup["id"]).out or not shop.is_postgresql


@ONE_OF_EACH
def test_leaving_extract_early_is_no_failure_of_the_daemon(shop: Shop) -> None:
    with shop.product.begin("extract", *shop.latest, "--table", shop.table("items")) as reader:
        assert reader.stdout is not None
        assert reader.stdout.read(100)
        reader.stdout.close()
        assert reader.wait(PATIENCE) == 0
    assert shop.product.ctl("health").code == 0
