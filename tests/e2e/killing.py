"""What the tests of kills and crashes work with: a daemon behind a gate, and a look at what was left behind."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.e2e.gate import Gate, fill, wait_until
from tests.uncovered import UNCOVERED
from tests.waiting import PATIENCE
from vya_backupd.dumpfile.manifest import decode_manifest
from vya_backupd.pipeline.pool import new_pool
from vya_backupd.pipeline.verify import VerifyTerms, verify
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer


class Control:
    """The control socket, spoken to directly: a client's start would be most of a kill's time."""

    def __init__(self, product: Product) -> None:
        self._path = str(product.socket_path)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request; the answer's JSON, or the last line of many."""
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(PATIENCE)
            raw.connect(self._path)
            connection = http.client.HTTPConnection("localhost")
            connection.sock = raw
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            return json.loads(_last_line(connection.getresponse()))

    def back_up(self, **request: Any) -> str:
        """Submit a backup without globals. Returns the operation's id."""
        answer = self.ask("POST", "/v1/operations", {"kind": "backup", "request": {"globals": False} | request})
        return str(answer["operation"]["id"])

    def finished(self, operation: str) -> dict[str, Any]:
        """Wait for the end of an operation. Returns its record."""
        self.ask("GET", f"/v1/operations/{operation}/watch")
        return self.operation(operation)

    def operation(self, operation: str) -> dict[str, Any]:
        """An operation's record: ``operation``, ``steps``, ``backups``."""
        return dict(self.ask("GET", f"/v1/operations/{operation}"))

    def backups(self) -> dict[str, dict[str, Any]]:
        """What the catalog lists, by id."""
        return {each["id"]: each for each in self.ask("GET", "/v1/backups")["backups"]}


def _last_line(answer: http.client.HTTPResponse) -> bytes:
    """What an answer ends with. Some go on as long as an operation does, and say something all the while."""
    deadline, last = time.monotonic() + PATIENCE, b""
    while line := answer.readline():
        last = line
        if time.monotonic() > deadline:
            raise AssertionError(f"no end within {PATIENCE:g} s; the last word was {last!r}")
    return last


@dataclass
class Store:
    """What lies on the disk, looked at by one who knows nothing of the daemon's opinion."""

    product: Product
    _verified: set[Path] = field(default_factory=set)

    def backups(self) -> dict[str, Path]:
        """Every published backup by id, each read from its first byte to its last."""
        found = {}
        for path in sorted(self.product.base_path.rglob("*.metadata.json")):
            manifest = decode_manifest(path.read_bytes())
            data = path.with_name(manifest.filename)
            if data not in self._verified:
                pool = new_pool(1)
                asyncio.run(verify(data, pool, VerifyTerms(manifest=manifest)))
                pool.shutdown()
                assert manifest.checksum in data.with_name(f"{data.name}.sha256").read_text()
                self._verified.add(data)
            found[manifest.facts.id] = data
        return found

    def strays(self) -> list[Path]:
        """Files that are neither backups nor their companions; the whole of the temporary folder."""
        known = set()
        for data in self.backups().values():
            known |= {data, data.with_name(f"{data.name}.sha256"), data.with_name(f"{data.name}.metadata.json")}
        files = {path for path in self.product.base_path.rglob("*") if path.is_file() and path.suffix != ".probe"}
        return sorted(files - known) + self.partials()

    def partials(self) -> list[Path]:
        """What is in the temporary folder, but for the files by which a running daemon tries the folder."""
        return [path for path in self.product.temp_path.rglob("*") if path.is_file() and path.suffix != ".probe"]

    def secrets(self) -> list[Path]:
        """Private folders of children that are left."""
        return list((self.product.state_dir / "run").iterdir())


@dataclass
class Scene:
    """A daemon, a server, and the gate between them."""

    server: PrivateServer
    database: str
    gate: Gate
    product: Product
    control: Control
    store: Store

    def failed(self, operation: str, codes: set[str], state: str = "failed") -> dict[str, Any]:
        """The operation ended, its one step too, with one of these codes; nothing was published nor left."""
        before = self.store.backups()
        record = self.control.finished(operation)
        assert record["operation"]["state"] == state, record
        (step,) = record["steps"]
        assert step["state"] == state
        assert step["error"]["code"] in codes, step["error"]
        assert step["error"]["message"]
        assert record["backups"] == []
        assert self.store.backups() == before
        self.clean()
        return dict(step)

    def succeeded(self, operation: str) -> dict[str, Any]:
        """The operation ended well, and its backup is whole. Returns the record."""
        record = self.control.finished(operation)
        assert record["operation"]["state"] == "succeeded", record
        assert record["steps"][0]["backup_id"] in self.store.backups()
        self.clean()
        return record

    def clean(self) -> None:
        """Nothing lies around, and catalog and disk agree."""
        assert self.store.strays() == []
        assert self.store.secrets() == []
        assert self.control.backups().keys() == self.store.backups().keys()

    def arm(self, faults: str) -> None:
        """Arm these points in the daemon that runs, and in those that follow."""
        (self.product.root / "faults.hangs").unlink(missing_ok=True)
        (self.product.root / "faults").write_text(faults)

    @property
    def hangs(self) -> bool:
        """Whether the daemon has come to the point that was armed to hang."""
        return (self.product.root / "faults.hangs").exists()


@contextmanager
def staged(
    server: PrivateServer, root: Path, database: str, *, gate: type[Gate] = Gate, **config: Mapping[str, Any]
) -> Iterator[Scene]:
    """A scene with a filled database of this name; ``config`` is laid over the daemon's configuration."""
    server.drop_database(database)
    fill(server, database)
    tool = gate(root / "gate", server)
    backup = {"free_space_factor": 0} | dict(config.pop("backup", {}))
    product = Product(
        root / "site",
        [instance(server, "one", database=database)],
        servers=[server],
        config={"tools": tool.tools, "backup": backup} | config,
        environ=UNCOVERED | {"VYA_FAULTS": f"@{root / 'site' / 'faults'}"},
    )
    try:
        with product:
            yield Scene(server, database, tool, product, Control(product), Store(product))
    finally:
        server.start()
        server.drop_database(database)


@contextmanager
def locked(server: PrivateServer, database: str) -> Iterator[None]:
    """Hold a lock on the first table that keeps every reader waiting."""
    if server.kind == "postgresql":
        login = f"host={server.host} port={server.port} user={server.admin_user} dbname={database}"
        with psycopg.connect(login, password=server.admin_password) as connection:
            connection.execute("lock table a_rows")
            yield
        return
    options = server.directory / "locker.cnf"
    options.write_text(
        f'[client]\nuser={server.admin_user}\npassword="{server.admin_password}"\nsocket={server.socket}\n'
    )
    argv = [str(server.tools["client"]), f"--defaults-file={options}", "--batch", "--unbuffered", database]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"lock tables a_rows write; select 'locked';\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"locked\n"
        yield
        client.stdin.close()


def waiting_for_lock(server: PrivateServer) -> bool:
    """Whether a session waits for a lock."""
    if server.kind == "postgresql":
        return server.sql("select count(*) from pg_locks where not granted") != [("0",)]
    query = "select count(*) from information_schema.processlist where state like 'Waiting for table metadata lock%'"
    return server.sql(query) != [("0",)]


@dataclass(frozen=True)
class Seen:
    """A process that was there: its number, and the tick it started at, which a later process of that number has not."""

    pid: int
    ticks: str
    command: str = field(compare=False)

    @property
    def alive(self) -> bool:
        """Whether it runs, or waits; a dead one that nobody has reaped does not count."""
        return _seen(self.pid) == self and _stat(self.pid)[0] != "Z"


def heard(client: subprocess.Popen[str], text: str) -> None:
    """Wait until a client that was begun says this on stderr: then it knows its operation and watches it."""
    assert client.stderr is not None
    for line in client.stderr:
        if text in line:
            return
    raise AssertionError(f"the client ended without saying {text!r}")


def _stat(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return ["Z"] + ["-1"] * 30


def _seen(pid: int) -> Seen:
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return Seen(pid, _stat(pid)[19], command)
    return Seen(pid, "", "")


def family(pid: int) -> list[Seen]:
    """The descendants of a process, and every process of their groups and sessions."""
    table = {int(each.name): _stat(int(each.name)) for each in Path("/proc").iterdir() if each.name.isdigit()}
    found = {pid}
    groups = {pid}
    while True:
        more = {
            each
            for each, stat in table.items()
            if each not in found and (int(stat[1]) in found or int(stat[2]) in groups or int(stat[3]) in groups)
        }
        if not more:
            return [_seen(each) for each in found - {pid}]
        found |= more
        groups |= {int(table[each][2]) for each in more if int(table[each][2]) in found}


def all_gone(processes: list[Seen], seconds: float = 3.0) -> None:
    """Demand that none of them lives any more, after so many seconds at most."""
    wait_until(
        lambda: not any(each.alive for each in processes),
        seconds,
        f"still alive: {[each for each in processes if each.alive]}",
    )


@contextmanager
def small_file_system(folder: Path, size: str) -> Iterator[Path]:
    """A mounted tmpfs of this size, for root."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)
