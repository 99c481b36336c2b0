"""Private PostgreSQL servers."""

from __future__ import annotations

import csv
import io
import os
import signal
from pathlib import Path

from vya_backupd.testing.servers import PrivateServer

# A commit still reaches the operating system: what a killed server had committed is there after its restart.
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
}
_PLAIN = {
    "shared_buffers": "64MB",
    "max_wal_size": "2GB",
    "max_connections": "60",
    # Segments in files of the data directory: a killed server leaves none behind in /dev/shm, which may be small.
    "dynamic_shared_memory_type": "mmap",
    "log_line_prefix": "%m [%p] ",
}


class PostgresqlServer(PrivateServer):
    """PostgreSQL: UTF-8, locale C.UTF-8, SCRAM for everybody, over TCP and socket alike."""

    admin_user = "postgres"
    orphan_signal = "QUIT"
    stop_signal = signal.SIGINT

    @property
    def socket(self) -> str:
        """The folder of the socket, which libpq takes for a host."""
        return str(self.directory)

    def quote_name(self, name: str) -> str:
        """The identifier in double quotes."""
        return '"' + name.replace('"', '""') + '"'

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, also under the feet of its sessions."""
        self.sql(f"drop database if exists {self.quote_name(name)} with (force)")

    def sql(
        self,
        statement: str,
        database: str | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
    ) -> list[tuple[str, ...]]:
        """Run statements through psql. See ``PrivateServer.sql``."""
        passfile = self._write_secret("pgpass", f"*:*:*:*:{_escape(password if user else self.admin_password)}\n")
        try:
            done = self._run(
                [str(self.tools["psql"]), "-XqtwA", "--csv", "-v", "ON_ERROR_STOP=1", "-P", "null=NULL"],
                input=statement.encode(errors="surrogateescape"),
                env=self._environment(passfile, database, user),
            )
        finally:
            passfile.unlink()
        text = done.stdout.decode(errors="surrogateescape")
        return [tuple(row) for row in csv.reader(io.StringIO(text, newline=""))]

    def _environment(self, passfile: Path, database: str | None, user: str | None) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment |= {
            "PGHOST": self.socket if self.socket and not user else self.host,
            "PGPORT": str(self.port),
            "PGUSER": user or self.admin_user,
            # Unlike on the command line, a name with "=" is no connection string here.
            "PGDATABASE": database or "postgres",
            "PGPASSFILE": str(passfile),
            "PGCLIENTENCODING": "UTF8",
        }
        return environment

    def _initialise(self) -> None:
        first = self._write_secret("first-password", self.admin_password)
        self.account.own(first)
        command = [
            str(self.bindir / "initdb"),
            *("-D", str(self.data_dir), "-U", self.admin_user, f"--pwfile={first}", "-A", "scram-sha-256"),
            *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
        ]
        try:
            self._run(self.account.dressed(command, death_signal="KILL"), cwd=self.directory)
        finally:
            first.unlink()
        if self.options.require_tls:
            rules = self.data_dir / "pg_hba.conf"
            rules.write_text(rules.read_text().replace("\nhost ", "\nhostssl "))

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": self.socket,
            **_PLAIN,
            **({} if self.options.durable else _FAST),
            **self._tls_settings(),
            **self.options.settings,
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.spec.daemon), "-D", str(self.data_dir), *given]

    def _tls_settings(self) -> dict[str, str]:
        if self.certificates is None:
            return {}
        return {
            "ssl": "on",
            "ssl_ca_file": str(self.certificates.ca_cert),
            "ssl_cert_file": str(self.certificates.server_cert),
            "ssl_key_file": str(self.certificates.server_key),
        }

    def _ready(self) -> bool:
        # The postmaster notes its state in line 8 of this file.
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


def _escape(password: str | None) -> str:
    return (password or "").replace("\\", "\\\\").replace(":", "\\:")
