"""What must be true after every fault, once whatever died was started again.

Each invariant is a function that raises when it is broken; ``broken`` asks all of them and returns what they said, by
name. They look at files, servers and the other side's ears themselves, and take the daemon's word for nothing that can
be seen from outside.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.e2e.compare_mysql import option_file
from tests.faults.rig import INSTANCE, NARROW, VICTIM, WIDE, Bench
from tests.faults.telling import told_everywhere
from tests.faults.works import FRESH
from tests.waiting import PATIENCE, until
from vya_backupd.dumpfile.manifest import decode_manifest
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import BackupType, Manifest

PROOF = "proof"
"""The database that backups are restored into, to see what is in them."""
_CHILD_SECONDS = 3.0


def idle(bench: Bench) -> None:
    """Nothing runs, nothing waits, and no program of the daemon's is left."""
    bench.settle()
    until(lambda: not bench.children, PATIENCE, f"still alive: {bench.children}")


def alive(bench: Bench) -> None:
    """The daemon answers at both doors."""
    assert bench.is_up, "the daemon is not up"
    status, body = bench.product.get("/health/live")
    assert status == 200, body
    assert "backups" in bench.control.ask("GET", "/v1/backups"), "the control socket does not answer"


def whole(bench: Bench) -> None:
    """Every backup that can be seen is proven from its first byte to its last."""
    bench.store.backups()


def tidy(bench: Bench) -> None:
    """Nothing lies around that is no backup: no partial file, no tombstone, no secret, no note of a restore."""
    strays, secrets = bench.store.strays(), bench.store.secrets()
    assert strays == [], f"neither backups nor parts of them: {strays}"
    assert secrets == [], f"secrets of children that are gone: {secrets}"
    _end_restores(bench)
    notes = sorted((bench.product.state_dir / "restores").glob("*")) + sorted(bench.product.state_dir.glob("*undo-*"))
    assert notes == [], [each.read_text() for each in notes]


def kept(bench: Bench) -> None:
    """Every backup that was there is there, unless retention said why not; one that was held is there in any case."""
    there = manifests(bench)
    known: dict[str, bool] = bench.notes.setdefault("known", {})
    expired = {
        data["backup_id"]: data.get("reasons")
        for (text,) in bench.query("SELECT data FROM events WHERE name = 'backup.expired'")
        for data in [json.loads(text)]
    }
    for backup in known.keys() - there.keys():
        assert expired.get(backup), f"backup {backup} is gone, and nobody said why"
        assert not known[backup], f"backup {backup} is gone though it was held"
    bench.notes["known"] = {each.facts.id: each.hold is not None for each in there.values()}


def indexed(bench: Bench) -> None:
    """The catalog is what the files are: the same backups, held alike, at the same places, as well proven."""
    files = {
        each.facts.id: (each.hold is not None, str(each.proof), each.size_bytes) for each in manifests(bench).values()
    }
    listed = {
        each["id"]: (each["held"], each["proof"], each["size_bytes"]) for each in bench.control.backups().values()
    }
    assert listed == files, f"the catalog has {listed}, the store {files}"


def rebuilt(bench: Bench) -> None:
    """A catalog that is made anew is the one that was there."""
    before = bench.control.backups()
    bench.done("rebuild")
    after = bench.control.backups()
    assert after == before, f"a rebuild turns {before} into {after}"


def untouched(bench: Bench) -> None:
    """The server has the databases and accounts that it should have, and no others."""
    allowed = {NARROW, WIDE, VICTIM, FRESH}
    assert set(bench.databases()) <= allowed, f"databases that nobody asked for: {set(bench.databases()) - allowed}"
    accounts = _accounts(bench)
    first = bench.notes.setdefault("accounts", accounts)
    assert accounts == first, f"accounts were {first} and are {accounts}"
    for database in (NARROW, WIDE):
        assert bench.content(database).generation(database) == bench.generations[database], f"{database} has changed"


def contents(bench: Bench) -> None:
    """The newest backups hold what the source held when they were taken; the vendor's own client restores them."""
    seen: set[str] = bench.notes.setdefault("restored", set())
    new = [each for each in manifests(bench).values() if each.facts.id not in seen]
    for database in (NARROW, WIDE):
        mine = [each for each in new if each.facts.database == database and each.facts.type is BackupType.FULL]
        newest = sorted(mine, key=lambda each: each.facts.taken_at)[-1:]
        for manifest in newest:
            restored = restored_generation(bench, manifest)
            facts = manifest.facts
            wanted = bench.generations_of(database, facts.started_at, facts.taken_at)
            assert restored in wanted, f"{facts.id} holds generation {restored} of {database}, not of {wanted}"
    seen |= {each.facts.id for each in new}


INVARIANTS: dict[str, Callable[[Bench], None]] = {
    "alive": alive,
    "idle": idle,
    "tidy": tidy,
    "whole": whole,
    "kept": kept,
    "indexed": indexed,
    "untouched": untouched,
    "contents": contents,
    "told": told_everywhere,
}
"""What is asked after every fault, in this order."""
RARE: dict[str, Callable[[Bench], None]] = {"rebuilt": rebuilt}
"""What is asked now and then, and at the end."""


def broken(bench: Bench, asked: dict[str, Callable[[Bench], None]] | None = None) -> dict[str, str]:
    """What is not as it must be, by the name of the invariant. Empty when all is well."""
    found = {}
    for name, ask in (INVARIANTS if asked is None else asked).items():
        try:
            ask(bench)
        except (AssertionError, VyaError, OSError, RuntimeError, ValueError, KeyError, HTTPException) as error:
            found[name] = f"{type(error).__name__}: {error}"[:2000]
    return found


# how they look


def manifests(bench: Bench) -> dict[str, Manifest]:
    """Every manifest in the store, by backup."""
    found = {}
    for path in sorted(bench.product.base_path.rglob("*.metadata.json")):
        with suppress(FileNotFoundError):
            manifest = decode_manifest(path.read_bytes())
            found[manifest.facts.id] = manifest
    return found


def restored_generation(bench: Bench, manifest: Manifest) -> int:
    """Restore a backup with nothing but the vendor's client, and say which generation it is.

    Raises:
        AssertionError: the client fails, or what it made is not whole.
    """
    (data,) = bench.product.base_path.rglob(manifest.filename)
    bench.server.drop_database(PROOF)
    bench.server.create_database(PROOF)
    try:
        with _client(bench, PROOF) as (argv, environ):
            done = subprocess.run(
                argv, input=gzip.decompress(data.read_bytes()), env=environ, capture_output=True, check=False
            )
        assert done.returncode == 0, f"{manifest.facts.id} does not restore: {done.stderr.decode(errors='replace')}"
        return bench.content(manifest.facts.database).generation(PROOF)
    finally:
        bench.server.drop_database(PROOF)


@contextmanager
def _client(bench: Bench, database: str) -> Any:
    """The vendor's client, which stops at the first error: its command line and environment."""
    server = bench.server
    if server.kind == "postgresql":
        place = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.admin_user}
        argv = [str(server.tools["psql"]), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database]
        yield argv, os.environ | place | {"PGPASSWORD": server.admin_password}
        return
    with option_file(server) as login:
        yield [str(server.tools["client"]), f"--defaults-file={login}", "--binary-mode", database], dict(os.environ)


def _accounts(bench: Bench) -> list[tuple[str, ...]]:
    if bench.kind == "postgresql":
        return bench.server.sql("SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY 1")
    return bench.server.sql("SELECT user, host FROM mysql.user ORDER BY 1, 2")


def _end_restores(bench: Bench) -> None:
    """What a dead restore has left goes with the next plan of one; where a person is asked to lead back, we are it."""
    folder = bench.product.state_dir / "restores"
    if not list(folder.glob("*.json")):
        return
    _plan(bench)
    for path in sorted(folder.glob("*.json")):
        swapping = json.loads(path.read_text()).get("swapping")
        if swapping:
            _lead_back(bench, Path(swapping["script"]))
            _drop_empty(bench, swapping["aside"])
    _plan(bench)


def _plan(bench: Bench) -> None:
    request = {"instance": INSTANCE, "database": NARROW, "latest": True, "target_database": FRESH}
    bench.control.ask("POST", "/v1/restore/plan", request)


def _drop_empty(bench: Bench, database: str) -> None:
    """What then is left under the name that stood aside is for the person to drop, as the status says."""
    if bench.kind != "postgresql" and database in bench.databases():
        tables = bench.server.sql(f"SHOW TABLES FROM {bench.server.quote_name(database)}")
        assert not tables, f"the way back was taken, and {database} has {tables}"
        bench.server.drop_database(database)


def _lead_back(bench: Bench, script: Path) -> None:
    """What status and log tell a person to run."""
    if bench.kind == "postgresql":
        with _client(bench, "postgres") as (argv, environ):
            argv = [each for each in argv if not each.startswith("ON_ERROR_STOP") and each != "-v"]
            subprocess.run([*argv, "-f", str(script)], env=environ, capture_output=True, check=False)
        return
    with option_file(bench.server) as login, script.open("rb") as text:
        argv = [str(bench.server.tools["client"]), f"--defaults-file={login}", "--binary-mode", "--comments", "--force"]
        subprocess.run(argv, stdin=text, capture_output=True, check=False)
