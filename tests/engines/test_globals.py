"""Users, roles and grants: from one real server onto another of its kind, and then the restored users log in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.rig import Rig, instance_of
from vya_backupd.errors import DumpError, ServerError
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.secret import Secret
from vya_backupd.testing.servers import PrivateServer

StartServer = Callable[..., PrivateServer]
PASSWORD = "pa'ss\"wörd\\ #;:"
POSTGRESQL_SOURCE = (
    "CREATE ROLE readers NOLOGIN",
    f"""CREATE ROLE "o'dd "" user; --" LOGIN PASSWORD '{PASSWORD.replace("'", "''")}' CONNECTION LIMIT 7""",
    """GRANT readers TO "o'dd "" user; --" WITH ADMIN OPTION""",
    """ALTER ROLE "o'dd "" user; --" SET work_mem = '8MB'""",
    "COMMENT ON ROLE readers IS 'CREATE ROLE postgres; -- not one'",
)
USER = {EngineKind.POSTGRESQL: "o'dd \" user; --"}
MYSQL_ESCAPED = PASSWORD.replace("\\", "\\\\").replace("'", "''")
MYSQL_SOURCE = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t (a int)",
    "CREATE PROCEDURE shop.p() SELECT 1",
    "CREATE ROLE readers",
    "GRANT SELECT ON shop.* TO readers",
    f"CREATE USER `o'dd `` user; --`@`%` IDENTIFIED BY '{MYSQL_ESCAPED}' WITH MAX_USER_CONNECTIONS 7",
    "GRANT readers TO `o'dd `` user; --`@`%`",
    "SET DEFAULT ROLE readers {to} `o'dd `` user; --`@`%`",
    "GRANT INSERT (a) ON shop.t TO `o'dd `` user; --`@`%`",
    "GRANT EXECUTE ON PROCEDURE shop.p TO `o'dd `` user; --`@`%`",
    "CREATE USER locked@localhost IDENTIFIED BY 'x' ACCOUNT LOCK",
)
MYSQL_USER = "o'dd ` user; --"


async def text_of(rig: Rig) -> bytes:
    command = rig.engine.globals_command(rig.instance, rig.tools)
    if command is None:
        return await rig.probe.globals_script(rig.instance)
    done = await rig.spawner.run(command)
    assert done.exit.ok, done.exit.stderr
    return done.stdout


def told(text: bytes) -> list[bytes]:
    """What counts in two such texts: not tokens, not the administrator's own password."""
    return [line for line in text.splitlines() if b"restrict" not in line and b"postgres WITH" not in line]


async def restore(rig: Rig, text: bytes) -> tuple[str, ...]:
    script = rig.engine.globals_restore_script(text, await rig.probe.globals_target(rig.instance))
    for part in (script.text, script.after):
        done = await rig.feed(None, part)
        assert done.exit.ok, done.exit.stderr
    return script.notes


async def test_postgresql_s_roles_log_in_on_another_server(
    postgresql: PrivateServer, start_server: StartServer, tmp_path: Path
) -> None:
    source = await Rig(start_server(postgresql.spec.label), tmp_path / "a").ready()
    target = await Rig(start_server(postgresql.spec.label), tmp_path / "b").ready()
    await source.probe.execute(source.instance, POSTGRESQL_SOURCE)
    text = await text_of(source)
    notes = await restore(target, text)
    assert any("postgres" in note for note in notes)
    user = instance_of(target.server, username=USER[EngineKind.POSTGRESQL], password=Secret(PASSWORD))
    assert await target.probe.fetch(user, "SHOW work_mem") == [("8MB",)]
    assert told(await text_of(target)) == told(text)
    await restore(target, text)  # a second time: everything exists
    # Our own login still works: its password is not the source's.
    assert (await target.probe.server(target.instance)).is_superuser


async def test_mysql_s_users_log_in_on_another_server(
    mysql_family: PrivateServer, start_server: StartServer, tmp_path: Path
) -> None:
    source = await Rig(start_server(mysql_family.spec.label), tmp_path / "a").ready()
    target = await Rig(start_server(mysql_family.spec.label), tmp_path / "b").ready()
    to = "FOR" if source.instance.kind is EngineKind.MARIADB else "TO"
    await source.probe.execute(source.instance, [line.replace("{to}", to) for line in MYSQL_SOURCE])
    text = await text_of(source)
    scanner = source.engine.globals_scanner(1 << 20)
    segments = [*scanner.feed(text[:100]), *scanner.feed(text[100:]), *scanner.finish()]
    assert b"".join(bytes(part) for segment in segments for part in segment.parts) == text
    script = source.engine.globals_restore_script(text, await target.probe.globals_target(target.instance))
    first = await target.feed(None, script.text)
    assert first.exit.ok, first.exit.stderr
    await target.probe.execute(target.instance, MYSQL_SOURCE[:3])
    second = await target.feed(None, script.after)
    assert second.exit.ok, second.exit.stderr
    user = instance_of(target.server, username=MYSQL_USER, password=Secret(PASSWORD))
    assert await target.probe.fetch(user, "SELECT * FROM shop.t") == []
    await target.probe.execute(user, ["INSERT INTO shop.t VALUES (1)", "CALL shop.p()"])
    with pytest.raises(ServerError) as raised:
        await target.probe.execute(user, ["DROP TABLE shop.t"])
    assert raised.value.code == "insufficient_privilege"
    own = b"`root`@"
    again = await text_of(target)
    assert [line for line in told(again) if own not in line] == [line for line in told(text) if own not in line]
    await restore(target, text)
    assert (await target.probe.server(target.instance)).is_superuser


def test_a_text_that_was_cut_off_is_no_backup() -> None:
    from vya_backupd.engines.mysql_globals import GlobalsScanner

    scanner = GlobalsScanner()
    scanner.feed(b"-- Users, roles and grants of a mysql server\n\nCREATE USER x;\n")
    with pytest.raises(DumpError):
        scanner.finish()
