"""What faults are injected into: a real server, an installation with a past, and all whom it tells of failures.

There are two small databases: ``NARROW`` is dumped by one session, ``WIDE`` by several. Their content is a function of a
number (``content``), so a backup can be judged by itself. Each has older backups, one of them held, and retention keeps
only some, so every new backup makes another one expire. A third database, ``VICTIM``, is what restores replace.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.killing import Control, Seen, Store, family
from tests.faults.content import Content
from tests.observe.peers import HttpPeer, MailPeer
from tests.uncovered import UNCOVERED
from tests.waiting import PATIENCE, until
from vya_backupd.errors import ServerError
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

NARROW, WIDE, VICTIM = "narrow", "wide", "victim"
INSTANCE = "one"
SESSIONS = 3
DAILY_KEEP = 3
_ROWS = {NARROW: 30, WIDE: 2500}
_FINAL = ("succeeded", "partial", "failed", "cancelled", "interrupted")


@dataclass(frozen=True, slots=True)
class Advance:
    """A transaction by which a database came to a generation: somewhere between these moments."""

    database: str
    generation: int
    began: datetime
    ended: datetime


@dataclass
class Bench:
    """One engine's scene. ``root`` holds everything but the server."""

    server: PrivateServer
    product: Product
    control: Control
    store: Store
    mail: MailPeer
    hook: HttpPeer
    generations: dict[str, int] = field(default_factory=dict)
    """How far each source database has come."""
    history: list[Advance] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """What works and invariants want to remember from one fault to the next, by their own names."""

    @property
    def kind(self) -> str:
        """``postgresql``, ``mariadb`` or ``mysql``."""
        return self.server.kind

    # the daemon's points

    @property
    def faults(self) -> Path:
        """The file of armed points, which the daemon reads whenever it passes one."""
        return self.product.root / "faults"

    def arm(self, text: str) -> None:
        """Put these points into force, in the daemon that runs and in those that follow."""
        for mark in ("hangs", "passed"):
            self.faults.with_name(f"faults.{mark}").unlink(missing_ok=True)
        fresh = self.faults.with_name("faults.new")
        fresh.write_text(text)
        fresh.replace(self.faults)

    @property
    def hangs_at(self) -> str | None:
        """The point at which the daemon hangs since the last ``arm``."""
        with suppress(FileNotFoundError):
            return self.faults.with_name("faults.hangs").read_text() or None
        return None

    @property
    def passed(self) -> list[str]:
        """The points that were noted since the last ``arm``, in order."""
        with suppress(FileNotFoundError):
            return self.faults.with_name("faults.passed").read_text().split()
        return []

    # what is there

    def content(self, database: str) -> Content:
        """What the source of this name holds, and its copies."""
        return Content(self.server, _ROWS[database])

    def advance(self, database: str) -> None:
        """One transaction more in a source database."""
        generation, began = self.generations[database] + 1, datetime.now(UTC)
        self.content(database).advance(database, generation)
        self.generations[database] = generation
        self.history.append(Advance(database, generation, began, datetime.now(UTC)))

    def generations_of(self, database: str, began: datetime, ended: datetime) -> range:
        """Which generations a copy of a source may be that was taken between these moments."""
        mine = [each for each in self.history if each.database == database]
        lowest = max([0, *(each.generation for each in mine if each.ended <= began)])
        return range(lowest, 1 + max([lowest, *(each.generation for each in mine if each.began <= ended)]))

    @contextmanager
    def written_to(self, database: str) -> Iterator[None]:
        """Transactions in a source one after the other, for as long as its server takes them."""
        over = threading.Event()
        began = datetime.now(UTC)

        def write() -> None:
            with suppress(ServerError):
                while not over.is_set():
                    self.advance(database)

        writer = threading.Thread(target=write, name="writer")
        writer.start()
        try:
            yield
        finally:
            over.set()
            writer.join()
        self.server.start()
        there = self.content(database).generation(database)
        if there != self.generations[database]:  # the server died behind a commit, before it said so
            self.generations[database] = there
            self.history.append(Advance(database, there, began, datetime.now(UTC)))

    def reset_victim(self) -> None:
        """Make the database that is to be replaced what it was at first."""
        self.server.drop_database(VICTIM)
        self.server.create_database(VICTIM)
        self.server.sql("CREATE TABLE only_here (id int PRIMARY KEY); INSERT INTO only_here VALUES (1), (2)", VICTIM)

    def is_original(self, database: str = VICTIM) -> bool:
        """Whether this still is the database that was to be replaced, as it was."""
        schema = "public" if self.kind == "postgresql" else database
        tables = f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'"
        if ("only_here",) not in self.server.sql(tables, database):
            return False
        return self.server.sql("SELECT id FROM only_here ORDER BY id", database) == [("1",), ("2",)]

    def databases(self) -> list[str]:
        """All databases of the server but its own."""
        own = {"information_schema", "performance_schema", "sys", "mysql", "postgres", "template0", "template1"}
        query = "SELECT datname FROM pg_database" if self.kind == "postgresql" else "SHOW DATABASES"
        return sorted(name for (name,) in self.server.sql(query) if name not in own)

    # the daemon and its work

    @property
    def is_up(self) -> bool:
        """Whether the daemon's process lives."""
        return self.product.daemon is not None and self.product.daemon.poll() is None

    @property
    def children(self) -> list[Seen]:
        """The living processes that the daemon has started."""
        found = family(self.product.process.pid) if self.is_up else []
        return [each for each in found if each.alive and "multiprocessing" not in each.command]

    def revive(self) -> None:
        """Take every injection away and start what is dead: server first, then the daemon."""
        self.arm("")
        self.server.start()
        if not self.is_up:
            self.product.start()

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the catalog's file itself, whatever state the daemon is in."""
        path = self.product.state_dir / "catalog.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as catalog:
            return catalog.execute(statement, values).fetchall()

    def state(self, operation: str) -> str | None:
        """An operation's state on record; None where there is none, or no catalog."""
        with suppress(sqlite3.Error):
            for (state,) in self.query("SELECT state FROM operations WHERE id = ?", operation):
                return str(state)
        return None

    def is_over(self, operation: str) -> bool:
        """Whether it is on record that this has ended."""
        return self.state(operation) in _FINAL

    def unfinished(self) -> list[tuple[Any, ...]]:
        """Operations that run or wait."""
        return self.query("SELECT id, kind, state FROM operations WHERE state IN ('queued', 'running')")

    def settle(self, seconds: float = PATIENCE) -> None:
        """Wait until nothing runs or waits, in a daemon that lives."""
        until(lambda: not self.unfinished(), seconds, f"still there: {self.unfinished()}")

    def submit(self, kind: str, **request: Any) -> str:
        """Submit an operation. Returns its id."""
        answer = self.control.ask("POST", "/v1/operations", {"kind": kind, "request": request})
        if "operation" not in answer:
            raise AssertionError(f"{kind} was refused: {json.dumps(answer)}")
        return str(answer["operation"]["id"])

    def done(self, kind: str, **request: Any) -> dict[str, Any]:
        """The same, and its record when it has ended well."""
        record = self.control.finished(self.submit(kind, **request))
        assert record["operation"]["state"] == "succeeded", record
        return record

    def back_up(self, database: str) -> str:
        """A calm backup. Returns its id."""
        record = self.done("backup", instances=[INSTANCE], databases=[database], globals=False)
        return str(record["backups"][0]["id"])

    def backups(self, database: str | None = None) -> list[dict[str, Any]]:
        """What the daemon lists, oldest first."""
        found = [each for each in self.control.backups().values() if database in (None, each["database"])]
        return sorted(found, key=lambda each: (str(each["taken_at"]), str(each["id"])))

    def hold(self, backup: str, *, wanted: bool = True) -> None:
        """Hold a backup, or release it: then it may go."""
        if not wanted and backup in self.notes.get("known", {}):
            self.notes["known"][backup] = False
        self.control.ask("POST", f"/v1/backups/{backup}/{'hold' if wanted else 'release'}", {"note": "the bench"})


def config_of(mail: MailPeer, hook: HttpPeer) -> dict[str, Any]:
    """What is laid over the configuration of a bench: everybody is told, much expires, nothing waits long."""
    return {
        "application": {"stop_deadline": "1s"},
        "backup": {
            "free_space_factor": 0,
            "parallel_per_database": SESSIONS,
            "parallel_piece_size": 1 << 18,
            "stall_timeout": "5s",
            "lock_wait_timeout": "5s",
        },
        "storage": {
            "retention": {"cleanup_enabled": True, "strategy": "simple", "daily_keep": DAILY_KEEP, "minimum_keep": 1}
        },
        "notifications": {
            "retry_wait": "200ms",
            "email": {
                "enabled": True,
                "smtp_host": "127.0.0.1",
                "smtp_port": mail.port,
                "use_tls": False,
                "from_address": "bench@example.com",
                "success_recipients": [],
                "error_recipients": ["ops@example.com"],
                "digest_after": 1000,
                "digest_window": "1s",
            },
            "webhooks": [{"url": hook.url("/hook")}],
        },
    }


@contextmanager
def opened(server: PrivateServer, root: Path, **config: Any) -> Iterator[Bench]:
    """A bench on a running server, with a past and a running daemon; ``config`` is laid over its configuration.

    Its databases are dropped at the end, its daemon is killed.
    """
    with ExitStack() as stack:
        mail, hook = stack.enter_context(MailPeer()), stack.enter_context(HttpPeer())
        product = Product(
            root,
            [instance(server, INSTANCE, database=[NARROW, WIDE])],
            servers=[server],
            config=_laid_over(config_of(mail, hook), config),
            environ=UNCOVERED | {"VYA_FAULTS": f"@{root / 'faults'}"},
        )
        bench = Bench(server, product, Control(product), Store(product), mail, hook)
        stack.callback(_leave, bench)
        for database in (NARROW, WIDE):
            bench.content(database).fill(database)
            bench.generations[database] = 0
        bench.reset_victim()
        bench.arm("")
        product.start()
        _make_past(bench)
        yield bench


def _laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _laid_over(below.get(key, {}), value) for key, value in above.items()}


def _make_past(bench: Bench) -> None:
    """Backups of several generations; the oldest of each database is held."""
    for database in (NARROW, WIDE):
        for _ in range(2):
            bench.advance(database)
            bench.back_up(database)
        bench.hold(bench.backups(database)[0]["id"])
    bench.settle()


def _leave(bench: Bench) -> None:
    if bench.is_up:
        bench.product.kill()
    bench.server.start()
    for database in bench.databases():
        bench.server.drop_database(database)


def paused(seconds: float) -> None:
    """Let a moment pass that is itself the fault: how long something stood still."""
    time.sleep(seconds)
