"""Databases that tests leave on the servers they share, named at the end: the next test of the same name falls over them."""

from __future__ import annotations

from typing import Any

import pytest

from vya_backupd.errors import ServerError
from vya_backupd.testing.servers import PrivateServer

_THEIR_OWN = {"postgres", "template0", "template1", "mysql", "sys", "information_schema", "performance_schema"}


def databases(server: PrivateServer) -> list[str]:
    """The databases that somebody made on a server that runs; none of one that does not answer."""
    query = "SELECT datname FROM pg_database" if server.kind == "postgresql" else "SHOW DATABASES"
    try:
        return sorted(row[0] for row in server.sql(query) if row[0] not in _THEIR_OWN) if server.running else []
    except ServerError:
        return []


class LeftBehind:
    """The plugin: gathers from all workers, and tells."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.found: list[str] = []

    def look(self, servers: dict[str, PrivateServer]) -> None:
        """Note what there is on servers that are about to be discarded."""
        self.found += [f"{label}: {name!r}" for label, server in servers.items() for name in databases(server)]

    def pytest_sessionfinish(self) -> None:
        """A worker hands over what it found."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["left_behind"] = self.found

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker hands over; one that died hands over nothing."""
        self.found += getattr(node, "workeroutput", {}).get("left_behind", [])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell."""
        if self.found:
            terminalreporter.section("databases that tests left on shared servers", yellow=True)
            for each in sorted(self.found):
                terminalreporter.write_line(each, yellow=True)
