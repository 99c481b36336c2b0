"""The exchange of two databases on real servers: forward, back from every step, refused when it must be."""

from __future__ import annotations

import pytest

from tests.engines.rig import Rig
from vya_backupd.engines.mysql_swap import DatabaseContent, StoredObject, exchange_tables, swap
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.engines.swap import SwapPlan, SwapStep
from vya_backupd.errors import TargetError

SCHEMA = (
    "CREATE TABLE parent (id int PRIMARY KEY)",
    "CREATE TABLE child (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES parent (id))",
    "CREATE TABLE log (what varchar(40))",
    "INSERT INTO parent VALUES (1)",
    "INSERT INTO child VALUES (1, 1)",
)


async def carry_out(rig: Rig, steps: tuple[SwapStep, ...]) -> None:
    for step in steps:
        await rig.probe.execute(rig.instance, step.script, step.database)


async def make_mysql(rig: Rig, name: str, mark: str) -> None:
    await rig.create(
        name,
        *SCHEMA,
        f"INSERT INTO log VALUES ('{mark}')",
        "SET SESSION sql_mode = 'ANSI_QUOTES'",
        f"CREATE TRIGGER tr AFTER INSERT ON parent FOR EACH ROW INSERT INTO log VALUES ('trigger {mark} ü')",
        f"CREATE FUNCTION f() RETURNS varchar(40) DETERMINISTIC NO SQL RETURN '{mark}'",
        f"CREATE PROCEDURE pr() SELECT '{mark}'",
        "CREATE VIEW z AS SELECT id, f() AS who FROM parent",
        f"CREATE VIEW a AS SELECT who AS who_{mark} FROM z",
        f"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE DO DELETE FROM log WHERE what = '{mark}'",
    )


async def picture(rig: Rig, name: str) -> bytes:
    dump = await rig.dump(name)
    assert dump.exit.ok, dump.exit.stderr
    lines = dump.stdout.replace(b"'" + name.encode() + b"'", b"'NAME'").splitlines()
    # The heading names the database, and collation_connection may differ where nobody chose it.
    return b"\n".join(
        line for line in lines if not line.startswith(b"-- Host:") and b"collation_connection" not in line
    )


async def plan_for(rig: Rig, original: str, restored: str, aside: str) -> SwapPlan:
    one, other = [await rig.probe.content(rig.instance, name) for name in (original, restored)]
    return swap(one, other, aside, enable_events=["ev"])


async def test_mysql_s_swap_moves_everything_and_keeps_the_rest(mysql_rig: Rig, fresh_name: str) -> None:
    rig, restored, aside = mysql_rig, fresh_name + "_r", fresh_name + "_a"
    await make_mysql(rig, fresh_name, "old")
    await make_mysql(rig, restored, "new")
    plan = await plan_for(rig, fresh_name, restored, aside)
    wanted = await picture(rig, restored)
    await carry_out(rig, plan.steps)
    assert (await picture(rig, fresh_name)).replace(b" ENABLE DO", b" DISABLE DO") == wanted
    assert (await picture(rig, fresh_name)).count(b" ENABLE DO") == 1
    await rig.probe.execute(rig.instance, plan.cleanup)
    await rig.probe.execute(rig.instance, ["INSERT INTO parent VALUES (2)"], fresh_name)
    assert await rig.probe.fetch(rig.instance, "SELECT who_new FROM a LIMIT 1", fresh_name) == [("new",)]
    assert ("trigger new ü",) in await rig.probe.fetch(rig.instance, "SELECT what FROM log", fresh_name)
    assert not {restored, aside} & set(await rig.probe.all_databases(rig.instance))
    await rig.drop(fresh_name)


async def test_mysql_s_swap_goes_back_from_every_step(mysql_rig: Rig, fresh_name: str) -> None:
    rig, restored, aside = mysql_rig, fresh_name + "_r", fresh_name + "_a"
    await make_mysql(rig, fresh_name, "old")
    await make_mysql(rig, restored, "new")
    wanted = await picture(rig, fresh_name)
    plan = await plan_for(rig, fresh_name, restored, aside)
    rename = next(number for number, step in enumerate(plan.steps) if step.statement.startswith("RENAME"))
    for done in (rename, rename + 1, len(plan.steps)):
        if done > rename:  # going back leaves the restored side without its triggers: it is made anew
            await make_mysql(rig, restored, "new")
        await rig.drop(aside)
        await carry_out(rig, plan.steps[:done])
        await rig.probe.execute(rig.instance, plan.tidy)
        assert aside in await rig.probe.all_databases(rig.instance)  # also while nothing is in it yet
        await carry_out(rig, plan.undo(done))
        assert await picture(rig, fresh_name) == wanted
        await rig.probe.execute(rig.instance, plan.tidy)
        assert aside not in await rig.probe.all_databases(rig.instance)
    await rig.drop(fresh_name, restored, aside)


async def test_mysql_s_swap_is_refused_when_others_point_into_the_original(mysql_rig: Rig, fresh_name: str) -> None:
    rig, other = mysql_rig, fresh_name + "_o"
    await make_mysql(rig, fresh_name, "old")
    await rig.create(other, f"CREATE TABLE x (p int, FOREIGN KEY (p) REFERENCES {fresh_name}.parent (id))")
    with pytest.raises(TargetError) as raised:
        await plan_for(rig, fresh_name, fresh_name, "aside")
    assert raised.value.code == "swap_refused"
    assert f"{other}.x" in raised.value.message
    await rig.drop(other, fresh_name)


async def test_postgresql_s_swap_goes_forward_and_back_from_every_step(postgresql_rig: Rig, fresh_name: str) -> None:
    rig, restored, aside = postgresql_rig, fresh_name + ' "r"', fresh_name + "_a"
    await rig.create(fresh_name, "CREATE TABLE t AS SELECT 'old' AS a")
    await rig.create(restored, "CREATE TABLE t AS SELECT 'new' AS a")
    plan = PostgreSQL().swap(fresh_name, restored, aside, disconnect=True)
    for done in range(1, len(plan.steps) + 1, 2):
        await carry_out(rig, plan.steps[:done])
        await carry_out(rig, plan.undo(done))
        assert await rig.probe.fetch(rig.instance, "SELECT a FROM t", fresh_name) == [("old",)]
        assert await rig.probe.fetch(rig.instance, "SELECT a FROM t", restored) == [("new",)]
    await carry_out(rig, plan.steps)
    assert await rig.probe.fetch(rig.instance, "SELECT a FROM t", fresh_name) == [("new",)]
    await rig.probe.execute(rig.instance, plan.cleanup)
    assert not {restored, aside} & set(await rig.probe.all_databases(rig.instance))
    await rig.drop(fresh_name)


async def test_postgresql_s_swap_stops_at_connected_sessions_unless_told(postgresql_rig: Rig, fresh_name: str) -> None:
    rig, restored = postgresql_rig, fresh_name + "_r"
    await rig.create(fresh_name)
    await rig.create(restored)
    command = rig.engine.client_command(rig.instance, fresh_name, rig.tools, rig.facts)
    async with rig.spawner.start(command, stdin="pipe"):
        while await rig.probe.number(rig.instance, rig.engine.sessions_sql(fresh_name)) == 0:
            pass
        plan = PostgreSQL().swap(fresh_name, restored, "aside_x", disconnect=False)
        with pytest.raises(TargetError) as raised:
            await carry_out(rig, plan.steps)
        assert raised.value.code == "target_in_use"
    await rig.drop(fresh_name, restored)


def test_an_exchange_of_tables_is_marked_from_its_first_step_to_its_last() -> None:
    """Also where nothing gives way: a table would be in its place, and its triggers not yet."""
    trigger = StoredObject("TRIGGER", "tr", "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a = 1", ())
    here = DatabaseContent("db", (), (), "utf8mb4", "utf8mb4_bin")
    beside = DatabaseContent("db_new", ("t",), (trigger,), "utf8mb4", "utf8mb4_bin")
    plan = exchange_tables(here, beside, "db_old", {"t": "t"})
    assert plan.steps[0].what == "create db_old"
    assert [step.what for step in plan.steps][-2:] == ["exchange tables", "create trigger tr"]
    assert plan.cleanup[-1] == "DROP DATABASE IF EXISTS `db_old`"
