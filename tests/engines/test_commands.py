"""Dump and client commands on real servers: names, passwords, first errors, secrets."""

from __future__ import annotations

import asyncio
import os
import string
from pathlib import Path

import pytest

from tests.engines.rig import ODD_NAMES, Rig, instance_of
from vya_backupd.errors import ConfigError
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.secret import Secret

PASSWORDS = (
    string.printable.strip() + "€ü数据🐘",
    " leading and trailing blank ",
    "\\n\\t\\s\\\\",
    '"quoted whole"',
    "'quoted whole'",
    "tab\there a:b:c\\:d",
)


def table(rig: Rig) -> str:
    return "CREATE TABLE " + rig.engine.quote("t") + " (a int PRIMARY KEY, b varchar(40))"


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_any_name_of_a_database_is_dumped_and_restored_beside(rig: Rig, name: str) -> None:
    beside = name[:50] + " 2"
    await rig.create(name, table(rig), "INSERT INTO t VALUES (1, 'one'), (2, 'zwei ü')")
    await rig.create(beside)
    dump = await rig.dump(name)
    assert dump.exit.ok, dump.exit.stderr
    scanner = rig.engine.scanner(1 << 20)
    segments = [*scanner.feed(dump.stdout), *scanner.finish()]
    assert scanner.tables == set((await rig.probe.database(rig.instance, name)).tables)
    done = await rig.feed(beside, b"".join(bytes(part) for segment in segments for part in segment.parts))
    assert done.exit.ok, done.exit.stderr
    assert await rig.probe.fetch(rig.instance, "SELECT a, b FROM t ORDER BY a", beside) == [(1, "one"), (2, "zwei ü")]
    await rig.drop(name, beside)
    assert name not in await rig.probe.all_databases(rig.instance)


@pytest.mark.parametrize("number", range(len(PASSWORDS)))
async def test_any_password_logs_in_with_probe_dump_and_client(rig: Rig, fresh_name: str, number: int) -> None:
    password = PASSWORDS[number]
    user = f"u{number}_{fresh_name[:12]}"
    await rig.create(fresh_name, table(rig))
    quoted = password.replace("'", "''")
    if rig.instance.kind is EngineKind.POSTGRESQL:
        account = f'"{user}"'
        await rig.probe.execute(rig.instance, [f"CREATE ROLE {account} LOGIN SUPERUSER PASSWORD '{quoted}'"])
    else:
        account = f"`{user}`@`%`"
        quoted = password.replace("\\", "\\\\").replace("'", "''")
        make = f"CREATE USER {account} IDENTIFIED BY '{quoted}'"
        await rig.probe.execute(rig.instance, [make, f"GRANT ALL ON *.* TO {account}"])
    instance = instance_of(rig.server, username=user, password=Secret(password))
    wrong = instance_of(rig.server, username=user, password=Secret(password + "x"))
    assert fresh_name in await rig.probe.all_databases(instance)
    dump = await rig.dump(fresh_name, instance)
    assert dump.exit.ok, dump.exit.stderr
    done = await rig.feed(fresh_name, b"SELECT 1;\n", instance)
    assert done.exit.ok, done.exit.stderr
    refused = await rig.dump(fresh_name, wrong)
    assert not refused.exit.ok
    error = rig.engine.classify("dump", refused.exit.returncode, refused.exit.signal, refused.exit.stderr)
    assert error.code == "login_refused"
    assert user not in error.message
    await rig.drop(fresh_name)
    await rig.probe.execute(rig.instance, [f"DROP {'ROLE' if account[0] == chr(34) else 'USER'} {account}"])


async def test_a_password_that_no_file_can_hold_is_refused(rig: Rig) -> None:
    instance = instance_of(rig.server, password=Secret("a\0b"))
    with pytest.raises(ConfigError) as raised:
        rig.engine.dump_command(instance, "x", rig.tools, rig.facts)
    assert raised.value.code == "invalid_credentials"
    assert raised.value.instance == instance.id


async def test_a_restore_stops_at_the_first_error(rig: Rig, fresh_name: str) -> None:
    await rig.create(fresh_name)
    done = await rig.feed(fresh_name, b"CREATE TABLE a (i int);\nSELECT nope;\nCREATE TABLE b (i int);\n")
    assert not done.exit.ok
    error = rig.engine.classify("client", done.exit.returncode, done.exit.signal, done.exit.stderr, restoring=True)
    assert error.code == "restore_failed"
    assert "nope" in error.message
    names = [name.rpartition(".")[2] for name in (await rig.probe.database(rig.instance, fresh_name)).tables]
    assert names == ["a"]
    await rig.drop(fresh_name)


async def test_the_client_obeys_no_commands_hidden_in_sql(mysql_rig: Rig, fresh_name: str, tmp_path: Path) -> None:
    rig = mysql_rig
    await rig.create(fresh_name)
    done = await rig.feed(fresh_name, f"SELECT 1;\n\\! touch {tmp_path}/hacked\nSELECT 2;\n".encode())
    assert not done.exit.ok
    assert not (tmp_path / "hacked").exists()
    await rig.drop(fresh_name)


async def test_the_password_is_in_no_argument_and_no_environment(rig: Rig, fresh_name: str) -> None:
    await rig.create(fresh_name)
    secret = rig.instance.password.reveal().encode()
    for command in (
        rig.engine.client_command(rig.instance, fresh_name, rig.tools, rig.facts),
        rig.engine.dump_command(rig.instance, fresh_name, rig.tools, rig.facts),
    ):
        assert secret not in repr(command).encode()
        async with rig.spawner.start(command, stdin="pipe", stdout="pipe") as process:
            seen = b""
            for _ in range(20):
                for name in ("cmdline", "environ"):
                    try:
                        seen += Path(f"/proc/{process.pid}/{name}").read_bytes()
                    except (FileNotFoundError, ProcessLookupError):
                        break
                await asyncio.sleep(0.005)
            assert b"LC_ALL" in seen
            assert secret not in seen
    await rig.drop(fresh_name)


async def test_a_dump_that_waits_for_a_lock_gives_up(postgresql_rig: Rig, fresh_name: str) -> None:
    rig = postgresql_rig
    await rig.create(fresh_name, table(rig))
    holder = rig.engine.client_command(rig.instance, fresh_name, rig.tools, rig.facts)
    async with rig.spawner.start(holder, stdin="pipe") as process:
        assert process.stdin_fd is not None
        await asyncio.to_thread(os.write, process.stdin_fd, b"BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE;\n")
        held = (
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 't'::regclass"
        )
        while await rig.probe.number(rig.instance, held, fresh_name) == 0:
            await asyncio.sleep(0.05)
        command = rig.engine.dump_command(rig.instance, fresh_name, rig.tools, rig.facts, lock_wait=1)
        done = await rig.spawner.run(command)
    error = rig.engine.classify("pg_dump", done.exit.returncode, done.exit.signal, done.exit.stderr)
    assert (error.code, error.retryable) == ("lock_timeout", True)
    await rig.drop(fresh_name)


async def test_unknown_database_and_dead_server_are_told_apart(rig: Rig) -> None:
    done = await rig.dump("no such database")
    error = rig.engine.classify("dump", done.exit.returncode, done.exit.signal, done.exit.stderr)
    assert error.code == "unknown_database"
    done = await rig.dump("x", instance_of(rig.server, port=1))
    error = rig.engine.classify("dump", done.exit.returncode, done.exit.signal, done.exit.stderr)
    assert (error.code, error.retryable) == ("connection_refused", True)
