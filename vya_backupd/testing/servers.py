"""Private real database servers on temporary directories, for tests, benchmarks and the demonstration.

``find_servers`` (in ``discover``) says which servers this machine can run; ``ServerSpec.start`` runs one::

    with spec.start(tls=True) as server:
        server.create_database("shop")
        server.sql("create table t (a int); insert into t values (1)", "shop")

A server listens on a free loopback port and a Unix socket, asks everybody for a password, has no durability unless
asked (a killed *server* loses nothing; a killed machine would), and never outlives the process that started it.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from vya_backupd.errors import ServerError
from vya_backupd.testing.account import Account
from vya_backupd.testing.certificates import Certificates
from vya_backupd.testing.guarded import GuardedProcess
from vya_backupd.testing.ports import ReservedPort

Kind = Literal["postgresql", "mariadb", "mysql"]

_START_SECONDS = 90.0
# A Unix socket's path may have 107 bytes; ours are "DIR/server.sock" and PostgreSQL's "DIR/.s.PGSQL.65535".
_LONGEST_DIRECTORY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a private server differs from the plain one."""

    durable: bool = False
    """Flush to disk as a production server would."""
    tls: bool = False
    """Offer TLS, with the certificates in ``PrivateServer.certificates``; otherwise TLS is off."""
    require_tls: bool = False
    """Refuse network connections without TLS; implies ``tls``."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Server settings by name, over ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """A server program that this machine has, with the tools of the same version."""

    kind: Kind
    version: str
    daemon: Path
    tools: Mapping[str, Path]
    """``pg_dump``, ``pg_dumpall``, ``psql`` for PostgreSQL; ``dump``, ``client``, ``binlog`` for the others."""
    origin: str
    """Where it came from, for people: "system", "cache", a wheel's or image's name."""
    offers_tls: bool = True
    """False for a build without TLS: the wheel's PostgreSQL is one."""
    factory: Callable[[ServerSpec, Path | None, ServerOptions], PrivateServer] = field(repr=False, compare=False)

    @property
    def series(self) -> str:
        """The release series: "15" for PostgreSQL, "10.11" for the others."""
        return ".".join(self.version.split(".")[: 1 if self.kind == "postgresql" else 2])

    @property
    def label(self) -> str:
        """Such as ``postgresql-15`` or ``mysql-9.7``: what tests are named after."""
        return f"{self.kind}-{self.series}"

    def start(self, tmpdir: Path | None = None, **options: Any) -> PrivateServer:
        """Make and start a new, empty server; ``options`` are the fields of ``ServerOptions``.

        Its files lie in a folder of its own under ``tmpdir``, or under the system's temporary folder when there is
        none, its path is too long for a socket, or the account that runs the server cannot reach it.

        Raises:
            ServerError: it did not come up (the message ends with the end of its log), or cannot do what was asked.
        """
        wanted = ServerOptions(**options)
        if (wanted.tls or wanted.require_tls) and not self.offers_tls:
            raise ServerError(f"{self.label} ({self.origin}) is built without TLS", hint="take another version")
        server = self.factory(self, tmpdir, wanted)
        try:
            server.start()
        except BaseException:
            server.discard()
            raise
        return server


class PrivateServer(ABC):
    """One private server. Also a context manager that discards it at the end."""

    admin_user: str
    orphan_signal: str
    stop_signal: signal.Signals

    def __init__(self, spec: ServerSpec, tmpdir: Path | None, options: ServerOptions) -> None:
        self.spec = spec
        self.kind: Kind = spec.kind
        self.version = spec.version
        self.tools = dict(spec.tools)
        self.bindir = spec.daemon.parent
        self.options = options
        self.host = "127.0.0.1"
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.admin_password = secrets.token_urlsafe(12)
        self.account = Account.for_servers()
        self.directory = _make_directory(self.account, tmpdir, spec.label)
        self.data_dir = self.directory / "data"
        self.log_path = self.directory / "server.log"
        self.certificates: Certificates | None = None
        if options.tls or options.require_tls:
            self.certificates = Certificates.make(self.directory / "tls", self.account, self.admin_user)
        self._process: GuardedProcess | None = None

    # what a kind of server must say for itself

    @property
    @abstractmethod
    def socket(self) -> str:
        """The Unix socket: PostgreSQL's is named by its folder, as libpq wants it; the others' by its path."""

    @abstractmethod
    def _initialise(self) -> None:
        """Fill an empty data directory, so that the admin logs in with ``admin_password``."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The server's command line."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether clients are let in."""

    @abstractmethod
    def sql(
        self,
        statement: str,
        database: str | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
    ) -> list[tuple[str, ...]]:
        """Run statements in the vendor's client and return all rows as text (a NULL is "NULL").

        The admin comes through the socket, a named ``user`` through TCP.

        Raises:
            ServerError: the client failed; the message is what it said.
        """

    @abstractmethod
    def quote_name(self, name: str) -> str:
        """An identifier in this server's quotes."""

    # life

    @property
    def ca_cert(self) -> Path | None:
        """The authority that signed the server's certificate; None without TLS."""
        return self.certificates.ca_cert if self.certificates else None

    @property
    def pid(self) -> int:
        """The server's process; 0 while it is stopped."""
        return self._process.pid if self._process and self._process.running else 0

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self.pid != 0

    def start(self) -> None:
        """Start it and wait until it lets clients in. A running one stays as it is.

        Raises:
            ServerError: it did not come up.
        """
        if self.running:
            return
        if not self.data_dir.exists():
            self._initialise()
        self._process = GuardedProcess(
            self.account.dressed(self._command(), death_signal=self.orphan_signal),
            data_dir=self.data_dir,
            remove_dir=self.directory,
            orphan_signal=self.orphan_signal,
            log_path=self.log_path,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            if time.monotonic() > deadline or not self._process.running:
                raise self._did_not_start()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it in good order; its data stays for ``start``."""
        if self._process is not None:
            self._process.stop(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL all its processes at once; its data stays for ``start``."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self.stop()
        self.start()

    def discard(self) -> None:
        """Kill it, delete its files and give its port away."""
        self.kill()
        self._reserved.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    # conveniences

    def can_login(self, user: str, password: str, database: str | None = None) -> bool:
        """Whether the server lets this user in over TCP."""
        try:
            self.sql("select 1", database, user=user, password=password)
        except ServerError:
            return False
        return True

    def create_database(self, name: str, options: str = "") -> None:
        """Create a database; ``options`` is SQL that follows the name."""
        self.sql(f"create database {self.quote_name(name)} {options}")

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists."""
        self.sql(f"drop database if exists {self.quote_name(name)}")

    def _did_not_start(self) -> ServerError:
        tail = self.log_path.read_text(errors="replace")[-2000:]
        return ServerError(f"{self.spec.label} did not start: {tail}")

    def _run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a client or an initialising program to its end."""
        is_dressed = Path(command[0]).name == "setpriv"
        done = subprocess.run(command, capture_output=True, check=False, **options)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            program = next(part for part in command[1:] if not part.startswith("-")) if is_dressed else command[0]
            raise ServerError(f"{Path(program).name} on {self.spec.label} ended with {done.returncode}: {said}")
        return done

    def _write_secret(self, name: str, text: str) -> Path:
        """A file for our own clients, readable by us alone."""
        path = self.directory / f"{name}-{secrets.token_hex(4)}"
        path.touch(mode=0o600)
        path.write_text(text)
        return path


def _make_directory(account: Account, tmpdir: Path | None, label: str) -> Path:
    parent = tmpdir.resolve() if tmpdir is not None else None
    if parent is None or len(bytes(parent)) > _LONGEST_DIRECTORY - 30 or not account.reaches(parent):
        parent = Path(tempfile.gettempdir())
    directory = Path(tempfile.mkdtemp(prefix=f"vya-{label}-", dir=parent))
    account.own(directory)
    directory.chmod(0o755)  # clients of other users reach the socket; the data directory is closed by itself
    return directory
