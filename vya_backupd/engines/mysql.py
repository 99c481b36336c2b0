"""MySQL: its tools, their command lines, and the SQL around a restore. ``mariadb`` differs in a few answers."""

# Answers need fewer facts than the protocol offers.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vya_backupd.engines import mysql_globals, option_file, stderr
from vya_backupd.engines import mysql_sql as sql
from vya_backupd.engines.globals import GlobalsScript, GlobalsTarget
from vya_backupd.engines.scan_mysql import MysqlScanner
from vya_backupd.engines.scanner import Scanner
from vya_backupd.engines.stderr_rules import MYSQL_RULES
from vya_backupd.engines.tools import Tool, ToolRole, Toolset, best, newest
from vya_backupd.errors import ServerError, ToolError, VyaError
from vya_backupd.model.command import Command
from vya_backupd.model.instance import EngineKind, Instance, ServerFacts

HEADER_SUFFIX = b"/*!40101 SET SQL_MODE=CONCAT(@@SQL_MODE,',ALLOW_INVALID_DATES') */;\n"
"""Added to a dump's header: a server that allowed dates such as 2026-02-30 once gives them back in its dump, and the
tool's own header would not let them in again."""

_PACKET = "--max-allowed-packet=1073741824"
_OBJECTS = ("--routines", "--events", "--triggers")
_ROWS_ALONE = ("--no-create-info", "--skip-triggers", "--skip-routines", "--skip-events")
_SERVER_FAILED = 2
"""Exit status of a dump program whom the server failed. Without a word on standard error, a connection broke while it
changed its session between two tables: it does not look at the answers there."""
_TIMEOUT = 86_400
"""Seconds that the server waits for a slow reader or writer."""


class MySQL:
    """The engine of MySQL servers."""

    kind = EngineKind.MYSQL
    maintenance_database: str | None = None

    def outside_of(self, database: str) -> str | None:
        """None is needed."""
        return None

    _programs = ("mysqldump", "mysql")
    _package = "mysql-client"

    def find_tools(self, server: ServerFacts, installed: Sequence[Tool]) -> Toolset:
        """The vendor's own dump and client, of the server's release or the next newer one; else the newest there is."""
        wanted = server.version[:2]
        chosen = []
        for program, role in zip(self._programs, (ToolRole.DUMP, ToolRole.CLIENT), strict=True):
            tool = best(installed, role, self.kind, wanted) or newest(installed, role, self.kind)
            if tool is None or tool.version[:1] < server.version[:1]:
                raise self._missing(program, role, server, installed)
            chosen.append(tool)
        return Toolset(chosen[0], chosen[1])

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
        """One transaction, everything in it, in a form that any database name can take.

        Without ``--databases`` there is no USE and no CREATE DATABASE in the dump. LOCK TABLES and DISABLE KEYS are
        left out: they would tie the segments of a table together.
        """
        return self._dump(instance, tools, lock_wait, (*_OBJECTS, *_without(database, leave_out), "--", database))

    def structure_command(
        self,
        instance: Instance,
        database: str,
        tools: Toolset,
        *,
        lock_wait: int = 60,
        leave_out: Sequence[str] = (),
    ) -> Command:
        """All that ``dump_command`` gives, but for the rows."""
        arguments = (*_OBJECTS, "--no-data", *_without(database, leave_out), "--", database)
        return self._dump(instance, tools, lock_wait, arguments)

    def rows_command(
        self,
        instance: Instance,
        database: str,
        tools: Toolset,
        *,
        lock_wait: int = 60,
        tables: Sequence[str] = (),
        where: str = "",
        leave_out: Sequence[str] = (),
    ) -> Command:
        """Rows alone: of some tables, of all without them, those for which ``where`` holds where it is given."""
        those = (f"--where={where}",) if where else ()
        arguments = (*_ROWS_ALONE, *those, *_without(database, leave_out), "--", database, *tables)
        return self._dump(instance, tools, lock_wait, arguments)

    def globals_command(self, instance: Instance, tools: Toolset, *, passwords: bool = True) -> Command | None:
        """None: users and grants are read with SQL, by ``probe.globals_script``."""
        return None

    def properties_command(
        self, instance: Instance, database: str, tools: Toolset, server: ServerFacts
    ) -> Command | None:
        """None: a database has no properties but those that create it."""
        return None

    def plain_database_sql(self, properties: Mapping[str, str]) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def database_sql(self, output: bytes, database: str) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def properties_sql(self, templates: Sequence[str], database: str) -> list[str]:
        """Nothing."""
        return []

    def client_command(self, instance: Instance, database: str | None, tools: Toolset, server: ServerFacts) -> Command:
        """The client in batch mode: stops at the first error, takes bytes as they are, obeys no client commands."""
        # Comments inside of routines are part of them; by itself the client drops them.
        arguments = (
            "--batch",
            "--binary-mode",
            "--local-infile=0",  # neither a dump nor a server gets files of this machine
            "--comments",
            "--default-character-set=utf8mb4",
            "--connect-timeout=15",
        )
        init = f"--init-command={self._client_settings()}"
        chosen = () if database is None else (f"--database={database}",)
        return self._command(instance, tools.client, (*arguments, _PACKET, init, *self._client_extras(), *chosen))

    def scanner(
        self,
        segment_size: int,
        *,
        want_hash: bool = True,
        database: str = "",
        left_out: Sequence[tuple[str, str]] = (),
    ) -> Scanner:
        """A scanner for the dump, which adds ``HEADER_SUFFIX`` and leaves the database's own name out."""
        kept = b"".join(_as_comment(view, text) for view, text in left_out)
        return MysqlScanner(
            segment_size, want_hash=want_hash, header_suffix=HEADER_SUFFIX, database=database, appendix=kept
        )

    def rows_scanner(self, segment_size: int) -> Scanner:
        """A scanner for the output of ``rows_command``."""
        return MysqlScanner(segment_size, want_hash=False, rows_only=True)

    def globals_scanner(self, segment_size: int) -> Scanner:
        """A scanner for the text that ``mysql_globals.script`` makes."""
        return mysql_globals.GlobalsScanner()

    def classify(
        self, tool: str, returncode: int, signal: int | None, text: str, *, restoring: bool = False
    ) -> VyaError:
        """The meaning of a tool's last words, or of their absence."""
        if returncode == _SERVER_FAILED and not restoring and not stderr.says_anything(text):
            return ServerError(
                f"{tool} lost the server between two statements",
                code="server_lost",
                hint=stderr.HINT_LOST,
                retryable=True,
            )
        otherwise = "restore_failed" if restoring else "tool_failed"
        return stderr.classify(MYSQL_RULES, tool, returncode, signal, text, otherwise)

    def quote(self, name: str) -> str:
        """An identifier in backticks."""
        return sql.quote(name)

    def create_database_sql(self, database: str, properties: Mapping[str, str], server: ServerFacts) -> list[str]:
        """CREATE DATABASE with character set and collation."""
        return sql.create_database(database, properties, self.kind)

    def drop_database_sql(self, database: str, server: ServerFacts) -> list[str]:
        """DROP DATABASE IF EXISTS."""
        return sql.drop_database(database)

    def before_drop_sql(self, database: str) -> list[str]:
        """Nothing: a database can always be dropped."""
        return []

    def disconnect_sql(self, database: str) -> list[str]:
        """Nothing: sessions do not keep a database."""
        return []

    def is_empty_sql(self, database: str) -> str:
        """The number of objects in the database."""
        return sql.object_count(database)

    def exists_sql(self, database: str) -> str:
        """1 or 0."""
        return sql.exists(database)

    def sessions_sql(self, database: str) -> str:
        """The number of other sessions that have chosen the database."""
        return sql.sessions(database, self.kind)

    def analyze_sql(self, database: str) -> list[str]:
        """Nothing: InnoDB keeps its statistics by itself."""
        return []

    def globals_restore_script(self, text: bytes, target: GlobalsTarget) -> GlobalsScript:
        """Accounts that exist get the recorded password; grants on single objects come after the databases."""
        return mysql_globals.restore_script(text, target)

    def _tls(self, instance: Instance) -> list[tuple[str, str | None]]:
        return option_file.mysql_tls(instance)

    def _dump(self, instance: Instance, tools: Toolset, lock_wait: int, arguments: Sequence[str]) -> Command:
        always = (
            "--single-transaction", "--quick", "--hex-blob", "--skip-add-locks", "--skip-disable-keys",
            "--no-tablespaces", "--tz-utc", "--skip-dump-date", "--default-character-set=utf8mb4", _PACKET,
        )  # fmt: skip
        return self._command(instance, tools.dump, (*always, *self._dump_extras(tools.dump, lock_wait), *arguments))

    def _dump_extras(self, tool: Tool, lock_wait: int) -> tuple[str, ...]:
        session = f"SET SESSION max_execution_time=0, lock_wait_timeout={lock_wait}"
        return ("--set-gtid-purged=OFF", "--loose-column-statistics=0", f"--loose-init-command={session}")

    def _client_settings(self) -> str:
        return f"SET SESSION net_read_timeout={_TIMEOUT}, net_write_timeout={_TIMEOUT}"

    def _client_extras(self) -> tuple[str, ...]:
        # A hostile dump must not run programs: newer clients refuse \! by this, all of them by --binary-mode.
        return ("--loose-system-command=OFF",)

    def _command(self, instance: Instance, tool: Tool, arguments: Sequence[str]) -> Command:
        file = option_file.option_file(instance, self._tls(instance))
        argv = (str(tool.path), f"--defaults-file={option_file.PLACEHOLDER}", *arguments)
        return Command(argv, {"MYSQL_TEST_LOGIN_FILE": "/dev/null"}, (file,), tool.label)

    def _missing(self, program: str, role: ToolRole, server: ServerFacts, installed: Sequence[Tool]) -> ToolError:
        others = [tool for tool in installed if tool.role is role and tool.vendor is not EngineKind.POSTGRESQL]
        have = f"; found, but not fit: {', '.join(sorted(tool.label for tool in others))}" if others else ""
        release = ".".join(map(str, server.version[:2]))
        key = f"tools.{self.kind.value}.{'dump' if role is ToolRole.DUMP else 'client'}"
        return ToolError(
            f"no {program} that fits {self.kind.value} {release} was found{have}",
            code="tool_missing",
            hint=f"Install {self._package} {release}, or name the program as {key} in config.yaml.",
        )


def _without(database: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"--ignore-table={database}.{name}" for name in names)


def _as_comment(view: str, text: str) -> bytes:
    lines = f"View {sql.quote(view)}, which the server could not resolve:\n{text}".splitlines()
    return "".join(f"-- {line}\n" for line in ["", *lines, ""]).encode("utf-8", "backslashreplace")
