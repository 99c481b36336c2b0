"""MariaDB, where it differs from MySQL."""

# Answers need fewer facts than the protocol offers.
# ruff: noqa: ARG002

from __future__ import annotations

from vya_backupd.engines import option_file
from vya_backupd.engines.mysql import MySQL
from vya_backupd.engines.tools import Tool
from vya_backupd.model.instance import EngineKind, Instance


class MariaDB(MySQL):
    """The engine of MariaDB servers."""

    kind = EngineKind.MARIADB
    _programs = ("mariadb-dump", "mariadb")
    _package = "mariadb-client"

    def _tls(self, instance: Instance) -> list[tuple[str, str | None]]:
        return option_file.mariadb_tls(instance)

    def _dump_extras(self, tool: Tool, lock_wait: int) -> tuple[str, ...]:
        # The program has no way to set a lock timeout; the stall timeout watches instead. Time limits it lifts itself.
        return ("--dump-history",) if tool.version >= (10, 11) else ()

    def _client_settings(self) -> str:
        return f"{super()._client_settings()}, max_statement_time=0"

    def _client_extras(self) -> tuple[str, ...]:
        return ()
