"""See it work: ``python -m vya_backupd.testing.demo``, or ``make demo``.

Private servers with sample data, a real daemon, and the real client: back up, list, verify; find a flipped bit; restore
beside the original; restore a database that was dropped; restore with nothing but zcat and the vendor's client. Every
restored row is compared with its original, and the server's own dumps as well. What is printed has been measured, and
the exit status is 1 when any comparison failed.

With ``--keep`` everything runs on until Ctrl-C, and the way to talk to it is printed. What was started is stopped, and
what was written is deleted, whatever the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from vya_backupd.testing import compare, sample
from vya_backupd.testing.discover import find_servers, missing_servers
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer, ServerSpec

_LONGEST_FOLDER = 60
"""Bytes; the control socket's whole path may have 107."""
_COLUMNS = "118"


class Failed(Exception):  # noqa: N818 - the end of a show, not an error of a program
    """Something that the rest of the demonstration stands on did not work."""


class Stage:
    """Prints what happens and remembers what was false."""

    def __init__(self) -> None:
        self.checks: list[tuple[str, bool]] = []
        self._began = time.monotonic()

    def head(self, text: str) -> None:
        """A new part."""
        print(f"\n== {text}  [{time.monotonic() - self._began:.1f} s]", flush=True)

    def say(self, text: str) -> None:
        """One line, or several."""
        print("   " + text.rstrip().replace("\n", "\n   "), flush=True)

    def check(self, text: str, ok: bool) -> None:
        """A statement that was measured, with its outcome."""
        self.checks.append((text, ok))
        print(f"   {'[ok]  ' if ok else '[FAIL]'} {text}", flush=True)

    def end(self) -> int:
        """The summary; the exit status."""
        failed = [text for text, ok in self.checks if not ok]
        seconds = time.monotonic() - self._began
        print(f"\n{len(self.checks) - len(failed)} of {len(self.checks)} checks passed in {seconds:.1f} s")
        for text in failed:
            print(f"FAILED: {text}")
        return 1 if failed or not self.checks else 0


class Demo:
    """The whole show, on servers that run already."""

    def __init__(self, stage: Stage, product: Product, servers: dict[str, PrivateServer]) -> None:
        self._stage = stage
        self._product = product
        self._servers = servers

    def run(self) -> None:
        """All parts in their order.

        Raises:
            Failed: a command failed that the rest stands on.
        """
        self._look()
        self._back_up()
        self._verify()
        for instance_id, server in self._servers.items():
            self._stage.head(f"Restore on {instance_id}")
            before = compare.row_digests(server, sample.SHOP)
            self._restore_beside(instance_id, server, before)
            self._restore_lost(instance_id, server, before)
            self._restore_by_hand(instance_id, server, before)
        self._stage.head("Afterwards")
        self._vyactl("operations", "list")

    def _look(self) -> None:
        self._stage.head("A daemon")
        began = time.monotonic()
        self._product.start()
        self._stage.say(f"answers after {time.monotonic() - began:.2f} s, process {self._product.process.pid}")
        for path in ("/health", "/health/ready"):
            status, body = self._product.get(path)
            self._stage.say(f"GET {path}: {status} {body}")
        self._vyactl("config", "test-connections")

    def _back_up(self) -> None:
        self._stage.head("Back up everything")
        self._vyactl("backup")
        self._vyactl("backups", "list")
        wanted = {(each, name) for each in self._servers for name in (sample.SHOP, sample.NOTES)}
        listed = self._product.ok("backups", "list")["backups"]
        there = {(each["instance"], each["database"]) for each in listed}
        self._stage.check(f"{len(wanted)} databases on {len(self._servers)} servers have a backup", wanted <= there)
        for each in self._servers:
            path = self._newest(each)
            beside = sorted(file.name for file in path.parent.iterdir() if file.name.startswith(path.name))
            self._stage.say(f"{path.parent}:\n" + "\n".join(f"  {name}" for name in beside))

    def _verify(self) -> None:
        self._stage.head("Verify, and find a flipped bit")
        first, *_ = self._servers
        for each in self._servers:
            self._vyactl("verify", "--instance", each)
        damaged = self._product.root / "damaged.sql.gz"
        data = bytearray(self._newest(first).read_bytes())
        data[len(data) // 2] ^= 0x10
        damaged.write_bytes(data)
        ran = self._product.ctl("verify", "--file", str(damaged), environ={"COLUMNS": _COLUMNS})
        self._stage.say(f"$ vyactl verify --file {damaged}\n{ran.out}{ran.err}")
        self._stage.check("one flipped bit in the middle of a copy is found (exit code 5)", ran.code == 5)

    def _restore_beside(self, instance_id: str, server: PrivateServer, before: dict[str, dict[str, str]]) -> None:
        copy = f"{sample.SHOP}_copy"
        self._restore(instance_id, "--target-database", copy, *self._with_events(server))
        self._compare(server, before, copy, "the copy")
        same = compare.own_dump(server, sample.SHOP) == compare.own_dump(server, copy)
        self._stage.check(f"{_tool(server)} writes the same for original and copy", same)

    def _restore_lost(self, instance_id: str, server: PrivateServer, before: dict[str, dict[str, str]]) -> None:
        dumped = compare.own_dump(server, sample.SHOP, create=True)
        server.drop_database(sample.SHOP)
        self._stage.say(f"DROP DATABASE {sample.SHOP}, on purpose")
        self._restore(instance_id)
        self._compare(server, before, sample.SHOP, "the lost database")
        same = compare.own_dump(server, sample.SHOP, create=True) == dumped
        self._stage.check(
            f"{_tool(server)} writes the same as before the loss, settings of the database included", same
        )

    def _restore_by_hand(self, instance_id: str, server: PrivateServer, before: dict[str, dict[str, str]]) -> None:
        path, name = self._newest(instance_id), f"{sample.SHOP}_by_hand"
        client = "psql" if server.kind == "postgresql" else server.tools["client"].name
        self._stage.say(f"$ zcat {path.name} | {client} {name}")
        done = subprocess.run(["zcat", str(path)], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        text = done.stdout.decode()
        self._stage.say("\n".join(["  | " + line for line in text.splitlines()[:8]] + ["  | ..."]))
        server.create_database(name)
        server.sql(text, name)
        self._compare(server, before, name, "the one restored by hand")

    def _with_events(self, server: PrivateServer) -> list[str]:
        # Events of a copy would be disabled, and the dumps would differ in that.
        return [] if server.kind == "postgresql" else ["--enable-events"]

    def _restore(self, instance_id: str, *more: str) -> None:
        self._vyactl("restore", "--instance", instance_id, "--database", sample.SHOP, "--latest", "--yes", *more)

    def _compare(self, server: PrivateServer, before: dict[str, dict[str, str]], name: str, what: str) -> None:
        tables = compare.compare_rows(before, compare.row_digests(server, name))
        for each in tables:
            if not each.ok:
                self._stage.say(f"{each.table}: {each.changed} changed, {each.lost} lost, {each.added} added")
        rows = sum(each.same for each in tables)
        ok = rows > 0 and all(each.ok for each in tables)
        self._stage.check(f"{rows:,} rows in {len(tables)} tables of {what} are those of the original, by key", ok)

    def _newest(self, instance_id: str) -> Path:
        listed = self._product.ok("backups", "list", "--instance", instance_id, "--database", sample.SHOP)
        return Path(listed["backups"][0]["file"])

    def _vyactl(self, *arguments: str) -> None:
        """Run a command and show what it printed. Raises Failed."""
        shown = " ".join(f"'{each}'" if " " in each else each for each in arguments)
        self._stage.say(f"$ vyactl {shown}")
        ran = self._product.ctl(*arguments, environ={"COLUMNS": _COLUMNS})
        self._stage.say(ran.out)
        if ran.code != 0:
            raise Failed(f"vyactl {shown} ended with {ran.code}:\n{ran.err}{self._product.log()[-3000:]}")


def _tool(server: PrivateServer) -> str:
    return server.tools["pg_dump" if server.kind == "postgresql" else "dump"].name


def _chosen(stage: Stage) -> dict[str, ServerSpec]:
    """What to show it on: PostgreSQL, the wheel's before others, and MariaDB where there is one."""
    stage.head("Servers")
    found = find_servers()
    postgresql = [spec for spec in found if spec.kind == "postgresql"]
    mariadb = [spec for spec in found if spec.kind == "mariadb"]
    chosen = {}
    if postgresql:
        chosen["demo-pg"] = next((spec for spec in postgresql if "wheel" in spec.origin), postgresql[-1])
    if mariadb:
        chosen["demo-maria"] = mariadb[0]
    else:
        way = missing_servers().get("mariadb", "make servers")
        stage.say(f"NO MARIADB HERE: this shows PostgreSQL only. To see both, get it by: {way}")
    if not chosen:
        raise Failed("this machine has no database server to show anything on: run 'make setup' and 'make servers'")
    return chosen


def _started(stage: Stage, specs: dict[str, ServerSpec], stack: contextlib.ExitStack) -> dict[str, PrivateServer]:
    servers = {}
    for instance_id, spec in specs.items():
        server = stack.enter_context(spec.start())
        sample.fill(server)
        servers[instance_id] = server
        rows = sum(map(len, compare.row_digests(server, sample.SHOP).values()))
        size = len(compare.own_dump(server, sample.SHOP))
        stage.say(
            f"{instance_id}: {spec.label} {spec.version} ({spec.origin}) on {server.host}:{server.port};"
            f" {sample.SHOP!r} has {rows:,} rows, {size / 1e6:.1f} MB of dump"
        )
    return servers


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) > _LONGEST_FOLDER:
        parent = "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="vya-demo-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(product: Product, servers: dict[str, PrivateServer]) -> None:
    """Say how to talk to it, and wait to be told to end."""
    port = product.events("public.listening")[-1]["port"]
    print(f"""
Everything runs on, until Ctrl-C here. In another terminal:

    export VYA_SOCKET={product.socket_path} VYA_CONFIG={product.config_path}
    {Path(sys.executable).parent / "vyactl"} status

    health    http://127.0.0.1:{port}/health
    metrics   http://127.0.0.1:{port}/metrics
    backups   {product.base_path}
    log       {product.log_path}
""")
    for instance_id, server in servers.items():
        client = server.tools["psql" if server.kind == "postgresql" else "client"]
        print(f"    {instance_id}: {client}, {server.host} port {server.port}, user {server.admin_user},", end=" ")
        print(f"password {server.admin_password}", flush=True)
    while True:
        signal.pause()


def run(*, keep: bool) -> int:
    """The whole demonstration. Returns the exit status."""
    stage = Stage()
    servers: dict[str, PrivateServer] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(_clean_up_undisturbed)
        try:
            servers = _started(stage, _chosen(stage), stack)
            product = Product(
                stack.enter_context(_folder()),
                [instance(server, instance_id) for instance_id, server in servers.items()],
                servers=list(servers.values()),
                config={"application": {"hostname": "demo", "stop_deadline": "5s"}},
            )
            stack.callback(product.stop)
            stack.callback(_clean_up_undisturbed)
            Demo(stage, product, servers).run()
        except Failed as failure:
            stage.check(str(failure), ok=False)
        status = stage.end()
        if keep and product.daemon is not None:
            _keep(product, servers)
    return status


def _clean_up_undisturbed() -> None:
    """From here on a second Ctrl-C does not leave servers behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _told_to_end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="demo", description="See a backup and its restores work, on private servers.")
    parser.add_argument("--keep", action="store_true", help="leave servers and daemon running until Ctrl-C")
    keep = parser.parse_args().keep
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _told_to_end)
    return run(keep=keep)


if __name__ == "__main__":
    sys.exit(main())
