"""Choice of tools, and what programs' last words mean: pure functions, on words that real programs said."""

from __future__ import annotations

from pathlib import Path

import pytest

from vya_backupd.engines.registry import engine_for
from vya_backupd.engines.tools import Tool, ToolRole, parse_version
from vya_backupd.errors import ToolError
from vya_backupd.model.instance import EngineKind, ServerFacts

BANNERS = (
    ("mysqldump", "mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)", "mariadb 10.11.6"),
    ("mariadb-dump", "mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux (x86_64)", "mariadb 11.4.2"),
    (
        "mariadb",
        "mariadb  Ver 15.1 Distrib 10.11.19-MariaDB, for Linux (x86_64) using  EditLine wrapper",
        "mariadb 10.11.19",
    ),
    ("mysqldump", "mysqldump  Ver 8.4.2 for Linux on x86_64 (MySQL Community Server - GPL)", "mysql 8.4.2"),
    ("mysqldump", "mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", "mysql 5.7.44"),
    ("pg_dump", "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgresql 15.18"),
    ("pg_dump", "pg_dump (PostgreSQL) 19beta1", "postgresql 19"),
)


@pytest.mark.parametrize(("name", "banner", "wanted"), BANNERS)
def test_vendor_and_version_are_read_from_the_banner(name: str, banner: str, wanted: str) -> None:
    tool = parse_version(Path("/x") / name, ToolRole.DUMP, banner)
    assert tool is not None
    assert f"{tool.vendor} {'.'.join(map(str, tool.version))}" == wanted
    assert parse_version(Path("/x") / name, ToolRole.DUMP, "usage: something else") is None


def tool(role: ToolRole, vendor: EngineKind, *version: int) -> Tool:
    return Tool(Path("/bin/x"), vendor, role, version, "")


def postgresql(*versions: tuple[int, ...]) -> list[Tool]:
    return [tool(role, EngineKind.POSTGRESQL, *version) for role in ToolRole for version in versions]


def server(kind: EngineKind, *version: int) -> ServerFacts:
    return ServerFacts(kind, version, "", is_superuser=True)


def test_the_server_s_own_major_comes_first_then_the_next_newer() -> None:
    engine = engine_for(EngineKind.POSTGRESQL)
    installed = postgresql((14, 1), (15, 2), (15, 9), (17, 1), (18, 0))
    assert engine.find_tools(server(EngineKind.POSTGRESQL, 15, 3), installed).dump.version == (15, 9)
    assert engine.find_tools(server(EngineKind.POSTGRESQL, 16, 1), installed).dump.version == (17, 1)
    with pytest.raises(ToolError) as raised:
        engine.find_tools(server(EngineKind.POSTGRESQL, 19, 1), installed)
    assert raised.value.code == "tool_missing"
    assert "18.0" in raised.value.message
    assert "postgresql-client-19" in raised.value.hint


@pytest.mark.parametrize(
    ("kind", "other"), [(EngineKind.MYSQL, EngineKind.MARIADB), (EngineKind.MARIADB, EngineKind.MYSQL)]
)
def test_the_other_vendor_s_tools_are_refused(kind: EngineKind, other: EngineKind) -> None:
    installed = [tool(role, other, 99, 0) for role in ToolRole]
    with pytest.raises(ToolError) as raised:
        engine_for(kind).find_tools(server(kind, 10, 11), installed)
    assert raised.value.code == "tool_missing"
    assert f"tools.{kind.value}.dump" in raised.value.hint


WORDS = (
    (EngineKind.POSTGRESQL, "pg_dump: error: query failed: ERROR:  canceling statement due to conflict with recovery", "server_error", True),
    (EngineKind.POSTGRESQL, "pg_dump: error: query failed: ERROR:  permission denied for table t", "insufficient_privilege", False),
    (EngineKind.POSTGRESQL, 'pg_dump: error: query would be affected by row-level security policy for table "t"', "insufficient_privilege", False),
    (EngineKind.POSTGRESQL, "pg_dump: error: aborting because of server version mismatch", "tool_missing", False),
    (EngineKind.POSTGRESQL, "pg_dump: error: query failed: server closed the connection unexpectedly", "server_lost", True),
    (EngineKind.POSTGRESQL, "pg_dump: error: query failed: ERROR:  out of shared memory\nHINT:  You might need to increase max_locks_per_transaction.", "server_error", False),
    (EngineKind.POSTGRESQL, "psql: error: connection failed: FATAL:  the database system is starting up", "connection_refused", True),
    (EngineKind.MYSQL, "mysqldump: Error 2013: Lost connection to MySQL server during query when dumping table `t` at row: 1", "server_lost", True),
    (EngineKind.MYSQL, "mysqldump: Error 1412: Table definition has changed, please retry transaction when dumping table `t` at row: 0", "tables_changed", True),
    (EngineKind.MYSQL, "mysqldump: Couldn't execute 'show create table `t`': Table 'd.t' doesn't exist (1146)", "tables_changed", True),
    (EngineKind.POSTGRESQL, 'pg_dump: error: query failed: ERROR:  relation "public.t" does not exist', "tables_changed", True),
    (EngineKind.POSTGRESQL, 'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.\npg_dump: detail: Error message from server: ERROR:  column "b" does not exist', "tables_changed", True),
    (EngineKind.POSTGRESQL, "pg_dump: error: query failed: ERROR:  could not open relation with OID 16390", "tables_changed", True),
    (EngineKind.POSTGRESQL, "pg_dump: error: query failed: ERROR:  cache lookup failed for attribute 2 of relation 16390", "tables_changed", True),
    (EngineKind.POSTGRESQL, 'psql:<stdin>:3: ERROR:  relation "t" does not exist', "tool_failed", False),
    (EngineKind.MYSQL, "mysqldump: Got error: 1044: Access denied for user 'x'@'%' to database 'd' when selecting the database", "insufficient_privilege", False),
    (EngineKind.MYSQL, "mysqldump: Couldn't execute 'SHOW CREATE TABLE `t`': Lock wait timeout exceeded; try restarting transaction (1205)", "lock_timeout", True),
    (EngineKind.MARIADB, """mariadb-dump: Couldn't execute 'show create table `t`': Can't open file: './d/t.frm' (errno: 24 "Too many open files") (1016)""", "server_error", False),
    (EngineKind.MYSQL, "ERROR 1062 (23000) at line 1045: Duplicate entry '1' for key 'PRIMARY'", "tool_failed", False),
    (EngineKind.MARIADB, "ERROR 1040 (08004): Too many connections", "connection_refused", True),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "words", "code", "retryable"), WORDS)
def test_last_words_have_a_meaning(kind: EngineKind, words: str, code: str, retryable: bool) -> None:
    error = engine_for(kind).classify("tool", 1, None, words)
    assert (error.code, error.retryable) == (code, retryable)
    assert error.hint or error.code == "tool_failed"


def test_a_signal_is_named_and_worth_a_retry() -> None:
    error = engine_for(EngineKind.MYSQL).classify("mysqldump 9.7", -9, 9, "")
    assert (error.code, error.retryable) == ("tool_killed", True)
    assert "SIGKILL" in error.message


@pytest.mark.parametrize("kind", [EngineKind.MYSQL, EngineKind.MARIADB])
def test_silence_and_status_2_mean_a_lost_server(kind: EngineKind) -> None:
    error = engine_for(kind).classify("dump", 2, None, "Warning: unknown option '--x'\n")
    assert (error.code, error.retryable) == ("server_lost", True)
    assert engine_for(kind).classify("dump", 3, None, "").code == "tool_failed"


def test_pg_dump_says_itself_that_it_was_signalled() -> None:
    error = engine_for(EngineKind.POSTGRESQL).classify("pg_dump 15", 1, None, "pg_dump: terminated by user\n")
    assert (error.code, error.retryable) == ("tool_killed", True)


def test_warnings_are_not_the_cause_and_secrets_stay_out() -> None:
    echo = "--------------\nCREATE USER x IDENTIFIED BY 'hunter2' -- ERROR 1045 (28000): failed\n--------------\n\n"
    error = engine_for(EngineKind.MARIADB).classify(
        "mariadb", 1, None, echo + "ERROR 1396 (HY000) at line 3: Operation CREATE USER failed for 'someone'@'%'"
    )
    assert (error.code, "hunter2" in error.message, "someone" in error.message) == ("tool_failed", False, False)
    near = "ERROR 1064 (42000) at line 1: error near 'IDENTIFIED WITH x AS 'hunter2''"
    assert "hunter2" not in engine_for(EngineKind.MYSQL).classify("mysql", 1, None, near).message
    words = "pg_dump: warning: there are circular foreign-key constraints\npg_dump: error: the real one"
    assert "the real one" in engine_for(EngineKind.POSTGRESQL).classify("pg_dump", 1, None, words).message
