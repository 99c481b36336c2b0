"""Private MariaDB and MySQL servers."""

from __future__ import annotations

import fcntl
import re
import shutil
import signal
import socket
import subprocess
from abc import abstractmethod
from pathlib import Path

from vya_backupd.testing.cache import server_cache
from vya_backupd.testing.servers import PrivateServer

# A commit still reaches the operating system: what a killed server had committed is there after its restart.
_FAST = {
    "innodb_flush_log_at_trx_commit": "2",
    "innodb_flush_method": "nosync",
    "innodb_doublewrite": "OFF",
    "sync_binlog": "0",
}
_PLAIN = {
    "innodb_buffer_pool_size": "64M",
    "max_allowed_packet": "1G",
    "secure_file_priv": "",
    "skip_name_resolve": "ON",
}
_UNESCAPED = {"0": "\0", "n": "\n", "t": "\t", "\\": "\\"}


class MysqlFamilyServer(PrivateServer):
    """What MariaDB and MySQL share. The admin is ``root``, from the socket and from the network."""

    admin_user = "root"
    orphan_signal = "KILL"
    stop_signal = signal.SIGTERM

    @property
    def socket(self) -> str:
        """The socket's path."""
        return str(self.directory / "server.sock")

    def quote_name(self, name: str) -> str:
        """The identifier in backticks."""
        return "`" + name.replace("`", "``") + "`"

    def sql(
        self,
        statement: str,
        database: str | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
    ) -> list[tuple[str, ...]]:
        """Run statements through the client. See ``PrivateServer.sql``."""
        options = self._write_secret("client", self._client_options(user, password))
        command = [str(self.tools["client"]), f"--defaults-file={options}", "--batch", "--skip-column-names"]
        if database is not None:
            command.append(f"--database={database}")
        try:
            done = self._run(command, input=statement.encode(errors="surrogateescape"))
        finally:
            options.unlink()
        lines = done.stdout.decode(errors="surrogateescape").split("\n")[:-1]
        return [tuple(_unescape(value) for value in line.split("\t")) for line in lines]

    def _client_options(self, user: str | None, password: str | None) -> str:
        secret = (password or "") if user else self.admin_password
        quoted = secret.replace("\\", "\\\\").replace('"', '\\"')
        by_socket = self.socket and not user
        way = f"socket={self.socket}" if by_socket else f"host={self.host}\nport={self.port}\nprotocol=tcp"
        return (
            f'[client]\nuser={user or self.admin_user}\npassword="{quoted}"\n{way}\n'
            "default-character-set=utf8mb4\nloose-get-server-public-key\n"
        )

    def _command(self) -> list[str]:
        settings = {
            "datadir": str(self.data_dir),
            "bind_address": self.host,
            "port": str(self.port),
            "socket": self.socket,
            "pid_file": str(self.data_dir / "server.pid"),
            # A starting server deletes every other one's temporary tables in a folder that they share.
            "tmpdir": str(self._temporary()),
            **_PLAIN,
            **({} if self.options.durable else _FAST),
            **self._own_settings(),
            **self._tls_settings(),
            **self.options.settings,
        }
        first = self.directory / "first.sql"
        if first.exists():
            settings["init_file"] = str(first)
        return [str(self.spec.daemon), "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]

    def _temporary(self) -> Path:
        folder = self.directory / "tmp"
        if not folder.exists():
            folder.mkdir(mode=0o700)
            self.account.own(folder)
        return folder

    def _own_settings(self) -> dict[str, str]:
        return {}

    def _tls_settings(self) -> dict[str, str]:
        if self.certificates is None:
            return {}
        settings = {
            "ssl_ca": str(self.certificates.ca_cert),
            "ssl_cert": str(self.certificates.server_cert),
            "ssl_key": str(self.certificates.server_key),
        }
        return settings | ({"require_secure_transport": "ON"} if self.options.require_tls else {})

    def _ready(self) -> bool:
        """Greeted through the socket: statements of the first start ran before that."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(self.socket)
                greeting = probe.recv(5)
            except OSError:
                return False
        if len(greeting) < 5 or greeting[4] == 0xFF:
            return False
        (self.directory / "first.sql").unlink(missing_ok=True)
        return True

    def _initialise(self) -> None:
        """Copy a data directory that was initialised once on this machine, and set the admin's password."""
        shutil.copytree(self._template(), self.data_dir, symlinks=True)
        for path in (self.data_dir, *self.data_dir.rglob("*")):
            self.account.own(path)
        first = self.directory / "first.sql"
        first.touch(mode=0o600)
        first.write_text(
            f"ALTER USER root@localhost IDENTIFIED BY '{self.admin_password}';\n"
            f"CREATE USER root@'%' IDENTIFIED BY '{self.admin_password}';\n"
            "GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;\n"
        )
        self.account.own(first)

    def _template(self) -> Path:
        """The data directory of a new server of this version. The first caller makes it, others wait for it."""
        folder = server_cache() / "templates"
        folder.mkdir(parents=True, exist_ok=True)
        template = folder / f"{self.spec.label}-{self.version}-{self.account.name}"
        with (folder / f"{template.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                self._make_template(self.directory / "template")
                # A server's identity is its own; it is made anew at the first start.
                (self.directory / "template" / "auto.cnf").unlink(missing_ok=True)
                unfinished = template.with_suffix(".partial")
                shutil.rmtree(unfinished, ignore_errors=True)
                shutil.move(self.directory / "template", unfinished)
                unfinished.rename(template)
        return template

    @abstractmethod
    def _make_template(self, data_dir: Path) -> None:
        """Fill a folder that new servers start with."""


class MysqlServer(MysqlFamilyServer):
    """Oracle's MySQL, with binary log and GTIDs as the vendor sets them."""

    def _own_settings(self) -> dict[str, str]:
        # Without certificates of its own making it offers no TLS, which is what ``tls=False`` promises.
        return {"mysqlx": "OFF", "auto_generate_certs": "OFF"}

    def _make_template(self, data_dir: Path) -> None:
        settings = {"datadir": data_dir, "auto_generate_certs": "OFF", **_FAST}
        command = [str(self.spec.daemon), "--no-defaults", "--initialize-insecure"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        self._run(self.account.dressed(command, death_signal="KILL"), cwd=self.directory)


class MariadbServer(MysqlFamilyServer):
    """MariaDB."""

    _SCRIPTS = (
        "mysql_system_tables.sql",
        "mysql_performance_tables.sql",
        "mysql_system_tables_data.sql",
        "maria_add_gis_sp_bootstrap.sql",
        "mysql_sys_schema.sql",
    )

    def _make_template(self, data_dir: Path) -> None:
        """What ``mariadb-install-db`` does, without its need to know where things are installed."""
        data_dir.mkdir()
        self.account.own(data_dir)
        share = self._share()
        script = b"create database mysql;\nuse mysql;\nset @auth_root_socket = null;\nset @skip_auth_anonymous = 1;\n"
        script += b"\n".join((share / name).read_bytes() for name in self._SCRIPTS)
        script += b"\ndelete from global_priv where User = 'root' and Host <> 'localhost';\n"
        settings = {"datadir": data_dir, "lc_messages_dir": share, "max_allowed_packet": "8M", **_FAST}
        command = [str(self.spec.daemon), "--no-defaults", "--bootstrap"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        self._run(self.account.dressed(command, death_signal="KILL"), cwd=self.directory, input=script)

    def _share(self) -> Path:
        """The folder of the server's SQL scripts, of which the server itself knows where it is."""
        told = subprocess.run(
            [str(self.spec.daemon), "--no-defaults", "--verbose", "--help"], capture_output=True, check=False
        ).stdout.decode(errors="replace")
        places = re.findall(r"^(?:lc-messages-dir|character-sets-dir|basedir)\s+(/\S+)", told, re.MULTILINE)
        candidates = [Path(place) / below for place in places for below in (".", "..", "share/mysql", "share/mariadb")]
        for folder in candidates:
            if (folder / self._SCRIPTS[0]).exists():
                return folder.resolve()
        raise FileNotFoundError(f"{self._SCRIPTS[0]} is in none of {[str(folder) for folder in candidates]}")


def _unescape(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: _UNESCAPED.get(found[1], found[0]), value, flags=re.DOTALL)
