"""Very many tables in one database: time for each, the daemon's memory, and the bare tool beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.measure import resident, table
from tests.e2e import compare, compare_mysql
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer, ServerSpec

_DATABASE = "many_tables"
_AT_ONCE = 1000
_SETTINGS = {
    "postgresql": {"max_locks_per_transaction": "512"},
    "mariadb": {"innodb_file_per_table": "0", "table_open_cache": "2000"},
    "mysql": {"innodb_file_per_table": "0", "table_open_cache": "2000"},
}


def many(spec: ServerSpec, root: Path, count: int) -> str:
    """A table: what was done, seconds, milliseconds for each table."""
    with spec.start(settings=_SETTINGS[spec.kind]) as server:
        rows = [_timed(f"make {count:,} tables (not the product's work)", count, lambda: _make(server, count))]
        rows.append(_timed("the tool alone", count, lambda: _by_the_tool(server)))
        with Product(root, [instance(server, "one", database=[_DATABASE])], servers=[server]) as product:
            pid = product.process.pid
            rows.append(_timed("backup", count, lambda: product.ok("backup", "--database", _DATABASE)))
            rows.append(["the daemon at most, so far", f"{resident(pid, 'VmHWM'):.0f} MB", ""])
            rows.append(_timed("verify", count, lambda: product.ok("verify", "--instance", "one", "--all")))
            where = ("--instance", "one", "--database", _DATABASE, "--latest", "--target-database", "copy")
            rows.append(_timed("restore", count, lambda: product.ok("restore", *where)))
            rows.append(["the daemon at most", f"{resident(pid, 'VmHWM'):.0f} MB", ""])
            backup = product.files()[-1]
            rows.append(["backup file", f"{backup.stat().st_size / 1e6:.1f} MB", ""])
            sidecar = Path(f"{backup}.metadata.json")
            rows.append(["manifest", f"{sidecar.stat().st_size / 1e6:.1f} MB", ""])
    return f"### {count:,} tables: {spec.label}\n\n{table(['what', '', 'ms for each table'], rows)}"


def _make(server: PrivateServer, count: int) -> None:
    server.create_database(_DATABASE)
    for first in range(0, count, _AT_ONCE):
        statements = (
            f"create table t{number} (id int primary key, v varchar(20)); insert into t{number} values ({number}, 'x');\n"
            for number in range(first, min(first + _AT_ONCE, count))
        )
        server.sql("".join(statements), _DATABASE)


def _by_the_tool(server: PrivateServer) -> object:
    if server.kind == "postgresql":
        return compare.dump(server, _DATABASE)
    return compare_mysql.own_dump(server, _DATABASE, _DATABASE)


def _timed(what: str, count: int, work: Callable[[], object]) -> list[str]:
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return [what, f"{seconds:.1f} s", f"{seconds / count * 1000:.1f}"]
