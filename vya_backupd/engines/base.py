"""What every engine can do. An engine performs no I/O and never waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from vya_backupd.engines.globals import GlobalsScript, GlobalsTarget
from vya_backupd.engines.scanner import Scanner
from vya_backupd.engines.tools import Tool, Toolset
from vya_backupd.errors import VyaError
from vya_backupd.model.command import Command
from vya_backupd.model.instance import EngineKind, Instance, ServerFacts


class Engine(Protocol):
    """A translator for one kind of server."""

    @property
    def kind(self) -> EngineKind:
        """The kind of server."""

    @property
    def maintenance_database(self) -> str | None:
        """The database to be connected to while others are created, dropped and renamed; None: none is needed."""

    def outside_of(self, database: str) -> str | None:
        """The same where it may be that very database, which nobody can rename or drop from within."""

    def find_tools(self, server: ServerFacts, installed: Sequence[Tool]) -> Toolset:
        """The installed tools that fit the server best.

        Raises:
            ToolError: ``tool_missing``, with what to install or to configure.
        """

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
        """Dump one database, without the views ``leave_out``, to standard output; wait ``lock_wait`` s for a lock."""

    def globals_command(self, instance: Instance, tools: Toolset, *, passwords: bool = True) -> Command | None:
        """Dump users and grants to standard output; None where SQL does it (``probe.globals_script``).

        ``passwords`` False leaves password hashes out, for accounts that may not read them.
        """

    def properties_command(
        self, instance: Instance, database: str, tools: Toolset, server: ServerFacts
    ) -> Command | None:
        """Print what ``database_sql`` is made from; None where a dump needs none."""

    def plain_database_sql(self, properties: Mapping[str, str]) -> tuple[str, ...]:
        """What ``database_sql`` gives for a database that is plain (``DatabaseFacts.is_plain``), without asking a tool."""

    def database_sql(self, output: bytes, database: str) -> tuple[str, ...]:
        """Statements that give a database its own properties, from the output of ``properties_command``.

        Templates: the database's name is ``{database}``, braces are doubled.
        """

    def properties_sql(self, templates: Sequence[str], database: str) -> list[str]:
        """The statements of ``database_sql`` for a database of this name."""

    def client_command(self, instance: Instance, database: str | None, tools: Toolset, server: ServerFacts) -> Command:
        """Run the SQL on standard input, in one session, and stop at the first error."""

    def scanner(
        self,
        segment_size: int,
        *,
        want_hash: bool = True,
        database: str = "",
        left_out: Sequence[tuple[str, str]] = (),
    ) -> Scanner:
        """A scanner for the output of ``dump_command`` for this database, which keeps the text of views left out."""

    def globals_scanner(self, segment_size: int) -> Scanner:
        """A scanner for the output of ``globals_command`` or ``probe.globals_script``."""

    def classify(
        self, tool: str, returncode: int, signal: int | None, stderr: str, *, restoring: bool = False
    ) -> VyaError:
        """The error of a tool that did not end well. ``restoring``: an unknown failure is ``restore_failed``."""

    def quote(self, name: str) -> str:
        """An identifier, quoted."""

    def create_database_sql(self, database: str, properties: Mapping[str, str], server: ServerFacts) -> list[str]:
        """Create an empty database with the recorded encoding, locale or character set."""

    def drop_database_sql(self, database: str, server: ServerFacts) -> list[str]:
        """Drop a database; no error when there is none."""

    def before_drop_sql(self, database: str) -> list[str]:
        """What removes, inside a database that we made, whatever would keep the server from dropping it."""

    def disconnect_sql(self, database: str) -> list[str]:
        """End the sessions of a database; empty where sessions do not keep it from being dropped."""

    def is_empty_sql(self, database: str) -> str:
        """One row, one column: the number of objects in the database. PostgreSQL: connected to that database."""

    def exists_sql(self, database: str) -> str:
        """One row, one column: 1 when there is a database of this name, else 0."""

    def sessions_sql(self, database: str) -> str:
        """One row, one column: the number of other sessions in the database."""

    def analyze_sql(self, database: str) -> list[str]:
        """Statistics for the planner after a restore, run inside the database; empty where the server makes them."""

    def globals_restore_script(self, text: bytes, target: GlobalsTarget) -> GlobalsScript:
        """The globals of a backup, fitted to a server on which some of the accounts exist."""
