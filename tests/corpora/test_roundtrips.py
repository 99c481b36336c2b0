"""Databases that others made, there and back: by one session and by several, compared by the servers' own tools.

``VYA_CORPORA=1`` runs them; they take minutes. ``python -m vya_backupd.testing.corpora`` gets the files.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ServerPool, _labels, require_spec
from tests.corpora.loading import load, load_regression
from tests.e2e import compare, compare_mysql
from vya_backupd.testing.corpora import CORPORA, REGRESSION, Corpus
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

pytestmark = pytest.mark.skipif(
    os.environ.get("VYA_CORPORA") != "1",
    reason="NOT TESTED with the databases of others: VYA_CORPORA=1 runs them, python -m vya_backupd.testing.corpora "
    "gets them",
)
SERIAL = {"backup": {"parallel_per_database": 1, "include_globals": False}}
SEVERAL = {"backup": {"parallel_per_database": 3, "parallel_piece_size": 1 << 17, "include_globals": False}}


def wanted(corpus: Corpus) -> Corpus:
    """The corpus; the test is skipped, or fails where it must not be missing."""
    if not corpus.is_there:
        reason = f"{corpus.name} ({corpus.family}) is missing: python -m vya_backupd.testing.corpora {corpus.name}"
        (pytest.fail if os.environ.get("VYA_REQUIRE_CORPORA") == "1" else pytest.skip)(reason)
    return corpus


def samples() -> list[tuple[str, Corpus]]:
    """Every sample on every server that speaks its language."""
    families = {"postgresql": "postgresql", "mariadb": "mysql", "mysql": "mysql"}
    return [
        (label, corpus)
        for label in _labels("postgresql", "mariadb", "mysql")
        for corpus in CORPORA
        if corpus is not REGRESSION and families[label.partition("-")[0]] == corpus.family
    ]


@dataclass
class Sample:
    server: PrivateServer
    database: str


@pytest.fixture(scope="module", params=samples(), ids=lambda each: f"{each[0]}-{each[1].name}")
def sample(request: pytest.FixtureRequest, server_pool: ServerPool) -> Iterator[Sample]:
    label, corpus = request.param
    server, name = server_pool.get(label), f"corpus_{corpus.name}"
    server.drop_database(name)
    load(server, wanted(corpus), name)
    yield Sample(server, name)
    server.drop_database(name)


@pytest.mark.parametrize(("config", "sessions"), [(SERIAL, "1"), (SEVERAL, "3")], ids=["serial", "parallel"])
def test_a_sample_comes_back(sample: Sample, config: dict[str, object], sessions: str, tmp_path: Path) -> None:
    server, name, copy = sample.server, sample.database, f"{sample.database}_c"
    with Product(tmp_path, [instance(server, "one", database=[name])], servers=[server], config=config) as product:
        product.ok("backup", "--database", name)
        where = ("--instance", "one", "--database", name, "--latest", "--target-database", copy, "--sessions", sessions)
        product.ok("restore", *where)
    if server.kind == "postgresql":
        # Several sessions write rows in another order, which a table does not promise.
        options = ["--create", "--schema-only"]
        original = [line.replace(name, copy) for line in compare.dump(server, name, *options)]
        compare.assert_equal(original, compare.dump(server, copy, *options))
        compare.assert_same_rows(server, name, server, copy)
    else:
        compare_mysql.assert_same(server, name, server, copy, events_off=True)
    server.drop_database(copy)


@pytest.fixture(scope="module", params=_labels("postgresql"))
def regression(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    wanted(REGRESSION)
    root = tmp_path_factory.mktemp("regression")
    settings = {"max_prepared_transactions": "2", "wal_level": "logical", "allow_in_place_tablespaces": "on"}
    with require_spec(request.param).start(root, settings=settings) as server:
        load_regression(server, "regression", root / "output")
        found = compare.rows(server, "regression")
        assert len(found) > 200, "the regression database was not made"
        yield Sample(server, "regression")


@pytest.mark.parametrize(("config", "sessions"), [(SERIAL, "1"), (SEVERAL, "3")], ids=["serial", "parallel"])
def test_postgresqls_own_tests_leave_nothing_that_is_lost(
    regression: Sample, config: dict[str, object], sessions: str, tmp_path: Path
) -> None:
    """What differs after our round trip differs after that of pg_dump and psql alone, too."""
    server, name = regression.server, regression.database
    copy, bare = f"{name}_copy", f"{name}_bare"
    by_tools_alone(server, name, bare)
    with Product(tmp_path, [instance(server, "one", database=[name])], servers=[server], config=config) as product:
        product.ok("backup", "--database", name)
        where = ("--instance", "one", "--database", name, "--latest", "--target-database", copy, "--sessions", sessions)
        product.ok("restore", *where)
    original = compare.dump(server, name, "--schema-only")
    ours, theirs = (changes(original, compare.dump(server, each, "--schema-only")) for each in (copy, bare))
    print(
        f"\n{server.spec.label}: {len(original)} lines of definitions, {len(ours)} differ ({len(theirs)} by tools alone)"
    )
    assert not ours - theirs, "\n".join(sorted(ours - theirs)[:50])
    sums, copied, tools = (compare.rows(server, each) for each in (name, copy, bare))
    assert sums.keys() == copied.keys()
    assert {table for table in sums if copied[table] != sums[table]} <= {
        table for table in sums if tools.get(table) != sums[table]
    }
    for each in (copy, bare):
        server.sql(f'DROP DATABASE "{each}"')


def changes(one: list[str], other: list[str]) -> set[str]:
    """The lines that one of the two has more often than the other."""
    first, second = Counter(one), Counter(other)
    return {f"-{line}" for line in first - second} | {f"+{line}" for line in second - first}


def by_tools_alone(server: PrivateServer, database: str, copy: str) -> None:
    """Restore a dump as a script would."""
    server.create_database(copy, "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    place = [f"--host={server.host}", f"--port={server.port}", f"--username={server.admin_user}"]
    environment = os.environ | {"PGPASSWORD": server.admin_password}
    text = subprocess.run(
        [str(server.tools["pg_dump"]), *place, database], capture_output=True, check=True, env=environment
    ).stdout
    subprocess.run(
        [str(server.tools["psql"]), *place, "--quiet", "--no-psqlrc", "--output=/dev/null", copy],
        input=text,
        capture_output=True,
        check=True,
        env=environment,
    )
