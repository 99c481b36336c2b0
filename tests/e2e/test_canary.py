"""A password that is easy to recognise is looked for everywhere: processes, logs, errors, answers, files."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.canary import CANARY, WRONG, Ears, disguises, leaks
from tests.observe.peers import HttpPeer, MailPeer, Manners
from tests.waiting import until
from vya_backupd.client.transport import ControlClient
from vya_backupd.errors import VyaError
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

USER = "canarybird_user"

GET_ROUTES = (
    "/v1/status",
    "/v1/config",
    "/v1/databases",
    "/v1/backups",
    "/v1/operations",
    "/v1/health",
    "/v1/metrics",
)


@dataclass
class Seen:
    """What a child looked like while it was held."""

    argv: bytes
    environ: bytes
    secrets: list[tuple[int, bytes]] = field(default_factory=list)
    """Mode and content of the files in its private folder."""


_GATE = """#!/bin/sh
# Stands in a tool's place: holds when it is armed, where a test can look at it, and becomes the tool then.
case "$*" in *--version* | *--schema-only*) exec {real} "$@" ;; esac
rm {folder}/armed 2>/dev/null || exec {real} "$@"
echo $$ >{folder}/held.new
mv {folder}/held.new {folder}/held
read _ <{folder}/go
exec {real} "$@"
"""


def gates(server: PrivateServer, folder: Path) -> dict[str, Any]:
    """Gates before the server's dump and client, as the configuration's ``tools``."""
    names = (
        {"dump": "pg_dump", "client": "psql"} if server.kind == "postgresql" else {"dump": "dump", "client": "client"}
    )
    folder.mkdir()
    for role, name in names.items():
        (folder / role).mkdir()
        os.mkfifo(folder / role / "go")
        gate = folder / server.tools[name].name
        gate.write_text(_GATE.format(real=server.tools[name], folder=folder / role))
        gate.chmod(0o755)
    if server.kind == "postgresql":
        (folder / "pg_dumpall").symlink_to(server.tools["pg_dumpall"])
        return {"postgresql": {"search": [str(folder)]}}
    return {server.kind: {role: str(folder / server.tools[name].name) for role, name in names.items()}}


@contextmanager
def holding(product: Product, role: str, *, kill: bool = False) -> Iterator[list[Seen]]:
    """Hold the tool of this role, look at everything, and let it go or kill it."""
    seen: list[Seen] = []
    folder = product.root / "gates" / role
    (folder / "held").unlink(missing_ok=True)
    (folder / "armed").touch()

    def look() -> None:
        until((folder / "held").exists)
        pid = int((folder / "held").read_text())
        seen.append(_look(product, pid))
        if kill:
            os.kill(pid, signal.SIGKILL)
        else:
            (folder / "go").write_text("\n")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        thread.join()


def _look(product: Product, pid: int) -> Seen:
    proc = Path(f"/proc/{pid}")
    seen = Seen((proc / "cmdline").read_bytes(), (proc / "environ").read_bytes())
    for path in (product.state_dir / "run").glob("child-*/*"):
        seen.secrets.append((stat.S_IMODE(path.stat().st_mode), path.read_bytes()))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    return seen


@dataclass
class Told:
    """Everything that anybody was told."""

    texts: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, where: str, text: str | bytes) -> None:
        self.texts.append((where, text.encode() if isinstance(text, str) else text))

    def ran(self, ran: Ran) -> Ran:
        self.add("client", ran.out + ran.err)
        return ran


@pytest.fixture
def ears() -> Iterator[Ears]:
    with MailPeer(Manners(password=CANARY)) as mail, HttpPeer() as http:
        http.repeats = True
        http.statuses = [500] * 5
        yield Ears(mail, http)


@pytest.fixture
def canary(
    server: PrivateServer, tmp_path: Path, fresh_name: str, ears: Ears
) -> Iterator[tuple[Product, PrivateServer, str]]:
    """A product at its most talkative, with the canary's instance and one of the same account with a wrong password."""
    _make_user(server)
    server.create_database(fresh_name)
    body = "repeat('some text to carry ', 2000)"
    server.sql("create table carried (a int primary key, b text)", fresh_name)
    for number in range(20):
        server.sql(f"insert into carried values ({number}, {body})", fresh_name)
    entry = instance(server, "one", username=USER, password=CANARY, database=[fresh_name])
    config: dict[str, Any] = {
        "logging": {"level": "DEBUG", "output": "both", "file_path": str(tmp_path / "logs" / "file.log")},
        "backup": {"lock_wait_timeout": "5m"},
        "notifications": ears.config,
    }
    config |= {"tools": gates(server, tmp_path / "gates")}
    instances = [entry, entry | {"id": "wrong", "password": WRONG}]
    product = Product(tmp_path, instances, servers=[server], config=config, environ=ears.environ)
    with product:
        yield product, server, fresh_name
    for name in (fresh_name, f"{fresh_name}_copy"):
        server.drop_database(name)
    server.sql(f"drop {'role' if server.kind == 'postgresql' else 'user'} {USER}")


def _make_user(server: PrivateServer) -> None:
    text = CANARY.replace("'", "''")
    if server.kind == "postgresql":
        server.sql(f"create role {USER} superuser login password '{text}'")
    else:
        text = text.replace("\\", "\\\\")
        server.sql(f"create user {USER}@'%' identified by '{text}'; grant all on *.* to {USER}@'%' with grant option")


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    for name, form in disguises(CANARY).items():
        assert f"right {name}" in leaks(b"before" + form + b"after")
    assert leaks(base64.b64encode(b"user:" + CANARY.encode() + b"@host"))
    assert leaks(json.dumps({"request": json.dumps({"password": CANARY})}).encode())
    assert not leaks(b"nothing of the kind")


def test_the_password_is_nowhere(canary: tuple[Product, PrivateServer, str], ears: Ears) -> None:
    product, server, database = canary
    told = Told()
    with holding(product, "dump") as at_dump:
        assert told.ran(product.ctl("backup", "--instance", "one", "--output", "json", "--verbose")).code == 0
    restore = ("restore", "--instance", "one", "--database", database, "--latest")
    with holding(product, "client") as at_restore:
        done = told.ran(product.ctl(*restore, "--target-database", f"{database}_copy", "--output", "json"))
        assert done.code == 0
    assert len(server.sql("select a from carried", f"{database}_copy")) == 20
    # A tool that crashes, a login that is refused, a target that is taken, a plan that is shown.
    with holding(product, "dump", kill=True) as at_crash:
        crashed = told.ran(product.ctl("backup", "--instance", "one", "--database", database, "--output", "json"))
        assert (crashed.code, _error_codes(crashed)) == (1, {"tool_killed"})
    for seen in (*at_dump, *at_restore, *at_crash):
        assert not leaks(seen.argv)
        assert not leaks(seen.environ)
        assert USER.encode() not in seen.environ
        assert {mode for mode, _ in seen.secrets} == {0o600}
        # And this is how the tool does get it, which also proves that there was something to be found.
        assert any(leaks(content) for _, content in seen.secrets)
    assert (len(at_dump), len(at_restore), len(at_crash)) == (1, 1, 1)
    assert not list((product.state_dir / "run").glob("child-*"))

    assert told.ran(product.ctl("backup", "--instance", "wrong", "--output", "json")).code == 1
    assert told.ran(product.ctl("backup", "--instance", "wrong")).code == 1
    assert told.ran(product.ctl(*restore)).code == 6
    assert told.ran(product.ctl(*restore, "--target-instance", "wrong", "--target-database", "x")).code == 1
    assert told.ran(product.ctl("verify", "--instance", "one", "--output", "json")).code == 0
    for arguments in (("config", "show"), ("config", "validate"), ("status",), ("credentials", "check")):
        assert told.ran(product.ctl(*arguments)).code == 0, arguments
    assert told.ran(product.ctl("config", "test-connections")).code != 0
    assert told.ran(product.ctl("notify", "test")).code in {0, 3}
    assert told.ran(product.ctl("audit", "show")).code == 0
    _provoke_plain_credentials(product, told)
    _ask_everything(product, told)

    product.stop()
    ears.check()
    for number, text in enumerate(ears.heard()):
        told.add(f"told {number}", text)
    _collect_files(product, told)
    found = {where: forms for where, text in told.texts if (forms := leaks(text))}
    assert found == {}
    named = {where for where, text in told.texts if USER.encode() in text and not where.endswith(".gz")}
    assert named == set()
    assert sum(len(text) for _, text in told.texts) > 20_000


def _error_codes(ran: Ran) -> set[str]:
    return {step["error"]["code"] for step in ran.json["steps"] if step["error"]}


def _provoke_plain_credentials(product: Product, told: Told) -> None:
    """Credentials that are refused while they hold the password in plain text, by client and by a running daemon."""
    place = Path(product.settings["credentials"]["file"])
    good = place.read_bytes()
    plain = product.root / "plain.json"
    plain.touch(mode=0o600)
    wrong_type = [entry | {"port": CANARY, "ssl": CANARY} for entry in product.instances]
    plain.write_text(json.dumps({"databases": wrong_type}))
    encrypt = ("credentials", "encrypt", "--input", str(plain), "--output", str(product.root / "other.json"))
    assert told.ran(product.ctl(*encrypt)).code == 78
    plain.unlink()
    for text in (json.dumps({"databases": product.instances}), json.dumps({"databases": wrong_type})[:-9], CANARY):
        place.write_text(text)
        assert told.ran(product.ctl("credentials", "check")).code == 78
        assert told.ran(product.ctl("config", "validate", "--output", "json")).code == 78
        refused = len(product.events("config.reload_refused"))
        product.signal(signal.SIGHUP)
        until(_more_than(product, refused))
    place.write_bytes(good)


def _more_than(product: Product, count: int) -> Callable[[], bool]:
    return lambda: len(product.events("config.reload_refused")) > count


def _ask_everything(product: Product, told: Told) -> None:
    client = ControlClient(str(product.socket_path))
    routes = [*GET_ROUTES]
    routes += [f"/v1/backups/{each['id']}" for each in client.get("/v1/backups")["backups"]]
    for each in client.get("/v1/operations")["operations"]:
        routes += [f"/v1/operations/{each['id']}", f"/v1/operations/{each['id']}/watch"]
    routes.remove("/v1/health")
    for route in routes:
        told.add(route, client.text(route, accept="*/*")[0])
    # The refused reloads above are among its reasons, in words that must not have the password either.
    healthy, health = client.health()
    assert not healthy
    assert "refused" in json.dumps(health)
    told.add("/v1/health", json.dumps(health, ensure_ascii=False))
    told.add("connections", json.dumps(client.post("/v1/connections/test", {}), ensure_ascii=False))
    for path in ("/health", "/health/ready", "/health/live", "/metrics"):
        told.add(path, product.get(path)[1])
    for body in ({"kind": "restore", "request": {"password": 1}}, {"kind": "backup", "request": {"instances": ["?"]}}):
        with pytest.raises(VyaError) as refused:
            client.post("/v1/operations", body)
        told.add("refusal", json.dumps(refused.value.to_json()))


def _collect_files(product: Product, told: Told) -> None:
    """Every file of the installation but its input: log, catalog with its journal, manifests, backups and their text."""
    for path in product.root.rglob("*"):
        if path.is_file():
            told.add(str(path), path.read_bytes())
            if path.suffix == ".gz":
                told.add(str(path), gzip.decompress(path.read_bytes()))
