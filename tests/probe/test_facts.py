"""What the probe learns from real servers: versions, tables, counts, warnings."""

from __future__ import annotations

from typing import cast

import pytest

from tests.engines.rig import Rig, instance_of
from vya_backupd.errors import NotFoundError, ServerError
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.secret import Secret
from vya_backupd.probe import mysql_family
from vya_backupd.probe.connect import Row, Session, session


async def test_vendor_version_and_rights(rig: Rig) -> None:
    facts = rig.facts
    assert facts.vendor is rig.instance.kind
    assert ".".join(map(str, facts.version)) == rig.server.spec.version
    assert facts.is_superuser


async def test_databases_are_listed_sorted_and_filtered(rig: Rig, fresh_name: str) -> None:
    await rig.create(fresh_name)
    await rig.create(fresh_name + "_x")
    covered = instance_of(rig.server, databases=(f"{fresh_name}*",), exclude=("*_x",))
    assert await rig.probe.databases(covered) == [fresh_name]
    everything = await rig.probe.all_databases(rig.instance)
    assert everything == sorted(everything)
    assert set(await rig.probe.sizes(rig.instance)) == set(everything)
    await rig.drop(fresh_name, fresh_name + "_x")


async def test_postgresql_s_tables_are_those_of_a_dump(postgresql_rig: Rig, fresh_name: str) -> None:
    rig = postgresql_rig
    await rig.create(
        fresh_name,
        'CREATE SCHEMA "my.schema"',
        'CREATE TABLE "my.schema"."A table" (a int)',
        "CREATE TABLE parts (a int) PARTITION BY RANGE (a)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9)",
        "CREATE UNLOGGED TABLE fast (a int)",
        "CREATE TABLE child () INHERITS (fast)",
        "CREATE TABLE pg_like (a int)",
        "CREATE VIEW v AS SELECT 1",
        "CREATE MATERIALIZED VIEW m AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
        "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER t BEFORE INSERT ON fast FOR EACH ROW EXECUTE FUNCTION tf()",
    )
    facts = await rig.probe.database(rig.instance, fresh_name)
    assert facts.tables == (
        "my.schema.A table", "public.child", "public.fast", "public.parts", "public.parts_1", "public.pg_like",
    )  # fmt: skip
    assert (facts.views_count, facts.procedures_count, facts.triggers_count) == (2, 3, 1)
    assert facts.size_bytes > 1_000_000
    assert facts.warnings == ()
    dump = await rig.dump(fresh_name)
    scanner = rig.engine.scanner(1 << 20)
    scanner.feed(dump.stdout)
    scanner.finish()
    assert set(facts.tables) <= scanner.tables
    await rig.drop(fresh_name)


async def test_mysql_s_tables_are_those_of_a_dump(mysql_rig: Rig, fresh_name: str) -> None:
    rig = mysql_rig
    sequence = ["CREATE SEQUENCE seq"] if rig.instance.kind is EngineKind.MARIADB else []
    versioned = ["CREATE TABLE ver (a int) WITH SYSTEM VERSIONING"] if sequence else []
    await rig.create(
        fresh_name,
        "CREATE TABLE `A ``table``` (a int)",
        "CREATE TABLE old (a int) ENGINE=MyISAM",
        *sequence,
        *versioned,
        "CREATE VIEW v AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN 1",
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE TRIGGER t BEFORE INSERT ON old FOR EACH ROW SET NEW.a = 1",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    )
    facts = await rig.probe.database(rig.instance, fresh_name)
    assert facts.tables == (("A `table`", "old", "seq", "ver") if sequence else ("A `table`", "old"))
    counts = (facts.views_count, facts.procedures_count, facts.triggers_count, facts.events_count)
    assert counts == (1, 2, 1, 1)
    assert [warning for warning in facts.warnings if "not transactional" in warning and "old" in warning]
    dump = await rig.dump(fresh_name)
    assert dump.exit.ok, dump.exit.stderr
    scanner = rig.engine.scanner(1 << 20)
    scanner.feed(dump.stdout)
    scanner.finish()
    assert set(facts.tables) <= scanner.tables
    await rig.drop(fresh_name)


async def test_what_a_weak_account_cannot_see_is_warned_of(rig: Rig, fresh_name: str) -> None:
    weak, password = f"w_{fresh_name[:12]}", Secret("weak")
    if rig.instance.kind is EngineKind.POSTGRESQL:
        await rig.create(
            fresh_name,
            "CREATE TABLE secured (a int)",
            "ALTER TABLE secured ENABLE ROW LEVEL SECURITY",
            "CREATE TABLE closed (a int)",
            f"CREATE ROLE {weak} LOGIN PASSWORD 'weak'",
            f"GRANT SELECT ON secured TO {weak}",
        )
        wanted = {f'ALTER ROLE "{weak}" BYPASSRLS;', f'GRANT pg_read_all_data TO "{weak}";'}
    else:
        await rig.create(
            fresh_name,
            "CREATE TABLE t (a int)",
            "CREATE PROCEDURE hidden() SELECT 1",
            f"CREATE USER {weak}@`%` IDENTIFIED BY 'weak'",
            f"GRANT SELECT, EXECUTE ON `{fresh_name}`.* TO {weak}@`%`",
        )
        mariadb, escaped = rig.instance.kind is EngineKind.MARIADB, fresh_name.replace("_", "\\_")
        wanted = {
            f"GRANT SHOW VIEW, TRIGGER, EVENT ON `{escaped}`.* TO `{weak}`@`%`;",
            f"GRANT {'SELECT ON `mysql`.`proc`' if mariadb else 'SHOW_ROUTINE ON *.*'} TO `{weak}`@`%`;",
        }
    instance = instance_of(rig.server, username=weak, password=password)
    lacks = (await rig.probe.database(instance, fresh_name)).lacks
    assert {statement for lack in lacks for statement in lack.sql} == wanted
    assert all(weak not in lack.told for lack in lacks), "warnings go to everybody"
    assert (await rig.probe.database(rig.instance, fresh_name)).lacks == ()
    assert not (await rig.probe.server(instance)).is_superuser
    if rig.instance.kind is not EngineKind.POSTGRESQL:
        with pytest.raises(ServerError) as raised:
            await rig.probe.globals_script(instance)
        assert raised.value.code == "insufficient_privilege"
    await rig.drop(fresh_name)
    await rig.probe.execute(rig.instance, [f"DROP {'ROLE' if rig.server.kind == 'postgresql' else 'USER'} {weak}"])


async def test_failures_have_codes_and_places(rig: Rig) -> None:
    for instance, code in (
        (instance_of(rig.server, password=Secret("wrong")), "login_refused"),
        (instance_of(rig.server, username="nobody ü"), "login_refused"),
        (instance_of(rig.server, port=1), "connection_refused"),
        (instance_of(rig.server, host=None, socket="/nonexistent"), "connection_refused"),
        (instance_of(rig.server, host="name.invalid"), "connection_refused"),
    ):
        with pytest.raises(ServerError) as raised:
            await rig.probe.server(instance)
        assert (raised.value.code, raised.value.instance) == (code, instance.id), raised.value.message
        assert raised.value.hint
        assert rig.server.admin_password not in str(raised.value)
    with pytest.raises(NotFoundError) as missing:
        await rig.probe.database(rig.instance, "no such database")
    assert (missing.value.code, missing.value.database) == ("unknown_database", "no such database")


async def test_a_wrong_statement_is_the_server_s_error(rig: Rig) -> None:
    with pytest.raises(ServerError) as raised:
        await rig.probe.execute(rig.instance, ["SELECT 1", "SELEKT 100%s :x"])
    assert raised.value.code == "server_error"
    assert await rig.probe.fetch(rig.instance, "SELECT '100% :x %s'") == [("100% :x %s",)]


async def test_a_server_that_dies_is_lost_and_worth_a_retry(rig: Rig) -> None:
    rig.server.kill()
    with pytest.raises(ServerError) as raised:
        await rig.probe.server(rig.instance)
    assert raised.value.retryable
    rig.server.start()


async def test_emptiness_counts_every_kind_of_object(rig: Rig, fresh_name: str) -> None:
    await rig.create(fresh_name)
    count = rig.engine.is_empty_sql(fresh_name)
    assert await rig.probe.number(rig.instance, count, fresh_name) == 0
    procedure = (
        "CREATE PROCEDURE p() LANGUAGE sql AS ''"
        if rig.server.kind == "postgresql"
        else "CREATE PROCEDURE p() SELECT 1"
    )
    await rig.probe.execute(rig.instance, [procedure], fresh_name)
    assert await rig.probe.number(rig.instance, count, fresh_name) > 0
    await rig.drop(fresh_name)
    assert await rig.probe.number(rig.instance, rig.engine.exists_sql(fresh_name)) == 0


async def test_a_database_that_is_dropped_while_it_is_looked_at_is_unknown(mysql_rig: Rig, fresh_name: str) -> None:
    await mysql_rig.create(fresh_name)
    async with session(mysql_rig.instance, fresh_name, "looking") as looking:
        await mysql_rig.drop(fresh_name)
        with pytest.raises(NotFoundError) as caught:
            await mysql_family.facts(looking, fresh_name)
    assert caught.value.code == "unknown_database"


class _Explaining:
    """A session that also asks how each of its questions would be answered."""

    def __init__(self, asked: Session) -> None:
        self._asked = asked
        self.run = asked.run
        self.value = asked.value
        self.ways: list[str] = []

    async def rows(self, sql: str, **parameters: object) -> list[Row]:
        if "information_schema" in sql:
            self.ways += [str(row[-1]) for row in await self._asked.rows(f"EXPLAIN {sql}", **parameters)]
        return await self._asked.rows(sql, **parameters)


async def test_no_question_of_one_database_is_answered_from_all_of_them(mysql_rig: Rig, fresh_name: str) -> None:
    """MariaDB tells when it would: a thousand databases would be read a thousand times."""
    await mysql_rig.create(fresh_name, "CREATE TABLE t (a int)", "CREATE VIEW v AS SELECT a FROM t")
    async with session(mysql_rig.instance, fresh_name, "explaining", None) as each:
        explaining = _Explaining(each)
        facts = await mysql_family.facts(cast("Session", explaining), fresh_name)
    assert facts.tables == ("t",)
    if mysql_rig.server.kind == "mariadb":
        assert any("Scanned 1 database" in way for way in explaining.ways)
    assert [way for way in explaining.ways if "all databases" in way] == []
    await mysql_rig.drop(fresh_name)
