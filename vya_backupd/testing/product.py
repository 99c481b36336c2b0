"""A whole installation in one folder: configuration, credentials, a real daemon, and the real client to talk to it.

For the end-to-end tests, the benchmarks and the demo. Everything is a process of its own, as with a user.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from vya_backupd.testing.ready import ReadyClients, is_simple
from vya_backupd.testing.servers import PrivateServer

_READY = ReadyClients()
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Ran:
    """A client that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, for ``--output json``."""
        return json.loads(self.out)


def instance(server: PrivateServer, instance_id: str, **changes: Any) -> dict[str, Any]:
    """The entry of a private server in a plain credentials file: its admin, over TCP."""
    entry: dict[str, Any] = {
        "id": instance_id,
        "enabled": True,
        "type": server.kind,
        "host": server.host,
        "port": server.port,
        "username": server.admin_user,
        "password": server.admin_password,
        "database": "*",
        "ssl": {"enabled": False},
    }
    return entry | changes


class Product:
    """An installation below ``root``. Also a context manager that stops the daemon at the end.

    ``tools`` are the servers whose programs are to be found, beside those that the machine has. ``config`` is laid over
    the configuration, section by section. The daemon is not started by the constructor.
    """

    def __init__(
        self,
        root: Path,
        instances: list[dict[str, Any]],
        *,
        servers: list[PrivateServer] | None = None,
        config: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.base_path = root / "backups"
        self.state_dir = root / "state"
        self.temp_path = root / ".partial"
        self.socket_path = root / "control.sock"
        self.config_path = root / "config.yaml"
        self.log_path = root / "daemon.log"
        self.instances = instances
        self.environ = dict(environ or {})
        self.settings = _merged(self._defaults(servers or []), config or {})
        self.daemon: subprocess.Popen[bytes] | None = None
        self.write_config()
        self.write_credentials()

    def _defaults(self, servers: list[PrivateServer]) -> dict[str, Any]:
        tools: dict[str, Any] = {}
        for server in servers:
            if server.kind == "postgresql":
                folders = tools.setdefault("postgresql", {}).setdefault("search", [])
                folders.append(str(server.tools["pg_dump"].parent))
            else:
                tools[server.kind] = {
                    name: str(path) for name, path in server.tools.items() if name in {"dump", "client"}
                }
        return {
            "application": {"environment": "dev", "hostname": "testhost", "state_dir": str(self.state_dir)},
            "logging": {"level": "INFO", "format": "json", "output": "console"},
            "backup": {"verify_integrity": False, "attempts": 1},
            "storage": {
                "local": {"base_path": str(self.base_path), "temp_path": str(self.temp_path)},
                "retention": {"cleanup_enabled": False},  # two backups of one day are what most tests are about
            },
            "scheduling": {"enabled": False, "timezone": "UTC"},
            # Tests share servers: the databases of others are not theirs to cover.
            "monitoring": {"health_check": {"host": "127.0.0.1", "port": 0, "uncovered_databases": False}},
            "control": {"socket_path": str(self.socket_path)},
            "credentials": {"file": str(self.root / "credentials.json")},
            "tools": tools,
        }

    def write_config(self) -> None:
        """Write ``settings`` down."""
        self.config_path.write_text(yaml.safe_dump(self.settings, sort_keys=False))

    def write_credentials(self) -> None:
        """Encrypt ``instances`` into the credentials file, with the client, as a user would."""
        plain = self.root / "plain.json"
        plain.touch(mode=0o600)
        document = {
            "version": "1.0",
            "encryption": {"method": "fernet", "key_derivation": "key-file"},
            "databases": self.instances,
        }
        plain.write_text(json.dumps(document))
        done = self.ctl(
            "credentials", "encrypt", "--input", str(plain), "--output", self.settings["credentials"]["file"]
        )
        plain.unlink()
        if done.code != 0:
            message = f"credentials encrypt failed: {done.err}"
            raise RuntimeError(message)

    # the daemon

    def start(self, *, wait: bool = True) -> Self:
        """Start the daemon; with ``wait``, until it answers on the control socket.

        Raises:
            RuntimeError: it ended, or did not come up in time; the message has its log's end.
        """
        with self.log_path.open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "vya_backupd", "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                process_group=0,  # Ctrl-C on our terminal is for us: we stop the daemon in good order
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until the control socket answers. Raises RuntimeError as ``start``."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                message = f"the daemon did not come up:\n{self.log()[-4000:]}"
                raise RuntimeError(message)
            time.sleep(0.02)

    def _answers(self) -> bool:
        """Whether it is this daemon that listens: a child of a killed one may hold its socket until it becomes a tool."""
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket_path)) != 0:
                return False
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return bool(struct.unpack("3i", peer)[0] == self.process.pid)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The daemon's process."""
        if self.daemon is None:
            message = "the daemon was not started"
            raise RuntimeError(message)
        return self.daemon

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 120.0) -> int:
        """SIGTERM, and its exit code; killed when it takes longer."""
        if self.daemon is None or self.daemon.poll() is not None:
            return self.daemon.returncode if self.daemon else 0
        self.daemon.terminate()
        try:
            return self.daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log(self) -> str:
        """Everything that the daemon has said."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's records of this event."""
        records = []
        for line in self.log().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):  # the daemon may be in the midst of the last one
                record = json.loads(line)
                if record.get("event") == name:
                    records.append(record)
        return records

    # talking to it

    def ctl(
        self, *arguments: str, stdin: str | None = None, timeout: float = 600, environ: Mapping[str, str] | None = None
    ) -> Ran:
        """Run ``vyactl``."""
        environment = self._environment() | dict(environ or {})
        if is_simple(self.environ) and is_simple(environ or {}):
            return Ran(*_READY.run(arguments, environment, stdin, timeout))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "vyactl"), *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``vyactl`` and leave it running; the caller waits for it, or ends it."""
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "vyactl"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment(),
        )

    def ok(self, *arguments: str) -> Any:
        """Run ``vyactl ... --output json``, demand success, and return what it printed.

        Raises:
            RuntimeError: it failed; the message has everything that was said.
        """
        done = self.ctl(*arguments, "--output", "json")
        if done.code != 0:
            message = f"vyactl {' '.join(arguments)} ended with {done.code}: {done.err}{done.out}\n{self.log()[-3000:]}"
            raise RuntimeError(message)
        return done.json

    def get(self, path: str) -> tuple[int, str]:
        """GET a path of the public site."""
        port = self.events("public.listening")[-1]["port"]
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def files(self) -> list[Path]:
        """The published data files, sorted."""
        return sorted(path for path in self.base_path.rglob("*") if path.suffix in {".gz", ".zst"})

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("VYA_")}
        return kept | {"VYA_SOCKET": str(self.socket_path), "VYA_CONFIG": str(self.config_path)} | self.environ


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
