"""Real servers for all tests, started when first asked for and once per session (and per xdist worker).

=================  ====================================================================================
fixture            gives
=================  ====================================================================================
server             a running server; the test runs once for each that this machine has
postgresql         the same, of the PostgreSQL versions only
mysql_family       the same, MariaDB and MySQL
any_postgresql     one PostgreSQL (the oldest found, which has TLS)
mariadb, mysql     one of each
start_server       a function: a further server of its own for this test, by label or kind, with options
fresh_name         a database name that nothing else uses
closed_port        a port at which nobody listens, and nobody will
=================  ====================================================================================

A wanted server that is missing skips its tests and says how to get it; with ``VYA_REQUIRE_SERVERS=1`` it fails them.
"""

from __future__ import annotations

import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.durations import Durations
from tests.left_behind import LeftBehind
from tests.provoked import Provoked
from tests.uncovered import UNCOVERED, UNCOVERED_MODULES
from vya_backupd.testing.discover import find_servers, missing_servers
from vya_backupd.testing.peers import missing_peers
from vya_backupd.testing.servers import PrivateServer, ServerSpec

StartServer = Callable[..., PrivateServer]

# The examples are always the same, so that a run says something of the change that it tests, and take whatever time
# the machine gives them. VYA_EXPLORE=1 draws others.
settings.register_profile(
    "vya",
    derandomize=os.environ.get("VYA_EXPLORE", "") != "1",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("vya")


class ServerPool:
    """Servers of this session by label."""

    def __init__(self, tmpdir: Path) -> None:
        self._tmpdir = tmpdir
        self._running: dict[str, PrivateServer] = {}

    def get(self, wanted: str) -> PrivateServer:
        """The running server of a label or kind; skips or fails the test when this machine has none.

        A test may have stopped or killed it: then it is started again.
        """
        spec = require_spec(wanted)
        if spec.label not in self._running:
            self._running[spec.label] = spec.start(self._tmpdir)
        self._running[spec.label].start()
        return self._running[spec.label]

    @property
    def running(self) -> dict[str, PrivateServer]:
        """Those that were asked for, by label."""
        return dict(self._running)

    def discard(self) -> None:
        for server in self._running.values():
            server.discard()


def require_spec(wanted: str) -> ServerSpec:
    """The first server of this label or kind; skips or fails the test when this machine has none."""
    for spec in find_servers():
        if wanted in (spec.label, spec.kind):
            return spec
    way = missing_servers().get(wanted, "this machine has none")
    reason = f"{wanted} is missing; get it by: {way}"
    if os.environ.get("VYA_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _labels(*kinds: str) -> list[str]:
    """What to run on: the servers found, and those missing, which then say so."""
    names = [spec.label for spec in find_servers()] + list(missing_servers())
    return [name for name in names if name.partition("-")[0] in kinds]


@pytest.fixture(scope="session")
def server_pool(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[ServerPool]:
    pool = ServerPool(tmp_path_factory.mktemp("servers"))
    yield pool
    left: LeftBehind = pytestconfig.pluginmanager.getplugin("left behind")
    left.look(pool.running)
    pool.discard()


@pytest.fixture(params=_labels("postgresql", "mariadb", "mysql"))
def server(request: pytest.FixtureRequest, server_pool: ServerPool) -> PrivateServer:
    return server_pool.get(request.param)


@pytest.fixture(params=_labels("postgresql"))
def postgresql(request: pytest.FixtureRequest, server_pool: ServerPool) -> PrivateServer:
    return server_pool.get(request.param)


@pytest.fixture(params=_labels("mariadb", "mysql"))
def mysql_family(request: pytest.FixtureRequest, server_pool: ServerPool) -> PrivateServer:
    return server_pool.get(request.param)


@pytest.fixture
def any_postgresql(server_pool: ServerPool) -> PrivateServer:
    return server_pool.get("postgresql")


@pytest.fixture
def mariadb(server_pool: ServerPool) -> PrivateServer:
    return server_pool.get("mariadb")


@pytest.fixture
def mysql(server_pool: ServerPool) -> PrivateServer:
    return server_pool.get("mysql")


@pytest.fixture(scope="module", autouse=True)
def _uncovered_programs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Programs that some modules start are not measured: the suite has half an hour."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in UNCOVERED.items() if request.module.__name__ in UNCOVERED_MODULES else ():
            patch.setenv(name, value)
        yield


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """``start_server("mariadb", tls=True)``: options are the fields of ``ServerOptions``. Gone after the test.

    With ``tls`` or ``require_tls`` a build without TLS skips the test.
    """
    started: list[PrivateServer] = []

    def start(wanted: str, **options: Any) -> PrivateServer:
        spec = require_spec(wanted)
        if (options.get("tls") or options.get("require_tls")) and not spec.offers_tls:
            pytest.skip(f"{spec.label} ({spec.origin}) is built without TLS")
        started.append(spec.start(tmp_path, **options))
        return started[-1]

    yield start
    for server in started:
        server.discard()


@pytest.fixture
def fresh_name() -> str:
    return f"t_{uuid.uuid4().hex[:16]}"


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """Refuses connections: bound for as long as it is needed, so that nobody else gets it, and never listened at."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C mean something to the programs under test, also where a shell started us in the background."""
    config.pluginmanager.register(Durations(config), "durations")
    config.pluginmanager.register(LeftBehind(config), "left behind")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Provoked(config), "provoked")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    there = [f"{spec.label} {spec.version} ({spec.origin})" for spec in find_servers()]
    return ["servers: " + (", ".join(there) or "none"), *_missing_lines()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = _missing_lines()
    if lines:
        terminalreporter.section("servers and programs not tested with", yellow=True, bold=True)
        for line in lines:
            terminalreporter.write_line(line, yellow=True)


def _missing_lines() -> list[str]:
    servers = [f"MISSING server {label}: get it by: {way}" for label, way in missing_servers().items()]
    return servers + [f"MISSING program {name}: get it by: {way}" for name, way in missing_peers().items()]
