"""Real dumps of hostile databases, cut as finely as can be, restored out of order, and compared with the originals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.scan_databases import comparable, dump, dump_globals, feed, fill
from tests.engines.scan_samples import Cut, check_bounds, names, out_of_order, rows_of, scan
from vya_backupd.engines.scan_mysql import MysqlScanner
from vya_backupd.engines.scan_postgresql import PostgresqlGlobalsScanner, PostgresqlScanner
from vya_backupd.engines.scanner import Scanner
from vya_backupd.model.backup import Section
from vya_backupd.testing.servers import PrivateServer

TINY = 200


def scanner_for(server: PrivateServer, segment_size: int = TINY) -> Scanner:
    return PostgresqlScanner(segment_size) if server.kind == "postgresql" else MysqlScanner(segment_size)


@pytest.fixture
def database(server: PrivateServer, fresh_name: str) -> Iterator[str]:
    fill(server, fresh_name)
    yield fresh_name
    server.drop_database(fresh_name)


@pytest.fixture
def hostile(mysql_family: PrivateServer, fresh_name: str) -> Iterator[tuple[str, str]]:
    """A filled database of MySQL or MariaDB, and an empty one."""
    fill(mysql_family, fresh_name)
    mysql_family.create_database(f"{fresh_name}_2")
    yield fresh_name, f"{fresh_name}_2"
    mysql_family.drop_database(fresh_name)
    mysql_family.drop_database(f"{fresh_name}_2")


@pytest.fixture
def second(server: PrivateServer, fresh_name: str) -> Iterator[str]:
    name = f"{fresh_name}_2"
    server.create_database(name)
    yield name
    server.drop_database(name)


def _user_tables(server: PrivateServer, database: str) -> set[str]:
    if server.kind == "postgresql":
        found = server.sql(
            "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where c.relkind in ('r', 'p', 'f') and n.nspname not in ('pg_catalog', 'information_schema')",
            database,
        )
    else:
        found = server.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type <> 'VIEW'",
            database,
        )
    return {row[0] for row in found}


def test_what_is_cut_finely_restores_in_any_order_of_data(server: PrivateServer, database: str, second: str) -> None:
    text = dump(server, database)
    scanner = scanner_for(server)
    cuts = scan(scanner, text)
    for sizes in ([1], [7, 64], [1000]):
        assert scan(scanner_for(server), text, sizes) == cuts
    check_bounds(cuts, TINY, slack=TINY)
    assert len(cuts) > 100
    feed(server, second, out_of_order(cuts))
    # Rows come back in the order in which they were loaded.
    restored, expected = comparable(server, second), comparable(server, database)
    assert sorted(restored.splitlines()) == sorted(expected.splitlines())
    assert scanner.tables == _user_tables(server, database)


def test_the_segments_in_order_are_a_script(server: PrivateServer, database: str, second: str) -> None:
    cuts = scan(scanner_for(server), dump(server, database), [4096])
    feed(server, second, b"".join(cut.text for cut in cuts))
    assert comparable(server, second) == comparable(server, database)


def test_uncut_segments_are_the_dump_itself(server: PrivateServer, database: str) -> None:
    text = dump(server, database)
    cuts = scan(scanner_for(server, 1 << 21), text, [65536])
    assert b"".join(cut.text for cut in cuts) == text
    assert {Section.SCHEMA, Section.DATA, Section.POST} < {cut.section for cut in cuts}


def test_rows_are_counted(server: PrivateServer, database: str) -> None:
    cuts = scan(scanner_for(server), dump(server, database))
    for name in names(cuts, Section.DATA):
        if _counted(cuts, name):
            [(rows,)] = server.sql(f"select count(*) from {_quoted(server, name)}", database)
            assert rows_of(cuts, name) == int(rows)


def _counted(cuts: list[Cut], name: str) -> bool:
    return all(cut.rows is not None for cut in cuts if cut.name == name and cut.section is Section.DATA)


def _quoted(server: PrivateServer, name: str) -> str:
    if server.kind != "postgresql":
        return server.quote_name(name)
    schema, _, table = name.partition(".")
    return f"only {server.quote_name(schema)}.{server.quote_name(table)}"


def test_an_empty_database(server: PrivateServer, second: str) -> None:
    scanner = scanner_for(server)
    scan(scanner, dump(server, second), [100])
    assert scanner.header_done
    assert scanner.tables == set()


def _digest(server: PrivateServer, database: str) -> str | None:
    scanner = scanner_for(server)
    scan(scanner, dump(server, database))
    return scanner.summary.schema_hash


NO_DDL = {
    "postgresql": (
        "insert into hostile values ('new')",
        "update gen set j = '{}'",
        "delete from fk",
        "analyze",
        """select nextval('"seq''q"')""",
        "select lo_create(5555)",
        "select lo_unlink(4242)",
        "select setval('gen_i_seq', 1000)",
    ),
    "mysql": (
        "INSERT INTO plain (s) VALUES ('new')",
        "UPDATE gen SET a = 5",
        "DELETE FROM ptd",
        "ANALYZE TABLE plain",
        "ALTER TABLE plain AUTO_INCREMENT = 1000",
    ),
}
DDL = {
    "postgresql": (
        "alter table hostile add column c int",
        "alter table hostile alter column c set default 5",
        "comment on column hostile.c is 'c'",
        "create index on hostile (c)",
        "grant insert on hostile to public",
        "create or replace view v1 as select 2 as a",
        "create or replace procedure p1() language sql as 'select 2'",
        "alter type mood add value 'glad'",
        "alter table part detach partition part1",
        'drop trigger "t--rig" on hostile',
        "alter policy pol on gen using (i > 1)",
        'alter sequence "seq\'q" increment 2',
        "alter default privileges grant insert on tables to public",
        "drop materialized view mv",
        "drop event trigger et",
        "drop publication pub",
        "alter domain posint drop constraint posint_check",
        "drop table floats",
        "create table empty_new ()",
    ),
    "mysql": (
        "ALTER TABLE plain ADD COLUMN c int",
        "ALTER TABLE plain COMMENT = 'AUTO_INCREMENT=6 it''s -- x'",
        "CREATE INDEX i ON plain (c)",
        "CREATE OR REPLACE VIEW vw AS SELECT id, 'x' AS `x;'\"` FROM plain",
        "DROP TRIGGER trg2",
        "CREATE TRIGGER trg2 AFTER DELETE ON gen FOR EACH ROW SET @x = 'a;c'",
        "DROP PROCEDURE nbe",
        "ALTER EVENT ev ON SCHEDULE EVERY 2 DAY",
        "ALTER TABLE ptd DROP PARTITION p0",
        "ALTER TABLE nums MODIFY e enum('a', 'b''c', 'd')",
        "DROP TABLE empty_t",
    ),
}


def test_the_digest_is_changed_by_ddl_alone(server: PrivateServer, database: str) -> None:
    family = "postgresql" if server.kind == "postgresql" else "mysql"
    known = _digest(server, database)
    for statement in NO_DDL[family]:
        server.sql(statement, database)
        assert _digest(server, database) == known, statement
    seen = {known}
    for statement in DDL[family]:
        server.sql(statement, database)
        digest = _digest(server, database)
        assert digest not in seen, statement
        seen.add(digest)


def test_structure_and_rows_of_two_runs_are_one_dump(mysql_family: PrivateServer, hostile: tuple[str, str]) -> None:
    server, whole, (database, second) = mysql_family, MysqlScanner(TINY), hostile
    everything = scan(whole, dump(server, database))
    without_rows, rows_alone = MysqlScanner(TINY), MysqlScanner(TINY, rows_only=True)
    structure = scan(without_rows, dump(server, database, "--no-data"))
    only = ("--no-create-info", "--skip-triggers", "--skip-routines", "--skip-events")
    rows = [cut for cut in scan(rows_alone, dump(server, database, *only)) if cut.section is Section.DATA]
    assert without_rows.summary == whole.summary
    assert without_rows.tables == whole.tables
    assert {cut.name for cut in everything if cut.section is Section.DATA} <= rows_alone.tables | {
        cut.name for cut in structure if cut.section is Section.DATA
    }
    feed(server, second, out_of_order(structure + rows))
    restored, expected = comparable(server, second), comparable(server, database)
    assert sorted(restored.splitlines()) == sorted(expected.splitlines())


def test_a_sequence_that_moves_is_no_ddl(mariadb: PrivateServer, fresh_name: str) -> None:
    mariadb.create_database(fresh_name)
    mariadb.sql("CREATE SEQUENCE sq START WITH 5", fresh_name)
    before = _digest(mariadb, fresh_name)
    mariadb.sql("SELECT NEXTVAL(sq)", fresh_name)
    assert _digest(mariadb, fresh_name) == before
    mariadb.sql("ALTER SEQUENCE sq INCREMENT BY 3", fresh_name)
    assert _digest(mariadb, fresh_name) != before
    mariadb.drop_database(fresh_name)


def test_globals_of_a_server(postgresql: PrivateServer, fresh_name: str) -> None:
    role = postgresql.quote_name(f'{fresh_name} "\n--\n-- PostgreSQL database cluster dump complete\n--\n')
    postgresql.sql(
        f"create role {role}; comment on role {role} is '\n--\n-- Roles\n--\n'; alter role {role} set x.y = '\\'"
    )
    text = dump_globals(postgresql)
    postgresql.sql(f"drop role {role}")
    cuts = scan(PostgresqlGlobalsScanner(TINY), text)
    assert scan(PostgresqlGlobalsScanner(TINY), text, [1]) == cuts
    assert b"".join(cut.text for cut in cuts) == text
    assert [names(cuts, section) for section in (Section.SCHEMA, Section.FOOTER)] == [["globals"], ["footer"]]
    assert not names(cuts, Section.DATA)
