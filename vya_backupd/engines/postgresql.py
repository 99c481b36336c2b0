"""PostgreSQL: its tools, their command lines, and the SQL around a restore."""

# Answers need fewer facts than the protocol offers.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vya_backupd.engines import (
    conninfo,
    postgresql_globals,
    postgresql_guard,
    postgresql_pieces,
    postgresql_properties,
    stderr,
)
from vya_backupd.engines import postgresql_sql as sql
from vya_backupd.engines.globals import GlobalsScript, GlobalsTarget
from vya_backupd.engines.postgresql_pieces import TableFacts
from vya_backupd.engines.scan_postgresql import PostgresqlGlobalsScanner, PostgresqlScanner
from vya_backupd.engines.scanner import Scanner
from vya_backupd.engines.stderr_rules import POSTGRESQL_RULES
from vya_backupd.engines.swap import SwapPlan
from vya_backupd.engines.tools import Tool, ToolRole, Toolset, best, newest
from vya_backupd.errors import ToolError, VyaError
from vya_backupd.model.command import Command, SecretFile
from vya_backupd.model.instance import EngineKind, Instance, ServerFacts

_PASSFILE = "@pgpass@"
_APPLICATION = "vya-backupd"
_SILENT = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")


class PostgreSQL:
    """The engine of PostgreSQL servers."""

    kind = EngineKind.POSTGRESQL
    maintenance_database: str | None = sql.MAINTENANCE

    def outside_of(self, database: str) -> str | None:
        """The maintenance database, or the one template that lets everybody in."""
        return "template1" if database == sql.MAINTENANCE else sql.MAINTENANCE

    def find_tools(self, server: ServerFacts, installed: Sequence[Tool]) -> Toolset:
        """pg_dump of the server's own major version, else the next newer one; psql and pg_dumpall likewise."""
        wanted = server.version[:1]
        chosen = [best(installed, role, self.kind, wanted) for role in (ToolRole.DUMP, ToolRole.CLIENT)]
        for name, role, tool in zip(("pg_dump", "psql"), (ToolRole.DUMP, ToolRole.CLIENT), chosen, strict=True):
            if tool is None:
                raise _missing(name, wanted[0], newest(installed, role, self.kind))
        dump, client = chosen
        if dump is None or client is None:  # said above; the type checker cannot see it
            raise _missing("pg_dump", wanted[0], None)
        return Toolset(dump, client, best(installed, ToolRole.GLOBALS, self.kind, wanted))

    def dump_command(
        self,
        instance: Instance,
        database: str,
        tools: Toolset,
        server: ServerFacts,
        *,
        lock_wait: int = 60,
        leave_out: Sequence[str] = (),
    ) -> Command:
        """``pg_dump --format=plain`` in the database's own encoding."""
        arguments = ("--format=plain", f"--lock-wait-timeout={lock_wait * 1000}")
        return self._command(instance, database, tools.dump, arguments, server)

    def main_command(
        self,
        instance: Instance,
        database: str,
        tools: Toolset,
        server: ServerFacts,
        *,
        lock_wait: int,
        snapshot: str,
        encoding: str,
        without: Sequence[TableFacts],
    ) -> Command:
        """``dump_command`` on an exported snapshot, without the rows of tables that others read."""
        arguments = (
            "--format=plain",
            f"--lock-wait-timeout={lock_wait * 1000}",
            f"--snapshot={snapshot}",
            f"--encoding={encoding}",
            *postgresql_pieces.excluded(without),
        )
        return self._command(instance, database, tools.dump, arguments, server)

    def pieces_command(self, instance: Instance, database: str, tools: Toolset, server: ServerFacts) -> Command:
        """Run psql on the scripts of ``postgresql_pieces``, and write what they say."""
        return self._command(instance, database, tools.client, (*_SILENT, "--file=-"), server)

    def globals_command(self, instance: Instance, tools: Toolset, *, passwords: bool = True) -> Command | None:
        """``pg_dumpall --globals-only``.

        Raises:
            ToolError: ``tool_missing`` when there is no pg_dumpall that fits the server.
        """
        if tools.globals_dump is None:
            raise _missing("pg_dumpall", tools.dump.version[0], None)
        arguments = ("--globals-only",) if passwords else ("--globals-only", "--no-role-passwords")
        return self._command(instance, sql.MAINTENANCE, tools.globals_dump, arguments)

    def properties_command(
        self, instance: Instance, database: str, tools: Toolset, server: ServerFacts
    ) -> Command | None:
        """``pg_dump --create --schema-only`` with every schema left out: no table is looked at, none is locked.

        None for a name with a line break: pg_dump refuses to connect to it by name in a script.
        """
        if set(database) & set("\r\n"):
            return None
        arguments = ("--format=plain", "--create", "--schema-only", "--exclude-schema=*", "--encoding=UTF8")
        return self._command(instance, database, tools.dump, arguments, server)

    def plain_database_sql(self, properties: Mapping[str, str]) -> tuple[str, ...]:
        """ALTER DATABASE ... OWNER TO, as a template."""
        return (postgresql_properties.owner_template(sql.quote(properties["owner"])),)

    def database_sql(self, output: bytes, database: str) -> tuple[str, ...]:
        """Templates of ALTER DATABASE, COMMENT, GRANT, ALTER ROLE IN DATABASE and SECURITY LABEL."""
        return postgresql_properties.templates(output, database)

    def properties_sql(self, templates: Sequence[str], database: str) -> list[str]:
        """The templates for a database of this name."""
        return postgresql_properties.applied(templates, sql.quote(database))

    def client_command(self, instance: Instance, database: str | None, tools: Toolset, server: ServerFacts) -> Command:
        """Run psql without start-up file, history, pager and output, in one session that stops at the first error.

        The dump cannot give commands to psql itself (``postgresql_guard``).
        """
        arguments = (*_SILENT, "--output=/dev/null", *postgresql_guard.opening(tools.client), "--file=-")
        return self._command(instance, database or sql.MAINTENANCE, tools.client, arguments, server)

    def scanner(
        self,
        segment_size: int,
        *,
        want_hash: bool = True,
        database: str = "",
        left_out: Sequence[tuple[str, str]] = (),
    ) -> Scanner:
        """A scanner for pg_dump's plain format."""
        return PostgresqlScanner(segment_size, want_hash=want_hash)

    def globals_scanner(self, segment_size: int) -> Scanner:
        """A scanner for pg_dumpall's output."""
        return PostgresqlGlobalsScanner(segment_size)

    def classify(
        self, tool: str, returncode: int, signal: int | None, text: str, *, restoring: bool = False
    ) -> VyaError:
        """The meaning of a tool's last words."""
        otherwise = "restore_failed" if restoring else "tool_failed"
        return stderr.classify(POSTGRESQL_RULES, tool, returncode, signal, text, otherwise)

    def quote(self, name: str) -> str:
        """An identifier in double quotes."""
        return sql.quote(name)

    def create_database_sql(self, database: str, properties: Mapping[str, str], server: ServerFacts) -> list[str]:
        """CREATE DATABASE from template0."""
        return sql.create_database(database, properties, server)

    def drop_database_sql(self, database: str, server: ServerFacts) -> list[str]:
        """DROP DATABASE IF EXISTS."""
        return sql.drop_database(database)

    def before_drop_sql(self, database: str) -> list[str]:
        """Remove the subscriptions that the dump brought along: disabled, and without a slot of their own."""
        return [sql.detach_subscriptions()]

    def disconnect_sql(self, database: str) -> list[str]:
        """End all other sessions."""
        return [sql.disconnect(database)]

    def obstacles_sql(self, database: str) -> str:
        """Kind and name of everything that keeps the database from being dropped, subscriptions first."""
        return sql.obstacles(database)

    def is_empty_sql(self, database: str) -> str:
        """The number of user objects in the database that one is connected to."""
        return sql.object_count()

    def exists_sql(self, database: str) -> str:
        """1 or 0."""
        return sql.exists(database)

    def closed_sql(self, database: str) -> str:
        """1 when the database is there and lets nobody in, else 0."""
        return sql.closed(database)

    def open_sql(self, database: str) -> list[str]:
        """Let connections in again, after an exchange that was cut short."""
        return [sql.allow(database, "true")]

    def rename_database_sql(self, database: str, new_name: str) -> list[str]:
        """Give a database another name; refused while anybody is connected to it."""
        return [f"ALTER DATABASE {sql.quote(database)} RENAME TO {sql.quote(new_name)}"]

    def sessions_sql(self, database: str) -> str:
        """The number of other sessions in the database."""
        return sql.sessions(database)

    def swap(self, original: str, restored: str, aside: str, *, disconnect: bool) -> SwapPlan:
        """The exchange of two databases by renames."""
        return sql.swap(original, restored, aside, end_sessions=disconnect)

    def analyze_sql(self, database: str) -> list[str]:
        """ANALYZE of everything in the database that one is connected to."""
        return ["ANALYZE"]

    def globals_restore_script(self, text: bytes, target: GlobalsTarget) -> GlobalsScript:
        """The globals without what exists."""
        return postgresql_globals.restore_script(text, target)

    def _command(
        self,
        instance: Instance,
        database: str,
        tool: Tool,
        arguments: Sequence[str],
        server: ServerFacts | None = None,
    ) -> Command:
        given = conninfo.parameters(instance, database, _APPLICATION, _options(server))
        argv = (str(tool.path), *arguments, "--no-password", f"--dbname={conninfo.conninfo(given)}")
        if not instance.password:
            return Command(argv, name=tool.label)
        secret = SecretFile(_PASSFILE, conninfo.password_file(instance))
        return Command(argv, {"PGPASSFILE": _PASSFILE}, (secret,), tool.label)


def _options(server: ServerFacts | None) -> str:
    """Session settings: no time limits, and a backend that notices within seconds that its client was killed."""
    if server is None:
        return "-c statement_timeout=0"
    settings = ["statement_timeout=0", "lock_timeout=0", "idle_in_transaction_session_timeout=0"]
    major = server.version[0]
    if major >= 14:
        settings.append("idle_session_timeout=0")
        if "linux" in server.version_text:
            settings.append("client_connection_check_interval=5s")
    if major >= 17:
        settings.append("transaction_timeout=0")
    return " ".join(f"-c {setting}" for setting in settings)


def _missing(program: str, major: int, newest_tool: Tool | None) -> ToolError:
    have = f"; the newest found is {newest_tool.label}" if newest_tool else ""
    return ToolError(
        f"no {program} {major} or newer was found{have}",
        code="tool_missing",
        hint=f"Install postgresql-client-{major}, or name its folder under tools.postgresql.search in config.yaml.",
    )
