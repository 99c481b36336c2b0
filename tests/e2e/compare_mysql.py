"""Whether two databases of MySQL or MariaDB are the same: by the server's own dump, and by checksums of its rows.

The rig beside it: an installation with two servers of one kind, the first with data, the second empty.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

SCHEMAS = Path(__file__).parent / "schemas"
_MOVING = re.compile(rb"^(-- Dump completed|-- Host: |-- (MariaDB|MySQL) dump ).*\n", re.MULTILINE)
_EVENT_STATE = re.compile(rb"\b(ENABLE|DISABLE)(?= (?:COMMENT '[^\n]*' )?DO )")


@dataclass(frozen=True)
class Pair:
    """Two servers, ``one`` and ``two`` to the product."""

    product: Product
    one: PrivateServer
    two: PrivateServer

    @property
    def is_mariadb(self) -> bool:
        return self.one.kind == "mariadb"

    def backup(self, database: str) -> dict[str, Any]:
        """Back up a database of the first server; the record of the one backup."""
        found = self.product.ok("backup", "--instance", "one", "--database", database)
        (backup,) = found["backups"]
        return dict(backup)

    def restore(self, database: str, *more: str) -> Any:
        """Restore its newest backup."""
        return self.product.ok("restore", "--instance", "one", "--database", database, "--latest", *more)

    def file_of(self, backup: dict[str, Any]) -> Path:
        """A backup's data file."""
        return self.product.base_path / str(backup["file"])


@contextlib.contextmanager
def running_pair(one: PrivateServer, root: Path, **settings: Any) -> Iterator[Pair]:
    """An installation that knows a server and a new one of the same kind."""
    with one.spec.start(root) as two:
        product = Product(root / "product", [instance(one, "one"), instance(two, "two")], servers=[one], **settings)
        with product:
            yield Pair(product, one, two)


def client(server: PrivateServer, sql: bytes, database: str, *options: str) -> str:
    """Run SQL as ``zcat FILE | mysql`` would, but in binary mode; raise when it fails."""
    with option_file(server) as file:
        command = [str(server.tools["client"]), f"--defaults-file={file}", "--binary-mode", *options, database]
        done = subprocess.run(command, input=sql, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="replace")


def load_schema(server: PrivateServer, database: str, *files: str) -> None:
    """Make a database from the files of ``schemas``."""
    for name in (database, database + " other"):
        server.drop_database(name)
        server.create_database(name, "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    text = b"".join((SCHEMAS / name).read_bytes() for name in files)
    text = text.replace(b"@CR@", b"\r").replace(b"@DB@", database.encode())
    client(server, text, database, "--default-character-set=utf8mb4", "--comments")


def own_dump(server: PrivateServer, database: str, called: str) -> bytes:
    """The server's own dump of everything in a database, without what differs between two dumps of the same.

    The database's own name, where the server writes it out, becomes ``called``.
    """
    options = ["--single-transaction", "--routines", "--events", "--triggers", "--hex-blob", "--skip-dump-date"]
    if server.kind == "mariadb":
        options.append("--dump-history")
    else:
        options += ["--set-gtid-purged=OFF", "--column-statistics=0"]
    with option_file(server) as file:
        command = [str(server.tools["dump"]), f"--defaults-file={file}", *options, "--no-tablespaces", "--", database]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    text = _MOVING.sub(b"", done.stdout).replace(b"`%s`." % database.encode(), b"`%s`." % called.encode())
    text = text.replace(b"database '%s'" % database.encode(), b"database '%s'" % called.encode())
    own = re.escape(b"`%s`" % called.encode()) + rb" ?\. ?"
    # Calls and triggers that were typed with the database's name lose it in a backup: it says nothing.
    text = re.sub(own + rb"(`plain`\()|(?<=TRIGGER )" + own + rb"|(?<= INSERT ON )" + own, rb"\1", text)
    # MySQL repeats the character set of a column that was given a collation.
    return text.replace(b" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", b" COLLATE utf8mb4_bin")


def without_event_states(dump: bytes) -> bytes:
    """The dump, with every event disabled."""
    return _EVENT_STATE.sub(b"DISABLE", dump)


def checksums(server: PrivateServer, database: str) -> dict[str, str]:
    """CHECKSUM TABLE of every base table, read row by row."""
    where = "TABLE_SCHEMA = database() AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
    names = server.sql(f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE {where}", database)
    listed = ", ".join(server.quote_name(name) for (name,) in names)
    rows = server.sql(f"CHECKSUM TABLE {listed} EXTENDED", database) if names else []
    return {row[0].removeprefix(database + "."): row[1] for row in rows}


def assert_same(one: PrivateServer, database: str, two: PrivateServer, copy: str, *, events_off: bool = False) -> None:
    """The two databases are the same in definitions, rows, routines, triggers and events."""
    sums, copied = checksums(one, database), checksums(two, copy)
    assert not set(sums.items()) ^ set(copied.items()), sorted(set(sums.items()) ^ set(copied.items()))
    wanted, found = own_dump(one, database, database), own_dump(two, copy, database)
    if events_off:
        wanted = without_event_states(wanted)
    difference = difflib.unified_diff(_lines(wanted), _lines(found), "original", "copy", lineterm="", n=1)
    assert wanted == found, "\n".join(difference)
    assert properties(two, copy) == properties(one, database)


def _lines(dump: bytes) -> list[str]:
    return [line[:2000] for line in dump.decode("utf-8", "backslashreplace").split("\n")]


def properties(server: PrivateServer, database: str) -> tuple[str, ...]:
    """Character set, collation and comment of a database."""
    sql = "SELECT * FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "
    return server.sql(sql + f"_utf8mb4 0x{database.encode().hex()}")[0][2:]


@contextlib.contextmanager
def option_file(server: PrivateServer) -> Iterator[Path]:
    """A login for the server's own programs."""
    file = server.directory / f"compare-{os.urandom(4).hex()}.cnf"
    file.touch(mode=0o600)
    file.write_text(f'[client]\nuser={server.admin_user}\npassword="{server.admin_password}"\nsocket={server.socket}\n')
    try:
        yield file
    finally:
        file.unlink()
